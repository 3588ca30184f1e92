"""Faster copies of functions, each used only after its results agreed with those of the plain function.

Compiled for fixed shapes, a function becomes fused kernels, on a GPU in one CUDA graph; `inference/replay.py` records
such a graph of the plain kernels. A mistake there would be a wrong mask with a plausible score. So the first call with
every shape runs both functions and returns the plain result; later calls use the copy only if the two agreed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

Tensors = Sequence[torch.Tensor]

MOST_SHAPES = 8  # of one function: every shape is compiled separately, and torch gives up after this many
# root mean square of the difference, relative to that of the plain result
TOLERANCE = {"fp32": 1e-4, "bf16": 0.05}
# for results that are rounded to bfloat16 at every precision, such as memories: a number may round either way
ROUNDED_TOLERANCE = {"fp32": 2**-8, "bf16": 0.05}


class Checked:
    """`plain(*arguments)`, computed by a faster copy once that was found to agree."""

    did: str
    """What was done to make the copy, for notes: "compiled"."""
    without: str
    """What is missing without it, for notes: "compilation"."""
    most_shapes: int
    """How many shapes get a copy."""
    checks: dict[Hashable, float | None]
    """By shape: the largest difference found in its trial; None where the copy is not used."""

    def __init__(
        self, plain: Callable[..., Tensors], name: str, precision: str, notes: list[str], *, exact: int | None = None
    ) -> None:
        """Make nothing yet: that happens at the first call.

        name: what the function does, for `notes`.
        notes: get a sentence if the copy is not used: because it cannot be made, after a disagreement, or for too many
            shapes.
        exact: how many of the results, from the first on, must agree within TOLERANCE; the others within
            ROUNDED_TOLERANCE. None: all of them.
        """
        self.plain, self.name, self.notes = plain, name, notes
        self.tolerances = TOLERANCE[precision], ROUNDED_TOLERANCE[precision]
        self.exact = exact
        self.checks = {}

    def __call__(self, shape: Hashable, *arguments: Any) -> Tensors:
        """The results. shape: determines the shapes of all tensors; equal for calls that share a copy."""
        if shape not in self.checks:
            return self._trial(shape, arguments)
        return self.plain(*arguments) if self.checks[shape] is None else self._fast(shape, arguments)

    def forget(self) -> None:
        """Try every shape again, because the tensors that the copies may have kept are to be replaced."""
        self.checks.clear()

    def _fast(self, shape: Hashable, arguments: tuple[Any, ...]) -> Tensors:
        """The copy's results, made on first use."""
        raise NotImplementedError

    def _trial(self, shape: Hashable, arguments: tuple[Any, ...]) -> Tensors:
        expected = self.plain(*arguments)
        self.checks[shape] = None
        if len(self.checks) > self.most_shapes:
            self.notes.append(
                f"{self.name}: {shape} is more than {self.most_shapes} shapes; it ran without {self.without}"
            )
            return expected
        try:
            found = self._fast(shape, arguments)
        except torch.OutOfMemoryError:
            del self.checks[shape]
            raise
        except Exception as error:  # a compiler, or none, may raise anything: the plain function remains
            self.notes.append(f"{self.name}: not {self.did} ({type(error).__name__}: {_first_line(error)})")
            self.checks = dict.fromkeys(self.checks)
            return expected
        differences = [relative_difference(one, other) for one, other in zip(found, expected, strict=True)]
        for place, difference in enumerate(differences):
            allowed = self.tolerances[self.exact is not None and place >= self.exact]
            if not difference <= allowed:  # NaN too
                self.notes.append(
                    f"{self.name}: {self.did} for {shape} it differs by {difference:.2g}, more than {allowed:g}; "
                    f"went on without {self.without}"
                )
                return expected
        self.checks[shape] = max(differences)
        return expected


class Compiled(Checked):
    """`plain(*arguments)`, computed by a compiled copy once that was found to agree."""

    did, without = "compiled", "compilation"
    most_shapes = MOST_SHAPES

    def __init__(
        self,
        plain: Callable[..., Tensors],
        name: str,
        device: torch.device,
        precision: str,
        notes: list[str],
        *,
        exact: int | None = None,
    ) -> None:
        """See `Checked`."""
        super().__init__(plain, name, precision, notes, exact=exact)
        self._graphs = device.type == "cuda"
        mode = "reduce-overhead" if self._graphs else "default"  # the former makes CUDA graphs
        self._compiled = torch.compile(plain, mode=mode, dynamic=False, fullgraph=True)

    def _fast(self, shape: Hashable, arguments: tuple[Any, ...]) -> Tensors:
        del shape  # torch tells shapes apart itself
        if not self._graphs:
            return self._compiled(*arguments)
        torch.compiler.cudagraph_mark_step_begin()
        return [found.clone() for found in self._compiled(*arguments)]  # the next replay overwrites them


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the difference, relative to that of `expected`; 0 for zeros in both, NaN with NaN."""
    if not expected.numel():
        return 0.0
    found, expected = found.double(), expected.double()
    size = float(expected.square().mean().sqrt())
    difference = float((found - expected).square().mean().sqrt())
    return difference / size if size else difference


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")[:120]
