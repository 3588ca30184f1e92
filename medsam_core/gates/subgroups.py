"""Subgroups of cases: by grade, by tercile of the region's volume in the run, and by how many pieces the region has.

A comparison by subgroup shows where a change comes from. It has means only; the verdict does not use it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medsam_core.cases import CaseRecord
from medsam_core.gates.pairing import Pair
from medsam_core.gates.statistics import mean_if_finite
from medsam_core.text import signed

TERCILES = ("small", "middle", "large")
COMPONENTS = ("one", "several")
KINDS: Mapping[str, tuple[str, ...]] = {"grade": (), "volume_tercile": TERCILES, "components": COMPONENTS}
"""What pairs are divided by, named like a gate's filters, and the values in order; () for alphabetical order."""
_VOLUME, _COMPONENTS = "/truth_volume_ml@volume", "/truth_components@volume"


def volume_terciles(records: Iterable[CaseRecord]) -> Mapping[str, str]:
    """Case id → tercile of its region's volume among the run's subjects with that region.

    Equal volumes share the lower tercile. A case is left out if its region is absent, if the run did not record
    `truth_volume_ml`, or if fewer than three subjects have the region: there are no thirds of two.
    """
    records = [record for record in records if record.prompted and _score(record, _VOLUME) is not None]
    by_region: dict[str, dict[str, float]] = {}
    for record in records:
        by_region.setdefault(record.case.region, {})[record.case.subject] = _score(record, _VOLUME) or 0.0
    terciles = {}
    for record in records:
        volumes = sorted(by_region[record.case.region].values())
        if len(volumes) >= len(TERCILES):
            rank = bisect.bisect_left(volumes, by_region[record.case.region][record.case.subject])
            terciles[record.id] = TERCILES[rank * len(TERCILES) // len(volumes)]
    return terciles


def components(record: CaseRecord) -> str | None:
    """ "one" or "several" connected components of the region, None if the run did not record `truth_components`."""
    number = _score(record, _COMPONENTS)
    return None if number is None else COMPONENTS[number > 1]


def _score(record: CaseRecord, ending: str) -> float | None:
    # any profile's: the properties of the truth do not depend on it
    found = [value for key, value in sorted(record.scores.items()) if key.endswith(ending) and value == value]
    return found[0] if found else None


@dataclass(frozen=True)
class Subgroup:
    """The pairs of one group that share a grade, a tercile of volume, or whether the region is in one piece."""

    kind: str
    """A key of KINDS."""
    value: str
    group: str
    n: int
    """At least one."""
    reference: float
    """The mean; NaN if one score is."""
    current: float
    """The mean; NaN if one score is."""
    change: float
    """Of the means, above 0 where the score rose."""


def subgroups(records: Sequence[CaseRecord], groups: Mapping[str, Sequence[Pair]]) -> tuple[Subgroup, ...]:
    """For every kind that has several values in the records: each value's pairs of each group."""
    own: Mapping[str, Mapping[str, str | None]] = {
        "grade": {record.id: record.grade for record in records},
        "volume_tercile": volume_terciles(records),
        "components": {record.id: components(record) for record in records},
    }
    found = []
    for kind, order in KINDS.items():
        values = {own[kind].get(pair.case) for pairs in groups.values() for pair in pairs}
        known = sorted(value for value in values if value is not None)
        for value in order or known:
            for group, pairs in groups.items():
                members = [pair for pair in pairs if own[kind].get(pair.case) == value]
                if members and len(known) > 1:
                    before = mean_if_finite([pair.reference for pair in members])
                    after = mean_if_finite([pair.current for pair in members])
                    found.append(Subgroup(kind, value, group, len(members), before, after, after - before))
    return tuple(found)


def table(found: Sequence[Subgroup]) -> list[tuple[str, ...]]:
    """A head, then a row for each kind and value with a column for each group: `−0.012 (14)`, the change and n."""
    groups = list(dict.fromkeys(one.group for one in found))
    cells = {(one.kind, one.value, one.group): f"{signed(one.change)} ({one.n})" for one in found}
    rows = list(dict.fromkeys((one.kind, one.value) for one in found))
    return [
        ("change (cases)", *groups),
        *((f"{kind} {value}", *(cells.get((kind, value, group), "") for group in groups)) for kind, value in rows),
    ]


def text_lines(found: Sequence[Subgroup]) -> Iterator[str]:
    """The table for the terminal, aligned; no lines if there is no subgroup."""
    rows = table(found) if found else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
