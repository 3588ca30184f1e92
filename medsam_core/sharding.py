"""Shards: disjoint parts of a cohort, each scored by a session of its own and merged afterwards.

Subject k of the sorted ids (from 0) is in shard k mod n + 1:

    shard 1/3   s00       s03       s06
    shard 2/3        s01       s04       s07
    shard 3/3             s02       s05

So the sizes of shards differ by at most one subject, and subjects with similar ids (one site, one grade, several visits
of a patient) are spread over all shards. A hash of each id would keep a subject in its shard when the cohort grows, but
64 shards of 20 subjects would then hold 10 to 30, and the largest decides when the run ends. Nothing needs to stay when
the cohort grows: shards of different cohorts are never merged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from medsam_core.errors import OptionError
from medsam_core.header import Shard
from medsam_core.text import counted


def shard_named(text: str) -> Shard:
    """The shard of the text `i/n`, i from 1 to n. Raises OptionError for any other text."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text, re.ASCII)
    number, of = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= of:
        raise OptionError(
            f"--medsam-shard: got {text!r}, expected I/N with I from 1 to N, such as 1/8 for the first of eight; "
            "correct it."
        )
    return Shard(number=number, of=of)


def part_of(subjects: Iterable[str], shard: Shard) -> tuple[str, ...]:
    """The ids of a shard's subjects, sorted. subjects: the ids of the cohort, each once, in any order.

    Raises OptionError if there are more shards than subjects: some would have nothing to score.
    """
    ordered = sorted(subjects)
    if shard.of > len(ordered):
        raise OptionError(
            f"--medsam-shard: got {shard} for {counted(len(ordered), 'subject')}, expected at most one shard for each "
            f"subject; divide into {len(ordered)} or fewer."
        )
    return tuple(ordered[shard.number - 1 :: shard.of])
