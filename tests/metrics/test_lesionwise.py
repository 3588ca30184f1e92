"""The BraTS 2023 rules, one by one, and the rules as they are written against the whole."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medsam_core.errors import MaskError
from medsam_core.metrics.boxes import around
from medsam_core.metrics.lesionwise import Lesion, LesionScores, lesion_scores
from medsam_core.metrics.numbering import count_components, dilate, label_components
from medsam_core.metrics.profiles import LesionRule
from medsam_core.metrics.surface import hausdorff, surface_distances

ISO = (1.0, 1.0, 1.0)
GLI = LesionRule(dilations=3, minimum_mm3=50, penalty_mm=374.0)
ANY_SIZE = LesionRule(dilations=3, minimum_mm3=0, penalty_mm=374.0)


def cube(shape: tuple[int, int, int], corner: tuple[int, int, int], side: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(at, at + side) for at in corner)] = True
    return mask


def cubes_with_gap(gap: int, side: int = 4) -> np.ndarray:
    shape = (8, 8, 30)
    return cube(shape, (2, 2, 2), side) | cube(shape, (2, 2, 2 + side + gap), side)


def test_two_empty_masks_are_perfect() -> None:
    none = np.zeros((5, 5, 5), bool)
    found = lesion_scores(none, none, ISO, GLI)
    assert (found.dice, found.hd95_mm, found.tp, found.fp, found.fn) == (1.0, 0.0, 0, 0, 0)
    assert found == LesionScores((), (), 374.0)


def test_a_perfect_mask_is_perfect() -> None:
    mask = cube((12, 12, 12), (3, 3, 3), 5)
    found = lesion_scores(mask, mask, ISO, GLI)
    assert (found.dice, found.hd95_mm, found.tp, found.fp, found.fn) == (1.0, 0.0, 1, 0, 0)
    (lesion,) = found.lesions
    assert (lesion.volume_mm3, lesion.matches, lesion.scored) == (125.0, (1,), True)


def test_one_stray_voxel_halves_a_perfect_score() -> None:
    truth = cube((20, 20, 20), (3, 3, 3), 5)
    prediction = truth.copy()
    prediction[18, 18, 18] = True
    found = lesion_scores(prediction, truth, ISO, GLI)
    assert (found.dice, found.hd95_mm) == (0.5, 187.0)
    assert (found.tp, found.fp, found.fn) == (1, 1, 0)
    assert found.false_positives == (2,)


def test_a_missed_lesion_counts_0_and_the_penalty() -> None:
    truth = cubes_with_gap(9)
    prediction = truth.copy()
    prediction[:, :, 10:] = False
    found = lesion_scores(prediction, truth, ISO, GLI)
    assert (found.dice, found.hd95_mm) == (0.5, 187.0)
    assert (found.tp, found.fp, found.fn) == (1, 0, 1)
    missed = found.lesions[1]
    assert missed == Lesion(volume_mm3=64.0, matches=(), dice=0.0, hd95_mm=374.0, scored=True)


@pytest.mark.parametrize(("gap", "lesions"), [(5, 1), (6, 1), (7, 2)])
def test_gaps_of_up_to_6_voxels_make_one_lesion(gap: int, lesions: int) -> None:
    truth = cubes_with_gap(gap)
    assert len(lesion_scores(truth, truth, ISO, GLI).lesions) == lesions


@pytest.mark.parametrize(("gap", "lesions"), [(2, 1), (3, 2)])
def test_one_dilation_joins_gaps_of_2(gap: int, lesions: int) -> None:
    truth = cubes_with_gap(gap)
    rule = LesionRule(dilations=1, minimum_mm3=50, penalty_mm=374.0)
    assert len(lesion_scores(truth, truth, ISO, rule).lesions) == lesions


def test_without_dilation_lesions_are_components() -> None:
    rule = LesionRule(dilations=0, minimum_mm3=0, penalty_mm=374.0)
    assert len(lesion_scores(cubes_with_gap(1), cubes_with_gap(1), ISO, rule).lesions) == 2
    assert len(lesion_scores(cubes_with_gap(0), cubes_with_gap(0), ISO, rule).lesions) == 1


@pytest.mark.parametrize(("gap", "counts"), [(2, (1, 0, 0)), (3, (0, 1, 1))])
def test_a_prediction_near_the_lesion_is_a_find_within_2_voxels(gap: int, counts: tuple[int, int, int]) -> None:
    shape = (8, 8, 30)
    truth, prediction = cube(shape, (2, 2, 2), 4), cube(shape, (2, 2, 6 + gap), 4)
    found = lesion_scores(prediction, truth, ISO, GLI)
    assert (found.tp, found.fp, found.fn) == counts
    assert found.dice == 0.0


def test_one_prediction_may_find_several_lesions() -> None:
    truth = cubes_with_gap(8)
    prediction = truth.copy()
    prediction[3, 3, 2:18] = True
    found = lesion_scores(prediction, truth, ISO, GLI)
    assert (found.tp, found.fp, found.fn) == (2, 0, 0)
    assert [lesion.matches for lesion in found.lesions] == [(1,), (1,)]
    assert found.lesions[0].dice == pytest.approx(2 * 64 / (64 + 136))


def test_a_lesion_is_compared_with_the_union_of_its_matches() -> None:
    truth = cube((8, 8, 12), (1, 1, 1), 6)
    prediction = truth.copy()
    prediction[:, :, 3:5] = False
    found = lesion_scores(prediction, truth, ISO, GLI)
    (lesion,) = found.lesions
    assert lesion.matches == (1, 2)
    assert lesion.dice == pytest.approx(2 * 144 / (144 + 216))
    distances = surface_distances(prediction, truth, ISO, definition="surfel")
    assert lesion.hd95_mm == hausdorff(distances, 95)


@pytest.mark.parametrize(("side", "scored"), [(3, False), (4, True)])
def test_lesions_up_to_50_mm3_are_neither_found_nor_missed(side: int, scored: bool) -> None:
    truth = cube((10, 10, 10), (2, 2, 2), side)
    for prediction in (truth, np.zeros_like(truth)):
        found = lesion_scores(prediction, truth, ISO, GLI)
        assert found.lesions[0].scored is scored
        assert found.tp + found.fn == scored
        assert found.fp == 0
    assert found.dice == (0.0 if scored else 1.0)


def test_a_lesion_of_exactly_the_minimum_does_not_count() -> None:
    truth = np.zeros((9, 9, 9), bool)
    truth[2:4, 2:7, 2:7] = True
    found = lesion_scores(truth, truth, ISO, GLI)
    assert found.lesions[0].volume_mm3 == 50.0
    assert not found.lesions[0].scored


def test_the_minimum_is_in_mm3_whatever_the_voxels() -> None:
    truth = cube((10, 10, 10), (2, 2, 2), 3)
    assert lesion_scores(truth, truth, (2, 1, 1), GLI).lesions[0].scored
    assert lesion_scores(truth, truth, (2, 1, 1), GLI).lesions[0].volume_mm3 == 54.0


def test_spacing_reaches_hd95() -> None:
    truth, prediction = cube((12, 12, 12), (2, 2, 2), 5), cube((12, 12, 12), (3, 2, 2), 5)
    assert lesion_scores(prediction, truth, (4, 1, 1), GLI).hd95_mm == 4.0


def test_false_lesions_of_an_empty_truth() -> None:
    prediction = cubes_with_gap(9)
    found = lesion_scores(prediction, np.zeros_like(prediction), ISO, GLI)
    assert (found.tp, found.fp, found.fn) == (0, 2, 0)
    assert (found.dice, found.hd95_mm) == (0.0, 374.0)
    assert found.false_positives == (1, 2)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)), st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_dilation_is_that_with_the_18_neighbour_element(mask: np.ndarray, times: int) -> None:
    element = ndimage.generate_binary_structure(3, 2)
    wanted = ndimage.binary_dilation(mask, element, iterations=times) if times else mask
    assert np.array_equal(dilate(mask, times), wanted)


def test_a_lesion_and_its_matches_are_compared_in_the_smallest_box_around_them() -> None:
    boxes = (slice(2, 5), slice(1, 4)), (slice(3, 9), slice(0, 2))
    assert around(*boxes) == (slice(2, 9), slice(0, 4))


def test_components_touch_at_corners() -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[1, 2, 1] = True
    assert count_components(mask) == 1
    mask[1, 1, 1] = mask[1, 2, 1] = False
    mask[2, 2, 2] = True
    assert count_components(mask) == 2
    labels, number = label_components(mask)
    assert number == 2
    assert labels[0, 0, 0] == 1
    assert labels[2, 2, 2] == 2
    assert count_components(np.eye(4, dtype=bool)) == 1
    assert count_components(np.zeros((2, 2), bool)) == 0


def test_lesions_need_three_axes() -> None:
    flat = np.ones((4, 4), bool)
    with pytest.raises(MaskError) as error:
        lesion_scores(flat, flat, (1, 1), GLI)
    assert str(error.value) == ("prediction: shape (4, 4), expected (D, H, W); leave lesions out in 2-D.")
    for function in (count_components, label_components):
        with pytest.raises(MaskError, match=r"^mask: dtype int64, expected bool; "):
            function(flat.astype(int))  # type: ignore[operator]
    with pytest.raises(MaskError, match="spacing_mm"):
        lesion_scores(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), (1, 1, 0), GLI)


@st.composite
def scattered(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    shape = (4, 5, 24)
    masks = []
    for _mask in range(2):
        mask = np.zeros(shape, bool)
        for at in draw(st.lists(st.integers(0, 479), max_size=6)):
            z, y, x = np.unravel_index(at, shape)
            mask[z : z + draw(st.integers(1, 3)), y : y + 2, x : x + draw(st.integers(1, 4))] = True
        masks.append(mask)
    return masks[0], masks[1]


@given(scattered(), st.integers(1, 3), st.sampled_from([0.0, 4.0, 12.0]))
@settings(deadline=None, max_examples=60)
def test_the_score_is_that_of_the_rules_as_written(masks: Any, dilations: int, minimum: float) -> None:
    prediction, truth = masks
    rule = LesionRule(dilations, minimum, 374.0)
    found = lesion_scores(prediction, truth, ISO, rule)
    assert_partition(found, prediction)
    dice, hd95, counts = as_written(prediction, truth, rule)
    assert found.dice == pytest.approx(dice)
    assert found.hd95_mm == pytest.approx(hd95)
    assert (found.tp, found.fp, found.fn) == counts


def assert_partition(found: LesionScores, prediction: np.ndarray) -> None:
    """Every component of the prediction matches a lesion or is a false positive, never both."""
    matched = {match for lesion in found.lesions for match in lesion.matches}
    assert matched | set(found.false_positives) == set(range(1, count_components(prediction) + 1))
    assert not matched & set(found.false_positives)
    assert found.tp + found.fn == sum(lesion.scored for lesion in found.lesions)


def as_written(
    prediction: np.ndarray, truth: np.ndarray, rule: LesionRule
) -> tuple[float, float, tuple[int, int, int]]:
    """The five steps over the whole array, in the slow way."""
    element, touching = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))
    zones, zone_count = ndimage.label(ndimage.binary_dilation(truth, element, iterations=rule.dilations), touching)
    parts, part_count = ndimage.label(prediction, touching)
    used: set[int] = set()
    dices, distances, tp, fn = [], [], 0, 0
    for zone in range(1, zone_count + 1):
        lesion = truth & (zones == zone)
        grown = ndimage.binary_dilation(lesion, element, iterations=rule.dilations)
        matches = set(np.unique(parts[grown]).tolist()) - {0}
        used |= matches
        if lesion.sum() <= rule.minimum_mm3:
            continue
        union = np.isin(parts, list(matches))
        tp, fn = tp + bool(matches), fn + (not matches)
        dices.append(2 * (union & lesion).sum() / (union.sum() + lesion.sum()))
        hd95 = hausdorff(surface_distances(union, lesion, ISO, definition="surfel"), 95)
        distances.append(374.0 if math.isinf(hd95) else hd95)
    fp = part_count - len(used)
    if not dices and not fp:
        return 1.0, 0.0, (tp, fp, fn)
    total = len(dices) + fp
    return sum(dices) / total, (sum(distances) + 374.0 * fp) / total, (tp, fp, fn)
