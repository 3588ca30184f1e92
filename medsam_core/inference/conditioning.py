"""Several prompted slices in one track: which memories and pointers a batch element reads, by sam2's rules.

sam2 calls prompted slices conditioning frames. The memory of each is read in every step, also of those that the track
has not reached yet, and with the same age, the oldest. Their pointers are read only once they are past. Where the track
passes a prompted slice, its own output is kept and there is no other memory of that slice. If the model reads no more
than `max_cond_frames_in_attn` of them, the others are read like slices without a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sam2.modeling.sam2_utils import select_closest_cond_frames


@dataclass(frozen=True)
class Rules:
    """The settings of a model that decide what is read."""

    memories: int
    """How many memories of slices without a prompt are read; also the row of the prompted ones in the table of ages."""
    pointers: int
    """How many pointers of slices without a prompt are read."""
    most: int = -1
    """How many prompted slices are read as such; −1 for all."""
    past_only: bool = True
    """Whether pointers of prompted slices are read only once they are past."""
    signed: bool = True
    """Whether a pointer's age has a sign."""

    @classmethod
    def of(cls, module: Any, pointers: int) -> Rules:
        """Of sam2's model. pointers: fewer than its own in a volume of few slices."""
        return cls(
            memories=module.num_maskmem - 1,
            pointers=pointers,
            most=module.max_cond_frames_in_attn,
            past_only=module.only_obj_ptrs_in_the_past_for_eval,
            signed=module.use_signed_tpos_enc_to_obj_ptrs,
        )


@dataclass(frozen=True)
class Reading:
    """What one batch element reads in a step."""

    rows: tuple[int | None, ...]
    """For each memory of the bank its row in the table of ages; None if it is not read."""
    ages: tuple[int | None, ...]
    """For each pointer of the bank its age in slices; None if it is not read."""


def reading(rules: Rules, key_slices: Sequence[int], direction: int, t: int, prompted: int, recent: int) -> Reading:
    """What a track reads at time t.

    key_slices: the track's prompted slices, first the one where it starts. direction: +1 or −1.
    prompted: how many prompted slices the bank has room for; the track may have fewer.
    recent: how many earlier times the bank holds. Its memories and pointers are those of the prompted slices, then
        those of times t − 1, t − 2, ….
    """
    start = key_slices[0]
    # sam2 leaves ties in distance to the order of the prompts' numbers in a set; here the lower slice is first
    given = dict.fromkeys(sorted(key_slices))
    chosen, _ = select_closest_cond_frames(start + direction * t, given, rules.most)
    rows: list[int | None] = []
    ages: list[int | None] = []
    for index in key_slices:
        age = t - (index - start) * direction  # negative where the track has not been yet
        if index in chosen:
            rows.append(rules.memories)
            ages.append(None if rules.past_only and age < 0 else age if rules.signed else abs(age))
        else:
            rows.append(age - 1 if 1 <= age <= rules.memories else None)
            ages.append(age if 1 <= age <= rules.pointers else None)
    missing = [None] * (prompted - len(key_slices))
    earlier = [start + direction * (t - 1 - newer) not in given for newer in range(recent)]
    return Reading(
        (*rows, *missing, *(newer if there else None for newer, there in enumerate(earlier[: rules.memories]))),
        (*ages, *missing, *(newer + 1 if there else None for newer, there in enumerate(earlier[: rules.pointers]))),
    )
