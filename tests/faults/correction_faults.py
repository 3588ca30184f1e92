"""Faults in corrections: what a click says, and what the tracks read afterwards. They are judged by refined runs."""

# ruff: noqa: ARG001   every fault is called with the same arguments

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from medsam_core.inference import propagation, tracking
from medsam_core.inference.propagation import Known, Propagation, SliceState
from medsam_core.inference.tracking import Memory
from medsam_core.prompts.corrections import Correction
from tests.faults.fault import fault


def _clicks(patch: Any, change: Callable[[Correction], Correction]) -> None:
    """The model gets other clicks than those recorded."""
    correct = Propagation.correct
    patch.setattr(Propagation, "correct", lambda self, known, asked: correct(self, known, [*map(change, asked)]))


def _following(patch: Any, change: Callable[[list[Known]], list[Known]]) -> None:
    """The tracks follow what `change` makes of the objects."""
    follow = Propagation.follow

    def changed(self, tracks, known, builder, **more):
        return follow(self, tracks, change(list(known)), builder, **more)

    patch.setattr(Propagation, "follow", changed)


@fault("a correction that does not condition", "features", refined=True)
def _(patch, runner):
    """The slice keeps its corrected mask, and no other slice learns of it."""
    follow = Propagation.follow

    def alone(self, tracks, known, builder, **more):
        starts = [dataclasses.replace(track, others=()) for track in tracks]
        follow(self, starts, [_of(own, [own.start]) for own in known], builder, **more)
        for place, own in enumerate(known):
            for index, state in own.conditioning.items():
                builder.record([place], [index], state.output)

    patch.setattr(Propagation, "follow", alone)


@fault("a positive click given as a negative one", "features", refined=True)
def _(patch, runner):
    _clicks(patch, lambda one: dataclasses.replace(one, point_labels=(0,) * len(one.points)))


@fault("the same click given twice", "features", refined=True)
def _(patch, runner):
    _clicks(patch, lambda one: dataclasses.replace(one, points=one.points * 2, point_labels=one.point_labels * 2))


@fault("the memory of an earlier round left in the bank", "features", refined=True)
def _(patch, runner):
    """The corrected slice conditions with what was remembered of it before the correction."""
    correct = Propagation.correct

    def stale(self, known: Sequence[Known], asked: Sequence[Correction]) -> None:
        before = [propagation._state(own, one.key_slice).memory for own, one in zip(known, asked, strict=True)]
        correct(self, known, asked)
        for own, one, memory in zip(known, asked, before, strict=True):
            corrected = own.conditioning[one.key_slice]
            own.conditioning[one.key_slice] = SliceState(corrected.output, memory or corrected.memory)

    patch.setattr(Propagation, "correct", stale)


@fault("conditioning slices in another object's track", "features", refined=True)
def _(patch, runner):
    """Each object has the corrected slices' memories of the next one."""

    def exchanged(known: list[Known]) -> list[Known]:
        found = []
        for own, other in zip(known, [*known[1:], *known[:1]], strict=True):
            memories: list[Memory] = other.memories[1:] or own.memories[1:]
            made = _of(own, list(own.conditioning))
            for place, index in enumerate(list(own.conditioning)[1:]):
                made.conditioning[index] = SliceState(own.conditioning[index].output, memories[place % len(memories)])
            found.append(made)
        return found

    _following(patch, exchanged)


@fault("pointers from the future", "features", refined=True)
def _(patch, runner):
    reading = tracking.reading
    patch.setattr(tracking, "reading", lambda rules, *more: reading(dataclasses.replace(rules, past_only=False), *more))


@fault("a correction without the logits before it", "features", refined=True)
def _(patch, runner):
    correct = tracking.Tracker.correct
    patch.setattr(
        tracking.Tracker, "correct", lambda self, at, points, before, bank: correct(self, at, points, 0 * before, bank)
    )


@fault("the prompt forgotten when its own slice is corrected", "features", refined=True)
def _(patch, runner):
    patch.setattr(propagation, "places_of", lambda _: ())


def _of(own: Known, slices: Sequence[int]) -> Known:
    """The object with some of its conditioning slices, and the same store of tracked ones."""
    return Known({index: own.conditioning[index] for index in slices}, own.places, own.tracked)
