"""A function's operations recorded once as a CUDA graph, and replayed: one launch in the place of hundreds.

A graph reads and writes fixed places in the device's memory. Arguments at other places are copied to where it reads;
results are overwritten by the next replay. As with `torch.compile`, the first call with a shape runs the plain function
and the graph, and later calls use the graph only if the two agreed.

Only `recorded_on_cuda` needs a GPU. Tests put a stand-in in its place; it has not yet run on a GPU itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from medsam_core.inference.compilation import Checked, Tensors

Record = Callable[[Callable[[], Tensors], torch.device], tuple[Callable[[], object], Tensors]]
"""From a call and its device to what repeats it, and the tensors that hold its results after each repetition."""


class Recording:
    """One call, recorded for the tensors that it was made with."""

    def __init__(self, call: Callable[[], Tensors], arguments: Any, record: Record, device: torch.device) -> None:
        self._inputs = _tensors(arguments)
        self._replay, self._results = record(call, device)

    def __call__(self, arguments: Any) -> Tensors:
        """The results for other arguments of the same shapes. The next call overwrites them."""
        for own, given in zip(self._inputs, _tensors(arguments), strict=True):
            if own.data_ptr() != given.data_ptr():
                own.copy_(given)
        self._replay()
        return self._results


class Replayed(Checked):
    """`plain(*arguments)`, replayed from a graph for each shape once it was found to agree."""

    did, without = "recorded as a CUDA graph", "the graph"
    most_shapes = 16  # every graph keeps its intermediate results' memory

    def __init__(
        self,
        plain: Callable[..., Tensors],
        name: str,
        device: torch.device,
        precision: str,
        notes: list[str],
        *,
        exact: int | None = None,
        record: Record | None = None,
    ) -> None:
        """record: `recorded_on_cuda`, or a test's stand-in; for the rest see `Checked`."""
        super().__init__(plain, name, precision, notes, exact=exact)
        self._device, self._record = device, record or recorded_on_cuda
        self._recordings: dict[Hashable, Recording] = {}

    def forget(self) -> None:
        """Drop every recording, because the tensors that it reads are to be replaced."""
        super().forget()
        self._recordings.clear()

    def _fast(self, shape: Hashable, arguments: tuple[Any, ...]) -> Tensors:
        if shape not in self._recordings:
            call = lambda: self.plain(*arguments)  # noqa: E731
            self._recordings[shape] = Recording(call, arguments, self._record, self._device)
        return self._recordings[shape](arguments)


def recorded_on_cuda(call: Callable[[], Tensors], device: torch.device) -> tuple[Callable[[], object], Tensors]:
    """A CUDA graph of `call`: (its replay, the results' tensors)."""
    with torch.cuda.device(device):
        current = torch.cuda.current_stream()
        # autocast drops its cast weights when its context ends, and a graph would go on to read their memory
        uncached = torch.autocast(
            "cuda",
            dtype=torch.get_autocast_dtype("cuda"),
            enabled=torch.is_autocast_enabled("cuda"),
            cache_enabled=False,
        )
        try:
            with uncached:
                beside = torch.cuda.Stream()
                beside.wait_stream(current)
                with torch.cuda.stream(beside):
                    call()  # libraries prepare themselves on first use, which cannot be recorded
                current.wait_stream(beside)
                graph = torch.cuda.CUDAGraph()
                # other threads go on reading and scoring meanwhile
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    results = call()
        finally:
            torch.cuda.set_stream(current)  # a recording that failed may leave its own
    return graph.replay, results


def _tensors(arguments: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor)]
