"""Subgroups of cases: terciles of the region's volume among the subjects of a run, and how many pieces it has."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping

from medsam_core.cases import CaseRecord

TERCILES = ("small", "middle", "large")
COMPONENTS = ("one", "several")
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
