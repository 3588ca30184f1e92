"""Agreement with the official packages of BraTS 2024 and 2025 (fixtures/golden/official.py made their tables)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from medsam_core.metrics import score_regions
from medsam_core.metrics.profiles import PROFILES

GLIOMA = {"WT": {1, 2, 3}, "TC": {1, 3}, "ET": {3}, "NETC": {1}, "SNFH": {2}, "RC": {4}}
PED = {"WT": {1, 2, 3, 4}, "TC": {1, 2, 3}, "ET": {1}, "NETC": {2}, "CC": {3}, "ED": {4}}
GTV = {"GTV": {1}}
YEAR_2024 = {"GLI": GLIOMA, "SSA": GLIOMA, "PED": PED, "MET": GLIOMA, "MEN": GLIOMA, "MEN-RT": GTV}
YEAR_2025 = {
    "gli": ("brats2025-seg", GLIOMA),
    "ped": ("brats2025-seg", PED),
    "GoAT": ("brats2025-seg", GLIOMA),
    "MenRT": ("brats2025-seg", GTV),
    "mets": ("brats2025-mets", GLIOMA),
}
# the script divides NSD by 2 + 1e-8 where two shares are averaged
NSD_GUARD = 1e-8


def maps_of(lesion_maps: ModuleType, blobs: ModuleType, tables: Any) -> Any:
    assert list(tables["maps"]) == list(lesion_maps.MAPS)
    for name, spec in lesion_maps.MAPS.items():
        pair = lesion_maps.lesion_pair(**spec)
        assert blobs.sha256(*pair) == tables["maps"][name]["sha256"], f"the label maps of {name!r} drifted"
        yield name, pair, spec.get("spacing_mm", (1.0, 1.0, 1.0)), tables["maps"][name]


def off(found: dict[str, float], wanted: dict[str, Any], tolerance: float = 1e-9) -> list[str]:
    """What differs."""
    return [
        f"{metric}: {found[metric]} for {value}"
        for metric, value in wanted.items()
        if found[metric] != pytest.approx(float(value), rel=tolerance, abs=tolerance, nan_ok=True)
    ]


@pytest.mark.parametrize("challenge", YEAR_2024)
def test_brats2024_agrees_with_the_official_script(
    blobs: ModuleType, lesion_maps: ModuleType, official: Any, challenge: str
) -> None:
    profile, differences, compared = f"brats2024-{challenge.lower()}", [], set()
    for name, pair, spacing, tables in maps_of(lesion_maps, blobs, official["2024"]):
        for region, wanted in tables.get(challenge, {}).items():
            regions = YEAR_2024[challenge]
            found = score_regions(*pair, spacing, regions, profile=profile, metrics=tuple(wanted), scored=[region])
            ours = {key.partition("/")[2]: value for key, value in found[region].items()}
            for metric, value in wanted.items():
                text = off(ours, {metric: value}, NSD_GUARD if "nsd" in metric else 1e-9)
                differences += [f"{name}, {region}: {difference}" for difference in text]
                compared.add((name, region, metric))
    assert differences == []
    cubic = [name for name, spec in lesion_maps.MAPS.items() if "spacing_mm" not in spec]
    assert len([name for name, _, _ in compared if name in cubic]) == len(cubic) * len(PROFILES[profile].regions) * 13


@pytest.mark.parametrize("config", YEAR_2025)
def test_brats2025_agrees_with_the_official_package(
    blobs: ModuleType, lesion_maps: ModuleType, official: Any, config: str
) -> None:
    profile, regions = YEAR_2025[config]
    differences, compared = [], 0
    for name, pair, spacing, tables in maps_of(lesion_maps, blobs, official["2025"]):
        for region, wanted in tables[config].items():
            found = score_regions(*pair, spacing, {region: regions[region]}, profile=profile, metrics=tuple(wanted))
            ours = {key.partition("/")[2]: value for key, value in found[region].items()}
            differences += [f"{name}, {region}: {difference}" for difference in off(ours, wanted)]
            compared += len(wanted)
    assert differences == []
    assert compared >= 10 * len(lesion_maps.MAPS)
