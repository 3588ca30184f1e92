"""How many operations a tracking step sends to the device, and how many shapes of a step a subject has.

    python -m benchmarks.operations

A GPU waits for the host to launch each operation, and some kernels are planned again for each new shape. Both are
counted on the CPU: a model of MedSAM2's layers for tiny images takes the way of a GPU, and every operation that torch
dispatches is seen. The numbers do not depend on the size of the image.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.arguments import whole
from benchmarks.lively_model import lively_model
from benchmarks.speedup import volume_and_prompts
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.inference.tracking import Tracker
from medsam_core.prompts.prompt import Prompt

TINY = 64  # pixels
# without a kernel, though their schemas name no alias
FREE = ("aten._unsafe_view.default", "aten.lift_fresh.default", "aten.empty.memory_format", "aten.empty_like.default")
# the host waits for the device's result
WAITING = (
    "aten._local_scalar_dense.default",
    "aten.nonzero.default",
    "aten.masked_select.default",
    "aten.is_nonzero.default",
    "aten.equal.default",
)
ON_THE_HOST = ("cpu", "numpy", "tolist")  # methods that wait on a GPU and dispatch nothing on the CPU


class Operations(TorchDispatchMode):
    """Counts what is dispatched within it."""

    dispatched: int
    """All operations, views included."""
    work: Counter[str]
    """Operations that launch a kernel, by name: no views, no empty tensors."""
    waits: Counter[str]
    """Operations for whose result the host has to wait."""
    attention: Counter[tuple[tuple[int, ...], ...]]
    """The shapes of query, key, value and mask, if there is one, in every call of fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatched = 0
        self.work, self.waits, self.attention = Counter(), Counter(), Counter()

    def __torch_dispatch__(self, call: Any, _types: Any, given: Any = (), named: Any = None) -> Any:
        name = str(call)
        self.dispatched += 1
        view = any(made.alias_info is not None and not made.alias_info.is_write for made in call._schema.returns)
        if not view and name not in FREE:
            self.work[name] += 1
        if name in WAITING:
            self.waits[name] += 1
        if "scaled_dot_product" in name:
            mask = (named or {}).get("attn_mask")
            read = [*given[:3], *([] if mask is None else [mask])]
            self.attention[tuple(tuple(one.shape) for one in read)] += 1
        return call(*given, **(named or {}))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count within the block, the methods that copy to the host included."""

        def noticed(name: str) -> Any:
            method = getattr(torch.Tensor, name)

            def called(tensor: torch.Tensor, *given: Any, **named: Any) -> Any:
                self.waits[name] += 1
                return method(tensor, *given, **named)

            return called

        with ExitStack() as stack:
            for name in ON_THE_HOST:
                stack.enter_context(patch.object(torch.Tensor, name, noticed(name)))
            stack.enter_context(self)
            yield


def steps_of(predictor: Predictor, volume: np.ndarray, prompts: list[Prompt]) -> list[Operations]:
    """What every tracking step dispatches, the reading of its features included, in the steps' order.

    The slices are encoded before. What stores a step's masks is not counted.
    """
    steps: list[Operations] = []
    advance = Tracker.advance

    def watched(self: Tracker, *given: Any) -> Iterator[Any]:
        following = advance(self, *given)
        while True:
            seen = Operations()
            with seen.watching():
                found = next(following, None)
            if found is None:
                return
            steps.append(seen)
            yield found

    encoded = predictor.encode(volume)
    encoded.fill()
    with patch.object(Tracker, "advance", watched):
        predictor.predict(encoded, prompts)
    return steps


def shapes_of(steps: list[Operations]) -> set[frozenset[tuple[tuple[int, ...], ...]]]:
    """The distinct steps, by the shapes that their attention has."""
    return {frozenset(step.attention) for step in steps}


def tiny_predictor(precision: str = "fp32") -> Predictor:
    """A predictor of MedSAM2's layers for tiny images that takes the way of a GPU, on the CPU."""
    model = lively_model(ARCHITECTURES["medsam2"].with_image_size(TINY), seed=0, precision=precision)
    return Predictor(model, batch_size=64, plan=Plan(fixed=True))


def main() -> int:
    """Print the counts of one subject."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operations", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--slices", type=whole(20), default=155, help="of the volume (155)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--names", action="store_true", help="list the operations of a step with a full bank")
    options = parser.parse_args()
    volume, prompts = volume_and_prompts(options.slices)
    steps = steps_of(tiny_predictor(options.precision), volume, prompts)
    full = steps[16]
    print(f"{len(prompts)} prompts, {options.slices} slices, {len(steps)} steps")
    print(f"first step: {steps[0].dispatched} operations, {steps[0].work.total()} of them work")
    print(f"step with a full bank: {full.dispatched} operations, {full.work.total()} of them work")
    print(f"distinct shapes of a step: {len(shapes_of(steps))}")
    print(f"waits for the device: {sum((step.waits for step in steps), Counter()).total()}")
    if options.names:
        print(*(f"{count:5} {name}" for name, count in full.work.most_common()), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
