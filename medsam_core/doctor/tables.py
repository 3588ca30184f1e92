"""What the doctor found, for the terminal and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medsam_core.data.regions import NESTED
from medsam_core.doctor.comparison import by
from medsam_core.doctor.examination import TRUTH, Examined, Place
from medsam_core.doctor.findings import NAMES, WRONG, Finding, exit_code, grouped
from medsam_core.text import aligned, counted, few, shown

LONGEST = 10
"""Subjects of one fault that are listed with their details."""


def subjects_table(examined: Sequence[Examined], findings: Sequence[Finding]) -> list[str]:
    """A line for each subject: what it has, its grid, the volumes of its regions, and how much was found."""
    header = [
        "subject",
        "layout",
        "sequences",
        "D × H × W",
        "mm",
        "axes",
        "unit",
        *(f"{r} [ml]" for r in NESTED),
        "found",
    ]
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.subject, []).append(finding)
    rows = [header]
    for one in examined:
        own = found.get(one.id, [])
        wrong = sum(each.severity is WRONG for each in own)
        counts = ((wrong, NAMES[WRONG]), (len(own) - wrong, "to look at"))
        rows.append(
            [
                shown(one.id),
                one.layout,
                "+".join(name for name in one.places if name != TRUTH) or "none",
                _of_places(one, lambda place: by(place.shape)),
                _of_places(one, lambda place: by(place.spacing_mm)),
                _of_places(one, lambda place: place.orientation),
                _of_places(one, lambda place: place.unit),
                *(_millilitres(one, region) for region in NESTED),
                ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing",
            ]
        )
    return aligned(rows, right=range(7, 10))


def findings_text(findings: Sequence[Finding]) -> list[str]:
    """Every fault once, with the subjects that have it."""
    lines = []
    for group in grouped(findings):
        first = group[0]
        names = [shown(one.subject) for one in group if one.subject]
        of = f" ({counted(len(set(names)), 'subject')})" if names else ""
        detailed = any(one.detail for one in group)
        listed = f": {few(list(dict.fromkeys(names)), LONGEST)}" if names and not detailed else ""
        lines.append(shown(f"{NAMES[first.severity]}: {first.text}{of}{listed}"))
        if detailed:
            lines += [shown(f"  {one.subject}: {one.detail}") for one in group[:LONGEST]]
            lines += [f"  and {len(group) - LONGEST} more"] if len(group) > LONGEST else []
    return lines


def json_text(
    root: str, examined: Sequence[Examined], findings: Sequence[Finding], *, against: str | None, voxels: bool
) -> str:
    """The same as JSON: `subjects` and `findings`. Volumes are null where no voxels were read."""
    content = {
        "schema": 1,
        "root": root,
        "against": against,
        "voxels_read": voxels,
        "exit_code": exit_code(findings),
        "subjects": [_row(one) for one in examined],
        "findings": [
            {
                "severity": NAMES[one.severity],
                "kind": one.kind,
                "text": one.text,
                "subject": one.subject or None,
                "detail": one.detail or None,
            }
            for one in findings
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _row(one: Examined) -> Mapping[str, Any]:
    return {
        "id": one.id,
        "layout": one.layout,
        "convention": one.convention,
        "files": {
            name: {
                "shape": list(place.shape),
                "spacing_mm": list(place.spacing_mm),
                "orientation": place.orientation,
                "unit": place.unit,
                "positioned": place.positioned,
                "hash": one.hashes.get(name),
            }
            for name, place in one.places.items()
        },
        "label_voxels": {str(value): count for value, count in one.labels.items()},
        "region_voxels": dict(one.regions),
        "region_ml": {region: round(count * one.voxel_mm3 / 1000, 4) for region, count in one.regions.items()},
        "notes": list(one.notes),
    }


def _of_places(one: Examined, value: Callable[[Place], str]) -> str:
    """The value of all files; several where they differ."""
    return " or ".join(dict.fromkeys(value(place) for place in one.places.values())) or "none"


def _millilitres(one: Examined, region: str) -> str:
    if region not in one.regions or math.isnan(one.voxel_mm3):
        return "-"
    return f"{one.regions[region] * one.voxel_mm3 / 1000:.2f}"
