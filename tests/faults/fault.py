"""What a fault is: a change of the running pipeline, made by replacing functions, weights or files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import pytest

    from tests.faults.runner import Runner

Put = Callable[["pytest.MonkeyPatch", "Runner"], None]


@dataclass(frozen=True)
class Fault:
    """One fault; the runner calls `put` and undoes it after the run."""

    name: str
    """A short phrase, the fault's row in docs/faults.md."""

    reuse: str
    """What of the healthy run stays valid: "nothing", "features" of the slices, or "masks" of the same prompts."""

    put: Put
    """Puts the fault in."""

    session: str = "whole"
    """How the run is made: "whole", "masks saved", or "resumed": four cases are scored before the fault is put in."""

    crashes: bool = False
    """Whether the fault raises an exception that no user should see, where others give a wrong number."""

    refined: bool = False
    """Whether the run corrects its masks: the fault is in that."""


FAULTS: list[Fault] = []
"""Every fault, in the order of the table; the modules that define them add to it."""


def fault(
    name: str, reuse: str, *, session: str = "whole", crashes: bool = False, refined: bool = False
) -> Callable[[Put], Put]:
    """A decorator that adds the function as a fault."""

    def add(put: Put) -> Put:
        FAULTS.append(Fault(name, reuse, put, session, crashes, refined))
        return put

    return add


def damaged_copy(state: dict[str, torch.Tensor], change: Callable[[str, torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """The weights with every floating-point one changed."""
    changed = copy.copy(state)
    for name, weight in state.items():
        if weight.is_floating_point():
            changed[name] = change(name, weight)
    return changed
