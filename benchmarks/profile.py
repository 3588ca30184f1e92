"""Where the time goes: sam2's own predictor and this engine on the same volume, part by part.

    python -m benchmarks.profile --model medsam2 --slices 20 --prompts 2
    python -m benchmarks.profile --model medsam2 --attention

Both run the same parts of one model on real banks, so the difference is how often and how they are called. Parts are
timed around their calls, on a GPU with a wait before and after each, which makes a run slower than it is unwatched:
read the shares here, and seconds in `tox -e speedup`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import pad

from benchmarks.arguments import whole
from benchmarks.lively_model import lively_model
from benchmarks.speedup import Contestant, engine, in_turns, sam2, synchronise, volume_and_prompts
from medsam_core.errors import MedsamError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.attention import Bank, MemoryAttention
from medsam_core.inference.checkpoints import embedded_path
from medsam_core.inference.compilation import relative_difference
from medsam_core.inference.devices import autocast, resolve_device
from medsam_core.inference.fixed_attention import FixedAttention
from medsam_core.inference.fixed_heads import FixedHeads
from medsam_core.inference.fixed_memory import FixedMemoryEncoder
from medsam_core.inference.model import LoadedModel, load_model

PARTS = ("image encoder", "memory attention", "prompt encoder and mask decoder", "memory encoder")
REST = "all else: reading pixels, upsampling, masks"


class Clock:
    """Seconds of each part; a part within a part is not counted again."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inside = False

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, timed as `part`."""

        def timed(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return call(*arguments, **options)
            self._inside = True
            synchronise(self.device)
            started = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                synchronise(self.device)
                self.seconds[part] += time.perf_counter() - started
                self._inside = False

        return timed

    @contextmanager
    def watching(self, model: LoadedModel) -> Iterator[None]:
        """Every part of the model, and of the engine what takes the place of one."""
        module: Any = model.module
        places = [
            (module.image_encoder, "forward", PARTS[0]),
            (module.memory_attention, "forward", PARTS[1]),
            (MemoryAttention, "__call__", PARTS[1]),
            (MemoryAttention, "project", PARTS[1]),
            (FixedAttention, "__call__", PARTS[1]),
            (FixedAttention, "keys_of", PARTS[1]),
            (FixedHeads, "__call__", PARTS[2]),
            (FixedMemoryEncoder, "__call__", PARTS[3]),
            (module.sam_prompt_encoder, "forward", PARTS[2]),
            (module.sam_mask_decoder, "forward", PARTS[2]),
            (module.memory_encoder, "forward", PARTS[3]),
        ]
        with ExitStack() as stack:
            for owner, name, part in places:
                stack.enter_context(patch.object(owner, name, self.around(part, getattr(owner, name))))
            yield


def profile(contestant: Contestant, model: LoadedModel) -> dict[str, float]:
    """Seconds of each part and of the rest, of the prompts that the contestant runs, after one run to warm up."""
    contestant.turn(model.device)
    clock = Clock(model.device)
    with clock.watching(model):
        contestant.turn(model.device)
    total = contestant.seconds[-1] / contestant.share
    return {**clock.seconds, REST: total - sum(clock.seconds.values())}


def table(found: dict[str, dict[str, float]], per: dict[str, int]) -> list[str]:
    """Markdown: ms per slice and prompt of each part, and its share. per: slices × prompts of each contestant."""
    names = list(found)
    lines = [
        f"| ms per slice and prompt | {' | '.join(f'{name} | share' for name in names)} |",
        f"|---|{'--:|' * 2 * len(names)}",
    ]
    totals = {name: sum(parts.values()) for name, parts in found.items()}
    for part in (*PARTS, REST):
        cells = [f"{1000 * found[n][part] / per[n]:.1f} | {found[n][part] / totals[n]:.0%}" for n in names]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    lines.append(f"| together | {' | '.join(f'{1000 * totals[n] / per[n]:.1f} | ' for n in names)} |")
    return lines


class FullBank:
    """One step's question to a full bank of made-up memories, asked of sam2's memory attention and of the engine's.

    batch: objects. The engine's fused way is what a GPU takes, with values of two widths, and by products a CPU.
    """

    def __init__(self, model: LoadedModel, batch: int, slices: int = 100) -> None:
        self.model, module = model, model.module
        random = torch.Generator().manual_seed(0)

        def made(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=random).to(model.device)

        side, width = module.sam_image_embedding_size, module.hidden_dim
        self.features = made(batch, width, side, side)
        self.position = module.image_encoder.neck.position_encoding(self.features[:1])
        self.masks = [made(batch, module.mem_dim, side, side) for _ in range(module.num_maskmem)]
        self.pointers = made(module.max_obj_ptrs_in_encoder, batch, width)
        self.ages = torch.arange(len(self.pointers), device=model.device)
        self.products = MemoryAttention(model, slices)
        with torch.no_grad(), autocast(model.device, model.precision):
            memories = [(age, self.products.project(mask)) for age, mask in enumerate(self.masks)]
            self._bank = Bank(memories, self.pointers, self.ages)
        with torch.no_grad():
            fixed = {width: FixedAttention(model, narrow_values=width) for width in (False, True)}
            self._fixed = {way: self._as_fixed_reads_them(way, slices) for way in fixed.values()}
        self.fused, self.narrow = fixed.values()
        self._tokens, self._positions = self._as_sam2_reads_them()

    def _as_fixed_reads_them(self, way: FixedAttention, slices: int) -> tuple[torch.Tensor, ...]:
        """Features, keys, values and ages."""
        tokens = [mask.flatten(2).transpose(1, 2).to(way.dtype).contiguous() for mask in self.masks]
        pointers = self.pointers.transpose(0, 1).reshape(len(self.features), -1, self.model.module.mem_dim)
        pointers = pointers.to(way.dtype)
        keys = torch.cat([*(way.keys_of(one) for one in tokens), way.pointer_keys_of(pointers)], 3)
        values = torch.cat([*tokens, pointers], 1)
        values = pad(values, (0, way.value_width - values.shape[-1]))
        start = len(tokens) * way.places
        rows = [*range(start), *(start + age for age in self.ages.tolist() for _ in range(way.pointer_tokens))]
        features = self.features.flatten(2).transpose(1, 2).to(way.dtype).contiguous()
        return features, keys.contiguous(), values, way.table(slices)[:, :, rows]

    def _as_sam2_reads_them(self) -> tuple[torch.Tensor, torch.Tensor]:
        module, batch = self.model.module, len(self.features)
        with torch.no_grad():
            pointers, aged = self.products._pointers(self._bank, batch)
        masks = [mask.flatten(2).transpose(1, 2) for mask in self.masks]
        places = self.products._places.float().expand(batch, -1, -1)
        positions = [places + module.maskmem_tpos_enc[age, 0] for age in range(len(masks))]
        read = torch.cat([*masks, pointers.float()], 1), torch.cat([*positions, (aged - pointers).float()], 1)
        return read[0].transpose(0, 1), read[1].transpose(0, 1)

    def ask_sam2(self) -> torch.Tensor:
        """(n, d_model, h, w)."""
        n, _, h, w = self.features.shape
        found = self.model.module.memory_attention(
            curr=[self.features.flatten(2).permute(2, 0, 1)],
            curr_pos=[self.position.flatten(2).permute(2, 0, 1).expand(-1, n, -1)],
            memory=self._tokens,
            memory_pos=self._positions,
            num_obj_ptr_tokens=len(self._tokens) - len(self.masks) * h * w,
        )
        return found.permute(1, 2, 0).unflatten(2, (h, w))

    def ask_products(self) -> torch.Tensor:
        """(n, d_model, h, w)."""
        return self.products(self.features, self.position, self._bank)

    def ask(self, way: FixedAttention) -> torch.Tensor:
        """(n, d_model, h, w), without what the mask decoder adds."""
        with torch.autocast(self.model.device.type, enabled=False):
            found = way(*self._fixed[way], None)
        found = found - self.model.module.sam_prompt_encoder.no_mask_embed.weight
        return found.view(len(self.features), way.side, way.side, -1).permute(0, 3, 1, 2)

    def compared(self, rounds: int) -> list[str]:
        """A line of Markdown for each way: ms per object, and how far its result is from sam2's."""
        ways = {
            "sam2's own": self.ask_sam2,
            "keys kept, fused attention": lambda: self.ask(self.fused),
            "the same, narrow values": lambda: self.ask(self.narrow),
            "keys kept, matrix products": self.ask_products,
        }
        with torch.no_grad(), autocast(self.model.device, self.model.precision):
            seconds = in_turns(ways, self.model.device, rounds)
            expected = self.ask_sam2()
            apart = {name: relative_difference(ask(), expected) for name, ask in ways.items()}
        batch, first = len(self.features), seconds["sam2's own"]
        return [
            f"| {name}, {self.model.precision} | {1000 * s / batch:.1f} | {s / first - 1:+.0%} | {apart[name]:.1e} |"
            for name, s in seconds.items()
        ]


def main() -> int:
    """The command line. Returns its exit code: 2 for a user's mistake, reported in one sentence."""
    try:
        return _run(_parser().parse_args())
    except MedsamError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile",
        description="Where sam2's predictor and this engine spend their time on a phantom's T1ce. sam2 runs the first "
        "of the prompts, the engine all of them; figures are per slice and prompt.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", choices=("embedded", "medsam2"), default="embedded", help="medsam2: made-up weights")
    parser.add_argument("--slices", type=whole(16), default=40, help="of the volume; a bank is full after 16")
    parser.add_argument(
        "--prompts", type=whole(1, 12), default=12, help="of twelve: three regions by box, point, points3, mask"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), nargs="+", default=["fp32"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=whole(1), default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--attention", action="store_true", help="time the memory attention alone, with a full bank")
    parser.add_argument("--batch", type=whole(1), default=4, help="with --attention: objects")
    parser.add_argument("--rounds", type=whole(1), default=5, help="with --attention: medians of so many")
    return parser


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {options.threads} threads"
    models = [_model(options.model, device, precision) for precision in options.precision]
    if options.attention:
        print(f"{options.model}, full bank, {options.batch} objects; {where}\n")
        print("| memory attention | ms per object | against sam2's | apart from sam2's |\n|---|--:|--:|--:|")
        print("\n".join(line for model in models for line in FullBank(model, options.batch).compared(options.rounds)))
        return 0
    volume, prompts = volume_and_prompts(options.slices)
    prompts = prompts[: options.prompts]
    found, per = {}, {}
    for model in models:
        for contestant in (sam2(model, volume, prompts, (0,)), engine(model, volume, prompts)):
            found[contestant.name] = profile(contestant, model)
            per[contestant.name] = round(options.slices * len(prompts) / contestant.share)
    print(f"{options.model}, {options.slices} slices, {len(prompts)} prompts; {where}\n")
    print("\n".join(table(found, per)))
    return 0


def _model(name: str, device: torch.device, precision: str) -> LoadedModel:
    if name == "embedded":
        return load_model(embedded_path(), device=device, precision=precision)
    return lively_model(ARCHITECTURES[name], seed=0, device=device, precision=precision)


if __name__ == "__main__":
    sys.exit(main())
