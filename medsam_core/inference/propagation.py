"""From the prompts of objects to their masks: segment the prompted slices, correct them, follow every track.

What an object's tracks need is a `Known`: its conditioning slices with their memories. sam2's video predictor keeps the
same in its state, and a correction is what it does when a slice that was tracked gets clicks: the slice is segmented
again with all its clicks, with its logits so far and with the memories that the track had there. Then it is a
conditioning slice. MedSAM2's procedure resets the state between its two passes, so each pass is a session of its own: a
slice is corrected in the pass that tracked it, and the result conditions both passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from medsam_core.inference.attention import Bank
from medsam_core.inference.conditioning import Reading, Rules, reading
from medsam_core.inference.model_inputs import Place, kind_of, places_of, points_of
from medsam_core.inference.predictions import PredictionBuilder
from medsam_core.inference.tracking import Memory, Output, Track, Tracker
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import Prompt

Item = TypeVar("Item")
InBatches = Callable[[list[Any], Callable[[list[Any]], None]], None]
"""(items, run): runs the items in batches that fit into the device's memory."""
_SEVERAL_IN_FIXED_STEPS = (
    "objects with several prompted slices are tracked as on a CPU, which is slow on a GPU: its steps of few shapes "
    "have room for one prompted slice"
)


@dataclass(frozen=True)
class SliceState:
    """One slice of one object."""

    output: Output
    """Of one batch element."""
    memory: Memory | None
    """Of one batch element; None on the last slice of a track, which nothing reads."""


@dataclass
class Known:
    """What is known of one object: enough to follow its tracks and to correct them."""

    conditioning: dict[int, SliceState] = field(default_factory=dict)
    """By slice, the one where the tracks start first."""
    places: dict[int, tuple[Place, ...]] = field(default_factory=dict)
    """By conditioning slice the boxes and points that it was given; () for a mask, given or made."""
    tracked: dict[int, SliceState] = field(default_factory=dict)
    """The other slices, of the last pass over them; {} unless they are kept."""

    @property
    def start(self) -> int:
        """The slice where the tracks start."""
        return next(iter(self.conditioning))

    @property
    def memories(self) -> list[Memory]:
        """Of the conditioning slices."""
        return [state.memory for state in self.conditioning.values() if state.memory is not None]

    def corrected(self) -> Known:
        """A copy for another round, which keeps the tracked slices until they are tracked again."""
        return Known(dict(self.conditioning), dict(self.places), self.tracked)


class Propagation:
    """The objects of one volume; the caller brings their prompts and collects the outputs."""

    def __init__(self, tracker: Tracker, in_batches: InBatches, notes: list[str]) -> None:
        """notes: get a sentence where tracks take a slow way."""
        self.tracker, self.in_batches, self.notes = tracker, in_batches, notes

    def see(self, objects: Sequence[Sequence[Prompt]], builder: PredictionBuilder) -> list[Known]:
        """Segment every prompted slice, without memory. objects: the prompts of each, the start of its tracks first."""
        prompts = [prompt for one in objects for prompt in one]
        owners = [number for number, one in enumerate(objects) for _ in one]
        places = sorted(range(len(prompts)), key=lambda place: prompts[place].key_slice)
        states: dict[int, SliceState] = {}

        def see(batch: list[int]) -> None:
            upcoming = [prompts[place].key_slice for place in places]
            output, memory = self.tracker.prompt([prompts[place] for place in batch], upcoming)
            builder.record([owners[place] for place in batch], [prompts[place].key_slice for place in batch], output)
            states.update(zip(batch, _rows(output, memory), strict=True))

        for kind in dict.fromkeys(map(kind_of, prompts)):
            self.in_batches([place for place in places if kind_of(prompts[place]) == kind], see)
        known = [Known() for _ in objects]
        for place, (prompt, owner) in enumerate(zip(prompts, owners, strict=True)):
            known[owner].conditioning[prompt.key_slice] = states[place]
            known[owner].places[prompt.key_slice] = () if prompt.makes_mask else places_of(prompt)
        return known

    def correct(self, known: Sequence[Known], corrections: Sequence[Correction]) -> None:
        """Segment a slice of each object again, which then is one of its conditioning slices.

        The objects must have their tracked slices.
        """
        given = [
            (*own.places.get(one.key_slice, ()), *((x, y, label) for (x, y), label in _labelled(one)))
            for own, one in zip(known, corrections, strict=True)
        ]
        found: dict[int, SliceState] = {}

        def correct(batch: list[int]) -> None:
            slices = [corrections[place].key_slice for place in batch]
            own = [known[place] for place in batch]
            before = torch.cat([_state(one, at).output.logits for one, at in zip(own, slices, strict=True)])
            points = points_of([given[place] for place in batch], self.tracker.volume)
            output, memory = self.tracker.correct(slices, points, before, bank_at(self.tracker, own, slices))
            found.update(zip(batch, _rows(output, memory), strict=True))

        for count in dict.fromkeys(map(len, given)):
            self.in_batches([place for place, own in enumerate(given) if len(own) == count], correct)
        for place, one in enumerate(corrections):
            known[place].conditioning[one.key_slice] = found[place]
            known[place].places[one.key_slice] = given[place]

    def follow(
        self, tracks: list[Track], known: Sequence[Known], builder: PredictionBuilder, *, keep: bool = False
    ) -> None:
        """Follow the tracks to their ends. keep: whether `Known.tracked` gets what they find."""

        def follow(batch: list[Track], tracker: Tracker = self.tracker) -> None:
            memories = [known[track.prompt].memories for track in batch]
            most = max(map(len, memories))
            padded = [[*own, *own[:1] * (most - len(own))] for own in memories]
            first, *others = map(_together, zip(*padded, strict=True))
            if keep:
                steps = tracker.advance(batch, first, others, keep=_keeper(known))
            else:
                steps = tracker.advance(batch, first, others) if others else tracker.advance(batch, first)
            for t, active, output in steps:
                slices = [track.key_slice + track.direction * t for track in active]
                builder.record([track.prompt for track in active], slices, output)

        # tracks of similar length share a batch, so that it stays full to the end
        tracks.sort(key=lambda track: -track.steps)
        several = [track for track in tracks if track.others] if self.tracker.fixed is not None else []
        self.in_batches([track for track in tracks if track not in several], follow)
        if several:
            if _SEVERAL_IN_FIXED_STEPS not in self.notes:
                self.notes.append(_SEVERAL_IN_FIXED_STEPS)
            growing = Tracker(self.tracker.volume)
            self.in_batches(several, lambda batch: follow(batch, growing))


def bank_at(tracker: Tracker, known: Sequence[Known], slices: Sequence[int]) -> Bank:
    """What each object's track reads on a slice that it has passed or on which it started; for a batch."""
    rules = Rules.of(tracker.module, tracker.attention.oldest_pointer)
    most = max(len(own.conditioning) for own in known)
    directions = [1 if index >= own.start else -1 for own, index in zip(known, slices, strict=True)]
    times = [abs(index - own.start) for own, index in zip(known, slices, strict=True)]
    counts = [min(max(t - 1, 0), max(rules.memories, rules.pointers)) for t in times]
    recent = max(counts)
    readings, columns = [], []
    for own, index, direction, t, count in zip(known, slices, directions, times, counts, strict=True):
        one = reading(rules, tuple(own.conditioning), direction, t, most, count)
        rows, ages = (list(part) for part in (one.rows, one.ages))
        rows += [None] * (most + min(recent, rules.memories) - len(rows))
        ages += [None] * (most + min(recent, rules.pointers) - len(ages))
        readings.append(Reading(tuple(rows), tuple(ages)))
        # what is not read is filled with the memory of the start
        filler, memories = own.memories[0], [*own.memories]
        memories += [filler] * (most - len(memories))
        for newer in range(1, recent + 1):
            state = own.tracked.get(index - direction * newer) if newer <= count else None
            memories.append(filler if state is None or state.memory is None else state.memory)
        columns.append(memories)
    together = [_together(column) for column in zip(*columns, strict=True)]
    masks = [*together[:most], *together[most : most + rules.memories]]
    pointers = [*together[:most], *together[most : most + rules.pointers]]
    with torch.no_grad():
        projected = [(rules.memories, tracker.attention.project(memory.mask)) for memory in masks]
    return Bank(
        projected,
        torch.stack([memory.pointer for memory in pointers]),
        torch.tensor([[age or 0 for age in one.ages] for one in readings]).t().to(tracker.device),
        readings,
    )


def with_others(tracks: Sequence[Track], known: Sequence[Known]) -> list[Track]:
    """The tracks of objects with the conditioning slices that these have now."""
    found = []
    for track in tracks:
        start, *others = known[track.prompt].conditioning
        found.append(Track(track.prompt, start, track.direction, track.steps, tuple(others)))
    return found


def _keeper(known: Sequence[Known]) -> Callable[[Sequence[Track], int, Output, Memory], None]:
    def keep(active: Sequence[Track], t: int, output: Output, memory: Memory) -> None:
        for track, state in zip(active, _rows(output, memory), strict=True):
            index = track.key_slice + track.direction * t
            if index not in track.others:
                known[track.prompt].tracked[index] = state

    return keep


def _state(known: Known, index: int) -> SliceState:
    return known.conditioning.get(index) or known.tracked[index]


def _rows(output: Output, memory: Memory) -> list[SliceState]:
    """The batch elements one by one; the last may have no memory."""
    return [
        SliceState(output.of(slice(row, row + 1)), memory.of(slice(row, row + 1)) if row < len(memory.mask) else None)
        for row in range(len(output.logits))
    ]


def _together(memories: Sequence[Memory]) -> Memory:
    return Memory(torch.cat([one.mask for one in memories]), torch.cat([one.pointer for one in memories]))


def _labelled(correction: Correction) -> list[tuple[tuple[float, float], int]]:
    return list(zip(correction.points, correction.point_labels, strict=True))
