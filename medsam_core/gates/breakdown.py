"""A comparison by subgroup: where a change comes from. It has means only; the verdict is about the groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medsam_core.cases import CaseRecord
from medsam_core.gates.pairing import Pair
from medsam_core.gates.statistics import mean_if_finite
from medsam_core.gates.subgroups import COMPONENTS, TERCILES, components, volume_terciles
from medsam_core.text import signed

KINDS: Mapping[str, tuple[str, ...]] = {"grade": (), "volume_tercile": TERCILES, "components": COMPONENTS}
"""What pairs are divided by, named like a gate's filters, and the values in order; () for alphabetical order."""


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
    """Every kind and value in the records, for every group of pairs; a kind with only one value is left out.

    records: of the current run; they need not hold every pair. groups: by name, in the order of the table.
    """
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
