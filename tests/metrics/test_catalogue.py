"""`score` and the catalogue: keys, units, empty masks by profile, and what is computed once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam_core.errors import MaskError, OptionError, ShapeMismatch
from medsam_core.metrics import METRICS, PROFILES, mask_pair, score, score_regions
from medsam_core.metrics.catalogue import CHEAP
from medsam_core.metrics.mask_pair import MaskPair

ISO = (1.0, 1.0, 1.0)
BRATS = {"WT": {1, 2, 4}, "TC": {1, 4}, "ET": {4}}
WITHOUT_TISSUES = [name for name in PROFILES if name not in ("brats2024-gli", "brats2024-ssa", "brats2024-met")]
OVERLAPS = ("dice", "iou", "sensitivity", "precision", "volumetric_similarity")
DISTANCES = ("hd", "hd95", "assd", "masd")
SHARES = ("nsd_0.5mm", "nsd_1mm", "nsd_2mm")
LESION_SHARES = ("lesion_dice", "lesion_nsd_0.5mm", "lesion_nsd_1mm", "lesion_nsd_voxel", "lesion_precision",
                 "lesion_recall", "lesion_f1")  # fmt: skip
DETECTION = tuple(f"{size}_lesion_{rate}" for size in ("large", "small") for rate in ("precision", "recall", "f1"))
LESIONS = (*LESION_SHARES, *DETECTION, "lesion_hd95", "lesion_tp", "lesion_fp", "lesion_fn")

SOME = np.zeros((4, 5, 6), bool)
SOME[1:3, 1:4, 1:3] = True  # 12 voxels
MORE = np.zeros((4, 5, 6), bool)
MORE[1:3, 1:4, 2:6] = True  # 24 voxels, 6 of them shared
NONE = np.zeros((4, 5, 6), bool)


def bare(found: dict[str, float]) -> dict[str, float]:
    return {key.partition("/")[2]: value for key, value in found.items()}


def test_keys_carry_the_profile_and_follow_the_order_of_the_metrics() -> None:
    found = score(SOME, MORE, ISO, profile="monai", metrics=("iou", "dice"))
    assert list(found) == ["monai/iou", "monai/dice"]
    assert {type(value) for value in found.values()} == {float}


def test_the_default_is_cheap_and_brats2019() -> None:
    found = score(SOME, MORE, ISO)
    assert list(found) == [f"brats2019/{name}" for name in CHEAP]
    assert set(CHEAP) == {
        "dice", "iou", "sensitivity", "specificity", "precision", "volumetric_similarity", "volume_ml",
        "truth_volume_ml", "volume_difference_ml",
    }  # fmt: skip


def test_every_metric_of_two_boxes_by_hand() -> None:
    found = bare(score(SOME, MORE, (2.0, 5.0, 1.0), profile="brats2019", metrics=tuple(METRICS)))
    wanted = {
        "dice": 12 / 36,
        "iou": 6 / 30,
        "sensitivity": 6 / 24,
        "specificity": 90 / 96,
        "precision": 0.5,
        "volumetric_similarity": 1 - 12 / 36,
        "volume_ml": 0.12,
        "truth_volume_ml": 0.24,
        "volume_difference_ml": -0.12,
        "absolute_volume_difference_ml": 0.12,
        "relative_volume_difference": -0.5,
        "overspill_ml": 0.06,
        "underspill_ml": 0.18,
        "hd": 3.0,
        # 12 surface voxels at distances 0 and 1, 24 of the truth at 0, 1, 2, 3, six or so each
        "hd95": 3.0,
        "assd": (6 * 1 + 6 * (1 + 2 + 3)) / 36,
        "masd": (6 / 12 + 36 / 24) / 2,
        "nsd_0.5mm": (6 + 6) / 36,
        "nsd_1mm": (12 + 12) / 36,
        "nsd_2mm": (12 + 18) / 36,
        "components": 1,
        "truth_components": 1,
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value), name
    undefined = {*LESIONS, "half_life", "predicted_iou_bias", "predicted_iou_error"}
    assert {name for name, value in found.items() if math.isnan(value)} == undefined
    assert set(found) == set(wanted) | undefined


def box(shape: tuple[int, ...], *sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


CUBE = (3, 3, 3)
EDGES: dict[str, tuple[np.ndarray, np.ndarray, tuple[float, ...], str, dict[str, float]]] = {
    "full against full": (
        np.ones(CUBE, bool), np.ones(CUBE, bool), ISO, "brats2019",
        {"dice": 1, "specificity": math.nan, "hd": 0, "hd95": 0, "assd": 0, "masd": 0, "nsd_1mm": 1, "components": 1},
    ),
    # 26 of the 27 voxels are surface; the farthest of them is 2√3 from the corner, the next three 3
    "full against a corner": (
        np.ones(CUBE, bool), box(CUBE, (0, 1), (0, 1), (0, 1)), ISO, "brats2019",
        {"dice": 2 / 28, "sensitivity": 1, "specificity": 0, "precision": 1 / 27, "hd": math.sqrt(12), "hd95": 3,
         "volumetric_similarity": 1 - 26 / 28, "nsd_1mm": 5 / 27, "overspill_ml": 0.026, "underspill_ml": 0},
    ),
    "one voxel against another": (
        box((5, 5, 5), (0, 1), (2, 3), (2, 3)), box((5, 5, 5), (4, 5), (2, 3), (2, 3)), (2.0, 1.0, 1.0), "brats2019",
        {"dice": 0, "iou": 0, "volumetric_similarity": 1, "hd": 8, "hd95": 8, "assd": 8, "masd": 8, "nsd_2mm": 0},
    ),
    # every voxel of a single slice is surface: of 9, 6 coincide and 3 are next to the other square
    "squares in a volume of one slice": (
        box((1, 5, 5), (0, 1), (1, 4), (0, 3)), box((1, 5, 5), (0, 1), (1, 4), (1, 4)), (5.0, 1.0, 1.0), "brats2019",
        {"dice": 2 / 3, "hd": 1, "hd95": 1, "assd": 1 / 3, "masd": 1 / 3, "nsd_1mm": 1},
    ),
    # in 2-D the middle of a square is not: of 8, 4 coincide
    "squares in a slice": (
        box((5, 5), (1, 4), (0, 3)), box((5, 5), (1, 4), (1, 4)), (1.0, 1.0), "brats2019",
        {"dice": 2 / 3, "hd": 1, "hd95": 1, "assd": 1 / 2, "masd": 1 / 2, "nsd_1mm": 1},
    ),
    "a cube in the corner of the array, voxels": (
        box((4, 4, 4), (0, 2), (0, 2), (0, 2)), box((4, 4, 4), (0, 2), (0, 2), (1, 3)), ISO, "brats2019",
        {"dice": 1 / 2, "hd": 1, "hd95": 1, "assd": 1 / 2, "masd": 1 / 2, "nsd_1mm": 1},
    ),
    # 26 corners of a cube of 2: 8 at its corners (√3/8 each), 12 on its edges (√2/2), 6 on its faces (1). Off by 1:
    # the left face (4 corners, 4 edges, 1 face) and the middle of the right one
    "a cube in the corner of the array, surfels": (
        box((4, 4, 4), (0, 2), (0, 2), (0, 2)), box((4, 4, 4), (0, 2), (0, 2), (1, 3)), ISO, "brats2023",
        {"hd": 1, "hd95": 1, "nsd_1mm": 1, "assd": (math.sqrt(3) / 2 + 2 * math.sqrt(2) + 2) /
         (math.sqrt(3) + 6 * math.sqrt(2) + 6), "lesion_tp": 0, "lesion_fp": 0, "lesion_fn": 0, "lesion_dice": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_edge_cases_by_hand(name: str) -> None:
    prediction, truth, spacing, profile, wanted = EDGES[name]
    found = bare(score(prediction, truth, spacing, profile=profile, metrics=tuple(wanted)))
    assert found == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize("profile", ["brats2019", "brats2023-men"])
@given(*[hnp.arrays(bool, (4, 5, 6))] * 2)
@settings(deadline=None, max_examples=20)
def test_neither_background_nor_the_order_of_axes_changes_a_score(
    profile: str, prediction: np.ndarray, truth: np.ndarray
) -> None:
    names = tuple(name for name in METRICS if name != "specificity")
    wanted = score(prediction, truth, (1, 2, 3), profile=profile, metrics=names)
    padded = [np.pad(mask, ((3, 0), (1, 2), (0, 4))) for mask in (prediction, truth)]
    assert score(*padded, (1, 2, 3), profile=profile, metrics=names) == pytest.approx(wanted, nan_ok=True)
    turned = [mask.transpose(2, 0, 1) for mask in (prediction, truth)]
    assert score(*turned, (3, 1, 2), profile=profile, metrics=names) == pytest.approx(wanted, nan_ok=True)
    both_ways = ("dice", "iou", "volumetric_similarity", *DISTANCES, *SHARES)
    swapped = score(truth, prediction, (1, 2, 3), profile=profile, metrics=both_ways)
    assert swapped == pytest.approx({key: wanted[key] for key in swapped}, nan_ok=True)


def test_profiles_choose_surface_and_direction() -> None:
    hd95 = {name: score(SOME, MORE, ISO, profile=name, metrics=("hd95",))[f"{name}/hd95"] for name in PROFILES}
    assert hd95["monai"] == pytest.approx(3.0)
    line, point = np.ones((1, 1, 8), bool), np.zeros((1, 1, 8), bool)
    point[0, 0, 0] = True
    half = {
        directed: score(line, point, ISO, profile=replace(PROFILES["monai"], directed=directed), metrics=("hd95",))
        for directed in ("max", "pooled")
    }
    assert half["max"]["monai/hd95"] == pytest.approx(6.65)
    assert half["pooled"]["monai/hd95"] == pytest.approx(6.6)
    surfel = replace(PROFILES["monai"], surface="surfel")
    assert score(line, point, ISO, profile=surfel, metrics=("hd",))["monai/hd"] == 7.0


@pytest.mark.parametrize(
    ("profile", "overlap", "distance", "share"),
    [
        ("brats2019", 1.0, 0.0, 1.0),
        ("brats2023", 1.0, 0.0, 1.0),
        ("monai", math.nan, math.nan, math.nan),
    ],
)
def test_both_empty(profile: str, overlap: float, distance: float, share: float) -> None:
    found = bare(score(NONE, NONE, ISO, profile=profile, metrics=tuple(METRICS)))
    assert {name: found[name] for name in OVERLAPS} == pytest.approx(dict.fromkeys(OVERLAPS, overlap), nan_ok=True)
    assert {name: found[name] for name in DISTANCES} == pytest.approx(dict.fromkeys(DISTANCES, distance), nan_ok=True)
    assert {name: found[name] for name in SHARES} == pytest.approx(dict.fromkeys(SHARES, share), nan_ok=True)
    assert found["specificity"] == 1.0
    assert found["volume_ml"] == found["overspill_ml"] == found["components"] == found["truth_components"] == 0.0


@pytest.mark.parametrize(
    ("profile", "overlap", "distance"),
    [("brats2019", 0.0, math.sqrt(240**2 + 240**2 + 155**2)), ("brats2023", 0.0, 374.0), ("monai", math.nan, math.nan)],
)
def test_only_the_truth_is_empty(profile: str, overlap: float, distance: float) -> None:
    found = bare(score(SOME, NONE, ISO, profile=profile, metrics=tuple(METRICS)))
    assert {name: found[name] for name in OVERLAPS} == pytest.approx(dict.fromkeys(OVERLAPS, overlap), nan_ok=True)
    assert {name: found[name] for name in DISTANCES} == pytest.approx(dict.fromkeys(DISTANCES, distance), nan_ok=True)
    assert {found[name] for name in SHARES} == {0.0}
    assert math.isnan(found["relative_volume_difference"])


@pytest.mark.parametrize(
    ("profile", "precision", "distance"),
    [("brats2019", 0.0, math.sqrt(240**2 + 240**2 + 155**2)), ("brats2023", 0.0, 374.0), ("monai", math.nan, math.nan)],
)
def test_a_missed_region_scores_worst_and_never_drops_out(profile: str, precision: float, distance: float) -> None:
    found = bare(score(NONE, SOME, ISO, profile=profile, metrics=tuple(METRICS)))
    assert {found[name] for name in OVERLAPS if name != "precision"} == {0.0}
    assert found["precision"] == pytest.approx(precision, nan_ok=True)
    assert {name: found[name] for name in DISTANCES} == pytest.approx(dict.fromkeys(DISTANCES, distance), nan_ok=True)
    assert {found[name] for name in SHARES} == {0.0}
    assert found["relative_volume_difference"] == -1.0


def test_lesions_belong_to_brats2023() -> None:
    large = np.zeros((12, 12, 12), bool)
    large[2:6, 2:6, 2:6] = True
    stray = large.copy()
    stray[11, 11, 11] = True
    found = bare(score(stray, large, ISO, profile="brats2023", metrics=LESIONS))
    wanted = {"lesion_dice": 0.5, "lesion_hd95": 187.0, "lesion_tp": 1, "lesion_fp": 1, "lesion_fn": 0}
    wanted |= {"lesion_nsd_0.5mm": 0.5, "lesion_nsd_1mm": 0.5, "lesion_nsd_voxel": 0.5}
    wanted |= {"lesion_precision": 0.5, "lesion_recall": 1.0, "lesion_f1": 2 / 3}
    assert found == pytest.approx(wanted | dict.fromkeys(DETECTION, math.nan), nan_ok=True)
    missed = bare(score(stray, large[:, :, ::-1], ISO, profile="brats2023", metrics=LESIONS))
    assert (missed["lesion_tp"], missed["lesion_fp"], missed["lesion_fn"]) == (1, 1, 0)
    assert all(math.isnan(value) for value in score(stray, large, ISO, metrics=LESIONS).values())


def test_half_life_needs_the_prompted_slices() -> None:
    fading = SOME.copy()
    fading[2, 1:3] = False
    assert math.isnan(score(fading, SOME, ISO, metrics=("half_life",))["brats2019/half_life"])
    assert score(fading, SOME, ISO, metrics=("half_life",), key_slices=[1])["brats2019/half_life"] == 2
    fading[2] = False
    assert score(fading, SOME, ISO, metrics=("half_life",), key_slices=[1])["brats2019/half_life"] == 1
    assert math.isnan(score(SOME, NONE, ISO, metrics=("half_life",), key_slices=[1])["brats2019/half_life"])


def test_calibration_needs_the_models_estimates() -> None:
    names = ("predicted_iou_bias", "predicted_iou_error")
    found = bare(score(SOME, SOME, ISO, metrics=names, predicted_iou=[math.nan, 0.75, 0.5, 0.25]))
    assert found == {"predicted_iou_bias": -0.375, "predicted_iou_error": 0.375}
    with pytest.raises(ShapeMismatch):
        score(SOME, SOME, ISO, metrics=names, predicted_iou=[0.5])


def test_every_metric_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.description
        assert metric.unit in ("", "mm", "ml", "slices")
    by_direction = {
        better: {name for name, metric in METRICS.items() if metric.better == better}
        for better in ("higher", "lower", "neither")
    }
    assert by_direction["higher"] == {
        *OVERLAPS, *SHARES, *LESION_SHARES, *DETECTION, "specificity", "lesion_tp", "half_life",
    }  # fmt: skip
    assert by_direction["lower"] == {
        *DISTANCES, "absolute_volume_difference_ml", "overspill_ml", "underspill_ml", "lesion_hd95", "lesion_fp",
        "lesion_fn", "predicted_iou_error",
    }  # fmt: skip
    assert sum(len(names) for names in by_direction.values()) == len(METRICS)
    assert {name for name, metric in METRICS.items() if metric.unit == "mm"} == {*DISTANCES, "lesion_hd95"}
    assert all((metric.unit == "ml") == name.endswith("_ml") or name in ("overspill_ml", "underspill_ml")
               for name, metric in METRICS.items())  # fmt: skip
    assert METRICS["half_life"].unit == "slices"


def test_distances_and_lesions_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(name: str) -> Any:
        original = getattr(mask_pair, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            return original(*arguments, **options)

        return call

    for name in ("count", "surface_distances", "lesion_scores"):
        monkeypatch.setattr(mask_pair, name, counting(name))
    score(SOME, MORE, ISO, profile="brats2023", metrics=tuple(METRICS))
    assert sorted(calls) == ["count", "lesion_scores", "surface_distances"]
    calls.clear()
    score(SOME, MORE, ISO, metrics=("dice", "volume_ml"))
    assert calls == ["count"]


@pytest.mark.parametrize("profile", WITHOUT_TISSUES)
@given(*[hnp.arrays(np.uint8, (4, 5, 6), elements=st.sampled_from([0, 0, 0, 1, 2, 4]))] * 2)
@settings(deadline=None, max_examples=8)
def test_label_maps_score_as_their_masks_do(profile: str, prediction: np.ndarray, truth: np.ndarray) -> None:
    names = tuple(METRICS)
    found = score_regions(prediction, truth, (1, 2, 3), BRATS, profile=profile, metrics=names)
    assert list(found) == ["WT", "TC", "ET"]
    for region, values in BRATS.items():
        masks = np.isin(prediction, list(values)), np.isin(truth, list(values))
        alone = score(*masks, (1, 2, 3), profile=profile, metrics=names, region=region)
        assert found[region] == pytest.approx(alone, nan_ok=True)


def test_only_some_regions_are_scored_if_only_some_are_asked_for() -> None:
    labels = np.full((3, 3, 3), 4, np.uint8)
    assert list(score_regions(labels, labels, ISO, BRATS, scored=["ET"])) == ["ET"]


def test_label_maps_without_any_label() -> None:
    zeros = np.zeros((4, 5, 6), np.uint8)
    found = score_regions(zeros, zeros, ISO, BRATS)
    assert found["ET"]["brats2019/dice"] == 1.0
    assert found["ET"]["brats2019/specificity"] == 1.0


def test_a_slice_has_scores_but_no_volume() -> None:
    assert score(SOME[1], MORE[1], (1, 1), metrics=("dice", "hd95", "overspill_ml")[:2])["brats2019/hd95"] == 3.0
    with pytest.raises(MaskError) as error:
        score(SOME[1], MORE[1], (1, 1), metrics=("volume_ml",))
    assert str(error.value) == "prediction: shape (5, 6), expected (D, H, W); leave volumes out in 2-D."


@settings(max_examples=40)
@given(profile=st.sampled_from(sorted(PROFILES)), data=st.data())
def test_masks_cut_out_of_an_image_score_as_the_whole_ones(profile: str, data: st.DataObject) -> None:
    shape = (5, 9, 10)
    prediction, truth = np.zeros(shape, bool), np.zeros(shape, bool)
    window = (slice(None), slice(2, 7), slice(4, 9))
    for mask in (prediction, truth):
        mask[window] = data.draw(hnp.arrays(bool, mask[window].shape))
    asked = {
        "profile": profile, "metrics": tuple(METRICS), "key_slices": (2,), "region": "ET",
        "predicted_iou": np.full(5, 0.5),
    }  # fmt: skip
    whole = score(prediction, truth, (2.0, 1.0, 0.5), **asked)
    cut = score(prediction[window], truth[window], (2.0, 1.0, 0.5), image_shape=shape, **asked)
    np.testing.assert_equal(cut, whole)  # to the last digit, NaN included


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 5), (3, 5, 6)])
def test_masks_do_not_fit_into_a_smaller_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match=r"image_shape: got .*, expected .* masks of \(4, 5, 6\) are cut out of"):
        score(SOME, MORE, ISO, image_shape=shape)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(OptionError, match=r"^metric: got 'dise', expected one of dice, iou, .*; choose among these\.$"):
        score(SOME, MORE, ISO, metrics=("dice", "dise"))
    with pytest.raises(OptionError, match=r"^profile: got 'x', expected one of brats2019, "):
        score(SOME, MORE, ISO, profile="x")


def test_masks_and_spacing_are_checked_before_anything_else() -> None:
    with pytest.raises(MaskError):
        score(SOME.astype(float), MORE, ISO)
    with pytest.raises(ShapeMismatch):
        score(SOME, MORE, (1, 1))
    with pytest.raises(ShapeMismatch):
        MaskPair(SOME, MORE[:2], ISO, PROFILES["monai"])


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        METRICS["own"] = METRICS["dice"]  # type: ignore[index]


def test_components_are_counted_in_the_mask_that_is_named() -> None:
    truth = np.zeros((5, 5, 5), bool)
    truth[0, 0, 0] = True
    prediction = truth.copy()
    prediction[4, 4, 4] = prediction[4, 0, 4] = True
    names = ("components", "truth_components")
    found = score(prediction, truth, (1.0, 1.0, 1.0), profile="brats2019", metrics=names)
    assert [found[f"brats2019/{name}"] for name in names] == [3.0, 1.0]
