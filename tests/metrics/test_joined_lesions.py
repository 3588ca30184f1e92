"""What BraTS 2024 does beyond 2023: lesions of the prediction are joined and cleared, and tissues join lesions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medsam_core.errors import OptionError
from medsam_core.metrics import PROFILES, score, score_regions
from medsam_core.metrics.joined_lesions import joined
from medsam_core.metrics.lesionwise import lesion_scores, without_small_lesions
from medsam_core.metrics.numbering import Numbered, number_lesions
from medsam_core.metrics.profiles import LesionRule

ISO = (1.0, 1.0, 1.0)
GLIOMA = {"WT": {1, 2, 3}, "TC": {1, 3}, "ET": {3}, "NETC": {1}, "SNFH": {2}, "RC": {4}}
YEAR_2024 = [name for name in PROFILES if name.startswith("brats2024")]
RULE = LesionRule(dilations=1, minimum_mm3=2, penalty_mm=300.0, prediction_too=True)


def line(*pieces: tuple[int, int], length: int = 40) -> np.ndarray:
    mask = np.zeros((3, 3, length), bool)
    for start, stop in pieces:
        mask[1, 1, start:stop] = True
    return mask


def test_one_stray_voxel_costs_half_in_2023_and_nothing_in_2024() -> None:
    truth = np.zeros((20, 20, 20), bool)
    truth[2:8, 2:8, 2:8] = True
    prediction = truth.copy()
    prediction[18, 18, 18] = True
    names = ("lesion_dice", "lesion_hd95", "dice", "hd95")
    found = score(prediction, truth, ISO, profile="brats2023", metrics=names)
    assert list(found.values())[:2] == [0.5, 187.0]
    found = score(prediction, truth, ISO, profile="brats2024-gli", metrics=names)
    assert list(found.values()) == [1.0, 0.0, 1.0, 0.0]


def test_pieces_of_the_prediction_that_a_dilation_joins_are_one() -> None:
    prediction, truth = line((2, 6), (8, 12), (20, 24)), line((2, 12))
    assert lesion_scores(prediction, truth, ISO, RULE).fp == 1
    # two pieces of 2 voxels, each too small, are together large enough
    assert without_small_lesions(line((2, 4), (6, 8)), ISO, RULE).sum() == 4
    assert without_small_lesions(line((2, 4), (7, 9)), ISO, RULE).sum() == 0


def test_small_lesions_of_the_prediction_are_measured_in_mm3() -> None:
    two = line((2, 4))
    assert not without_small_lesions(two, ISO, RULE).any()
    assert without_small_lesions(two, (1.5, 1.0, 1.0), RULE).sum() == 2


def test_what_is_removed_is_in_no_score_but_in_the_volumes() -> None:
    prediction, truth = line((2, 3)), line((2, 12))
    names = ("dice", "sensitivity", "specificity", "hd95", "nsd_1mm", "volume_ml", "components", "lesion_fn")
    found = score(prediction, truth, ISO, profile="brats2024-met", metrics=names)
    diagonal = math.sqrt(9 + 9 + 40**2)
    assert list(found.values()) == pytest.approx([0.0, 0.0, 1.0, diagonal, 0.0, 0.001, 1.0, 1.0])


def test_a_slice_is_scored_without_removing_anything() -> None:
    flat = np.zeros((5, 5), bool)
    flat[2, 2] = True
    assert score(flat, flat, (1, 1), profile="brats2024-gli", metrics=("dice",))["brats2024-gli/dice"] == 1.0


def test_the_penalty_is_the_diagonal_of_the_image_in_mm() -> None:
    prediction, truth = line(), line((2, 12))
    names = ("hd95", "lesion_hd95")
    for profile in ("brats2024-met", "brats2024-men-rt"):
        found = score(prediction, truth, (4.0, 3.0, 0.5), profile=profile, metrics=names, region="GTV")
        wanted = math.sqrt(12**2 + 9**2 + 20**2)
        assert found[f"{profile}/hd95"] == pytest.approx(wanted)
    labels = truth.astype(np.uint8), prediction.astype(np.uint8)
    # of the image, not of the box around the labels; 10 mm³ of prediction are removed for radiotherapy, not for METS
    found = score_regions(*labels, (4.0, 3.0, 0.5), {"WT": {1}}, profile="brats2024-met", metrics=names)["WT"]
    assert found == pytest.approx({"brats2024-met/hd95": wanted, "brats2024-met/lesion_hd95": wanted})


def test_false_positives_do_not_count_for_radiotherapy() -> None:
    truth = np.zeros((8, 8, 40), bool)
    truth[1:6, 1:6, 1:6] = True
    prediction = truth.copy()
    prediction[1:6, 1:6, 30:36] = True
    names = ("lesion_dice", "lesion_fp", "lesion_precision", "lesion_f1")
    found = score(prediction, truth, ISO, profile="brats2024-men-rt", metrics=names)
    assert list(found.values()) == [1.0, 1.0, 0.5, 2 / 3]
    found = score(prediction, truth, ISO, profile="brats2024-men", metrics=names)
    assert list(found.values()) == [0.5, 1.0, 0.5, 2 / 3]


def test_the_nsd_is_the_mean_of_both_shares() -> None:
    # of 4 voxels all are within 0.5 mm, of 8 half are: 3/4, and 8/12 if pooled
    prediction, truth = line((2, 6)), line((2, 10))
    found = score(prediction, truth, ISO, profile="brats2024-met", metrics=("nsd_0.5mm", "lesion_nsd_0.5mm"))
    assert list(found.values()) == [0.75, 0.75]
    assert score(prediction, truth, ISO, metrics=("nsd_0.5mm",))["brats2019/nsd_0.5mm"] == pytest.approx(8 / 12)


def numbered(mask: np.ndarray) -> Numbered:
    return number_lesions(mask, 0).whole(mask.shape)


def numbers(mask: np.ndarray) -> np.ndarray:
    return numbered(mask).lesions


def test_lesions_that_touch_one_lesion_of_another_tissue_are_one() -> None:
    found = numbered(line((2, 5), (8, 11), (20, 23)))
    assert joined(found, numbers(line((5, 8)))).lesions[1, 1, [2, 8, 20]].tolist() == [1, 1, 2]
    # a gap of a voxel is no touch
    assert joined(found, numbers(line((6, 7)))).number == 3


def test_a_lesion_that_touches_two_goes_with_the_first() -> None:
    found = numbered(line((2, 4), (6, 8), (10, 12)))
    others = numbers(line((4, 6), (8, 10)))
    # the middle one touches both; the last one touches the second alone and stays apart
    assert joined(found, others).lesions[1, 1, [2, 6, 10]].tolist() == [1, 1, 2]


def test_joined_lesions_in_label_maps() -> None:
    labels = np.zeros((9, 9, 60), np.uint8)
    labels[2:7, 2:7, 2:8] = 3
    labels[2:7, 2:7, 8:18] = 1
    labels[2:7, 2:7, 18:24] = 3
    labels[2:7, 2:7, 40:46] = 3
    found = score_regions(labels, labels, ISO, GLIOMA, profile="brats2024-gli", metrics=("lesion_tp",), scored=["ET"])
    assert found["ET"]["brats2024-gli/lesion_tp"] == 2
    mask = labels == 3
    found = score(mask, mask, ISO, profile="brats2024-gli", metrics=("lesion_tp",), region="ET")
    assert found["brats2024-gli/lesion_tp"] == 3


def test_a_region_that_joins_lesions_has_to_be_given() -> None:
    labels = np.full((3, 3, 3), 3, np.uint8)
    with pytest.raises(OptionError) as error:
        score_regions(labels, labels, ISO, {"ET": {3}}, profile="brats2024-gli", metrics=("lesion_dice",))
    assert str(error.value) == (
        "regions: got ET without NETC and RC, which in brats2024-gli join lesions of ET; add their labels, or none if "
        "the label map does not have them."
    )
    nothing = {"ET": {3}, "NETC": set[int](), "RC": set[int]()}
    found = score_regions(
        labels, labels, ISO, nothing, profile="brats2024-gli", metrics=("lesion_dice",), scored=["ET"]
    )
    assert found == {"ET": {"brats2024-gli/lesion_dice": 1.0}}
    assert score_regions(labels, labels, ISO, {"ET": {3}}, profile="brats2024-gli", metrics=("dice",))


@given(*[hnp.arrays(bool, (4, 5, 6), elements=st.sampled_from([False, False, False, True]))] * 2)
@settings(deadline=None, max_examples=60)
def test_joining_against_a_search_of_all_pairs(mask: np.ndarray, other: np.ndarray) -> None:
    found, others = numbered(mask), numbers(other)
    result = joined(found, others).lesions
    element = ndimage.generate_binary_structure(3, 2)
    first = {}
    for number in range(1, found.number + 1):
        touched = others[ndimage.binary_dilation(found.lesions == number, element)]
        first[number] = min(touched[touched > 0], default=-number)
    assert ((result > 0) == mask).all()
    for a in first:
        for b in first:
            together = len(np.unique(result[(found.lesions == a) | (found.lesions == b)])) == 1
            assert together == (a == b or first[a] == first[b])


@pytest.mark.parametrize("profile", YEAR_2024)
@given(hnp.arrays(np.uint8, (5, 6, 8), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 4])), st.integers(1, 6))
@settings(deadline=None, max_examples=10)
def test_more_background_changes_nothing_but_specificity_and_the_diagonal(
    profile: str, labels: np.ndarray, shift: int
) -> None:
    regions = {name: GLIOMA.get(name, {1}) for name in (*GLIOMA, *PROFILES[profile].regions)}
    names = ("dice", "nsd_0.5mm", "lesion_dice", "lesion_nsd_1mm", "lesion_f1", "lesion_tp", "lesion_fp", "lesion_fn")
    prediction = np.roll(labels, 1, axis=2)
    alone = score_regions(prediction, labels, ISO, regions, profile=profile, metrics=names)
    padded = [np.pad(side, shift) for side in (prediction, labels)]
    found = score_regions(*padded, ISO, regions, profile=profile, metrics=names)
    for region, values in found.items():
        assert values == pytest.approx(alone[region], nan_ok=True)


@pytest.mark.parametrize("profile", YEAR_2024)
@given(hnp.arrays(bool, (5, 6, 8), elements=st.sampled_from([False, False, True])))
@settings(deadline=None, max_examples=15)
def test_a_cleared_prediction_stays_as_it_is(profile: str, prediction: np.ndarray) -> None:
    rule = PROFILES[profile].lesions
    assert isinstance(rule, LesionRule)
    once = without_small_lesions(prediction, ISO, rule)
    assert not (once & ~prediction).any()
    np.testing.assert_array_equal(without_small_lesions(once, ISO, rule), once)
