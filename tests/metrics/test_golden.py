"""Agreement with the packages whose definitions the profiles name."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from medsam_core.metrics import score, score_regions
from medsam_core.metrics.profiles import PROFILES
from medsam_core.metrics.surface import hausdorff, masd, nsd, surface_distances
from medsam_core.metrics.surfels import surface_elements

REGIONS = {"WT": {1, 2, 3}, "TC": {1, 3}, "ET": {3}}


def agree(found: dict[str, float], golden: dict[str, Any], **tolerance: float) -> None:
    wanted = {name: float(golden[name]) for name in found}
    assert found == pytest.approx(wanted, nan_ok=True, **tolerance)


def pairs(blobs: ModuleType, golden: Any, package: str) -> Any:
    for name, spec in blobs.PAIRS.items():
        prediction, truth = blobs.mask_pair(**spec)
        assert blobs.sha256(prediction, truth) == golden["pairs"][name]["sha256"], f"the masks of {name!r} drifted"
        if package in golden["pairs"][name]:
            yield name, prediction, truth, spec["spacing_mm"], golden["pairs"][name][package]


def test_monai_profile_agrees_with_monai(blobs: ModuleType, golden: Any) -> None:
    compared = 0
    for _name, prediction, truth, spacing, wanted in pairs(blobs, golden, "monai"):
        found = score(prediction, truth, spacing, profile="monai", metrics=tuple(wanted))
        # with one empty mask MONAI gives inf for the maximum and the mean, NaN for HD95: here NaN is one answer to all
        wanted = {name: "nan" if value == "inf" else value for name, value in wanted.items()}
        agree({key.removeprefix("monai/"): value for key, value in found.items()}, wanted, rel=1e-6, abs=1e-6)
        compared += 1
    assert compared == 13


def test_brats2019_profile_agrees_with_medpy(blobs: ModuleType, golden: Any) -> None:
    compared = 0
    for _name, prediction, truth, spacing, wanted in pairs(blobs, golden, "medpy"):
        names = tuple(name for name in wanted if name != "hd")
        found = score(prediction, truth, spacing, profile="brats2019", metrics=names)
        agree({key.removeprefix("brats2019/"): value for key, value in found.items()}, wanted, rel=1e-12, abs=1e-12)
        assert hausdorff(surface_distances(prediction, truth, spacing)) == pytest.approx(wanted["hd"], abs=1e-12)
        compared += 1
    assert compared == 10


def test_surfels_agree_with_deepmind(blobs: ModuleType, golden: Any) -> None:
    compared = 0
    for _name, prediction, truth, spacing, wanted in pairs(blobs, golden, "deepmind"):
        distances = surface_distances(prediction, truth, spacing, definition="surfel")
        found = {
            "hd": hausdorff(distances),
            "hd95": hausdorff(distances, 95),
            "hd50": hausdorff(distances, 50),
            "masd": masd(distances),
            "nsd_1mm": nsd(distances, 1),
            "nsd_2mm": nsd(distances, 2),
        }
        agree(found, wanted, rel=1e-12, abs=1e-12)
        compared += 1
    assert compared == 10


@pytest.mark.parametrize(("name", "spacing"), [("3-D", (1.0, 2.0, 3.0)), ("2-D", (2.0, 3.0))])
def test_every_surface_element_is_deepminds(golden: Any, name: str, spacing: tuple[float, ...]) -> None:
    wanted = golden["surface_elements"][name]
    table = surface_elements(spacing)
    assert len(wanted) == len(table) == 2**2 ** len(spacing)
    assert {code: table[int(code)] for code in wanted} == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("challenge", ["GLI", "SSA", "PED", "MEN", "MET"])
def test_brats2023_table_agrees_with_the_official_script(blobs: ModuleType, golden: Any, challenge: str) -> None:
    profile = "brats2023" if challenge == "GLI" else f"brats2023-{challenge.lower()}"
    for name, spec in blobs.LABEL_MAPS.items():
        prediction, truth = blobs.label_pair(**spec)
        entry = golden["official"]["maps"][name]
        assert blobs.sha256(prediction, truth) == entry["sha256"], f"the label maps of {name!r} drifted"
        metrics = tuple(entry[challenge]["WT"])
        found = score_regions(prediction, truth, (1, 1, 1), REGIONS, profile=profile, metrics=metrics)
        for region, values in found.items():
            bare = {key.removeprefix(f"{profile}/"): value for key, value in values.items()}
            agree(bare, entry[challenge][region], rel=1e-9, abs=1e-9)


def test_the_official_maps_have_found_missed_and_false_lesions(golden: Any) -> None:
    for challenge in ("GLI", "MEN", "MET"):
        rows = [row for entry in golden["official"]["maps"].values() for row in entry[challenge].values()]
        for column in ("lesion_tp", "lesion_fp", "lesion_fn"):
            assert sum(row[column] for row in rows) > 3
        assert len({row["lesion_dice"] for row in rows}) > 10


def test_volumes_of_the_golden_masks_are_their_voxels(blobs: ModuleType) -> None:
    prediction, truth = blobs.mask_pair(**blobs.PAIRS["thick slices"])
    found = score(prediction, truth, (2.5, 0.75, 0.75), metrics=("volume_ml", "truth_volume_ml"))
    assert found["brats2019/volume_ml"] == pytest.approx(np.sum(prediction) * 2.5 * 0.75**2 / 1000)
    assert found["brats2019/truth_volume_ml"] == pytest.approx(np.sum(truth) * 2.5 * 0.75**2 / 1000)


def test_every_challenge_has_a_profile() -> None:
    assert {name for name in PROFILES if name.startswith("brats2023")} == {
        "brats2023", "brats2023-ssa", "brats2023-ped", "brats2023-men", "brats2023-met",
    }  # fmt: skip
