"""Functions made faster by `torch.compile`, each believed only after it agreed with the plain one.

Compiled for fixed shapes, a step is fused kernels, on a GPU in one CUDA graph. What a compiler gets wrong would be a
wrong mask with a plausible score, so the first call of every shape runs both ways: the plain result is what is
returned, and the compiled function is used from then on only if it said the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch

Tensors = Sequence[torch.Tensor]

MOST_SHAPES = 8  # of one function: each takes a compilation, and torch gives up beyond
# root mean square of the difference, in those of the plain result
TOLERANCE: Mapping[str, float] = {"fp32": 1e-4, "bf16": 0.05}
# of what is rounded to bfloat16 at every precision, as memories are: a number may fall to either side
ROUNDED_TOLERANCE: Mapping[str, float] = {"fp32": 2**-8, "bf16": 0.05}


class Compiled:
    """`plain(*arguments)` with the tensors it returns computed by a compiled copy, once that has been seen to agree.

    name: of what it does, for `notes`, which get a sentence when the compiled function is not used after all: because
        there is no compiler, because it disagrees, or for too many shapes.
    exact: how many of the results, from the first on, are held to TOLERANCE of the precision, the others to
        ROUNDED_TOLERANCE; None for all of them.
    checks: by shape, the largest difference seen in its trial, or None where it is not used.
    """

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
        self.plain = plain
        self.name = name
        self.notes = notes
        self.tolerances = TOLERANCE[precision], ROUNDED_TOLERANCE[precision]
        self.exact = exact
        self.checks: dict[Hashable, float | None] = {}
        self._graphs = device.type == "cuda"
        mode = "reduce-overhead" if self._graphs else "default"  # the former makes CUDA graphs
        self._compiled = torch.compile(plain, mode=mode, dynamic=False, fullgraph=True)

    def __call__(self, shape: Hashable, *arguments: Any) -> Tensors:
        """shape: what the tensors' shapes depend on; the same for calls that one compilation serves."""
        if shape not in self.checks:
            return self._trial(shape, arguments)
        return self.plain(*arguments) if self.checks[shape] is None else self._fast(arguments)

    def _fast(self, arguments: tuple[Any, ...]) -> Tensors:
        if not self._graphs:
            return self._compiled(*arguments)
        torch.compiler.cudagraph_mark_step_begin()
        return [found.clone() for found in self._compiled(*arguments)]  # the next replay writes where these lie

    def _trial(self, shape: Hashable, arguments: tuple[Any, ...]) -> Tensors:
        expected = self.plain(*arguments)
        self.checks[shape] = None
        if len(self.checks) > MOST_SHAPES:
            self.notes.append(f"{self.name}: {shape} is more than {MOST_SHAPES} shapes; it ran without compilation")
            return expected
        try:
            found = self._fast(arguments)
        except torch.OutOfMemoryError:
            del self.checks[shape]
            raise
        except Exception as error:  # whatever a compiler or its absence throws: the plain function is there
            self.notes.append(f"{self.name}: not compiled ({type(error).__name__}: {_first_line(error)})")
            self.checks = dict.fromkeys(self.checks)
            return expected
        differences = [relative_difference(one, other) for one, other in zip(found, expected, strict=True)]
        exact = len(differences) if self.exact is None else self.exact
        allowed = [self.tolerances[place >= exact] for place in range(len(differences))]
        broken = [pair for pair in zip(differences, allowed, strict=True) if not pair[0] <= pair[1]]  # a NaN, too
        if broken:
            self.notes.append(
                f"{self.name}: compiled for {shape} it differs by {broken[0][0]:.2g}, more than {broken[0][1]:g}; "
                "went on without compilation"
            )
            return expected
        self.checks[shape] = max(differences)
        return expected


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the difference in that of `expected`; 0 for two tensors of zeros, NaN if either has one."""
    if not expected.numel():
        return 0.0
    found, expected = found.double(), expected.double()
    size = float(expected.square().mean().sqrt())
    difference = float((found - expected).square().mean().sqrt())
    return difference / size if size else difference


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")[:120]
