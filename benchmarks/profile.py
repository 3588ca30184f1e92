"""Where the time goes: sam2's own predictor and this engine on the same volume, part by part.

    python -m benchmarks.profile --model medsam2 --slices 20 --prompts 2

Both run the same parts of one model on real banks, so the difference is how often and how they are called. Parts are
timed around their calls, on a GPU with a wait before and after each, which makes a run slower than it is unwatched:
read the shares here, and seconds in `tox -e speedup`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.sam2_flow import lively_model
from benchmarks.speedup import Contestant, engine, sam2, synchronise, volume_and_prompts
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.attention import MemoryAttention
from medsam_core.inference.checkpoints import embedded_path
from medsam_core.inference.devices import resolve_device
from medsam_core.inference.model import LoadedModel, load_model

PARTS = ("image encoder", "memory attention", "prompt encoder and mask decoder", "memory encoder")
REST = "all else: reading pixels, upsampling, masks"


class Clock:
    """Seconds and calls of each part; a part within a part is not counted again."""

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
            (module.sam_prompt_encoder, "forward", PARTS[2]),
            (module.sam_mask_decoder, "forward", PARTS[2]),
            (module.memory_encoder, "forward", PARTS[3]),
        ]
        with ExitStack() as stack:
            for owner, name, part in places:
                stack.enter_context(patch.object(owner, name, _bound(self.around(part, getattr(owner, name)), owner)))
            yield


def _bound(timed: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    """As an attribute of a class it must take `self`, which a plain function does."""
    return timed if not isinstance(owner, type) else lambda *arguments, **options: timed(*arguments, **options)


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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile",
        description="Where sam2's predictor and this engine spend their time on a phantom's T1ce. sam2 runs the first "
        "of the prompts, the engine all of them; figures are per slice and prompt.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", choices=("embedded", "medsam2"), default="embedded", help="medsam2: made-up weights")
    parser.add_argument("--slices", type=int, default=40, help="of the volume; a bank is full after 16")
    parser.add_argument("--prompts", type=int, default=12, help="of twelve: three regions by box, point, points3, mask")
    parser.add_argument("--precision", choices=("fp32", "bf16"), nargs="+", default=["fp32"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    volume, prompts = volume_and_prompts(options.slices)
    prompts = prompts[: options.prompts]
    found, per = {}, {}
    for precision in options.precision:
        if options.model == "embedded":
            model = load_model(embedded_path(), device=device, precision=precision)
        else:
            model = lively_model(ARCHITECTURES["medsam2"], seed=0, device=device, precision=precision)
        for contestant, count in (
            (sam2(model, volume, prompts, (0,)), 1),
            (engine(model, volume, prompts), len(prompts)),
        ):
            found[contestant.name] = profile(contestant, model)
            per[contestant.name] = options.slices * count
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {options.threads} threads"
    print(f"{options.model}, {options.slices} slices, {len(prompts)} prompts; {where}\n")
    print("\n".join(table(found, per)))


if __name__ == "__main__":
    main()
