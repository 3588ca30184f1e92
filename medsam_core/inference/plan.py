"""How the tracks of a volume advance: decided by the device, so that tests can run every way on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Plan:
    """One way to run a model. All ways give the same masks up to rounding."""

    fixed: bool = False
    """Steps of few shapes and few operations (`inference/fixed_steps.py`), for which ended tracks are carried along.
    Otherwise the batch shrinks with every track that ends, which is faster where arithmetic is what costs."""
    replayed: bool = False
    """Record a graph of each step and of the image encoder, and replay it (`inference/replay.py`)."""
    narrow_values: bool = False
    """See `FixedAttention`; not yet timed on a GPU."""

    @classmethod
    def for_device(cls, device: torch.device, *, compiled: bool = False, graphs: bool = False) -> Plan:
        """compiled: whether `torch.compile` is asked for, which needs few shapes on the CPU too and takes the place of
        the graphs.

        graphs: whether to record CUDA graphs. They were not yet run on a GPU, so nobody gets them unasked.
        """
        cuda = device.type == "cuda"
        return cls(fixed=cuda or compiled, replayed=graphs and cuda and not compiled)
