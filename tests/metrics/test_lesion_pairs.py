"""Lesions matched one to one, by hand and against a search of all pairings."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medsam_core.errors import MaskError
from medsam_core.metrics import PROFILES, score
from medsam_core.metrics.lesion_pairs import pair_scores
from medsam_core.metrics.profiles import PairRule

ISO = (1.0, 1.0, 1.0)
SEG, METS = PairRule(penalty_mm=math.inf), PairRule(373.0, minimum_mm3=27, detection_dice=0.2)
SHAPE = (12, 12, 30)


def mask(*boxes: tuple[tuple[int, int], ...]) -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    for box in boxes:
        found[tuple(slice(*side) for side in box)] = True
    return found


def cube(at: int, size: int = 3) -> tuple[tuple[int, int], ...]:
    return (2, 2 + size), (2, 2 + size), (at, at + size)


NONE = mask()


def nsd(found: Any, tolerance_mm: float | None = 1) -> float:
    return found.nsd(tolerance_mm, "voxel", "mean")


def test_means_are_over_found_lesions_alone() -> None:
    found = pair_scores(mask(cube(1), cube(20)), mask(cube(1), cube(10)), ISO, SEG)
    assert (found.tp, found.fp, found.fn) == (1, 1, 1)
    assert (found.dice, found.hd95_mm, nsd(found)) == (1.0, 0.0, 1.0)
    assert (found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5)


def test_nothing_found() -> None:
    for prediction, truth in ((mask(cube(1)), mask(cube(10))), (NONE, mask(cube(1))), (mask(cube(1)), NONE)):
        found = pair_scores(prediction, truth, ISO, SEG)
        assert (found.dice, found.hd95_mm, nsd(found), found.f1) == (0.0, math.inf, 0.0, 0.0)
    assert math.isnan(pair_scores(NONE, mask(cube(1)), ISO, SEG).precision)
    assert math.isnan(pair_scores(mask(cube(1)), NONE, ISO, SEG).recall)


@pytest.mark.parametrize("rule", [SEG, METS])
def test_two_empty_masks(rule: PairRule) -> None:
    found = pair_scores(NONE, NONE, ISO, rule)
    assert (found.tp, found.fp, found.fn) == (0, 0, 0)
    for value in (found.dice, found.hd95_mm, nsd(found), found.precision, found.recall, found.f1, found.large.f1):
        assert math.isnan(value)


def test_large_lesions_count_with_their_misses_and_every_false_positive() -> None:
    # found whole, missed, and too small to count but found; one false positive of a voxel
    truth = mask(cube(1), cube(8), cube(15, 2))
    found = pair_scores(mask(cube(1), cube(15, 2), cube(25, 1)), truth, ISO, METS)
    assert (found.tp, found.fp, found.fn) == (2, 1, 1)
    assert found.dice == pytest.approx(1 / 3)
    assert nsd(found) == pytest.approx(1 / 3)
    assert found.hd95_mm == pytest.approx(2 * 373 / 3)
    assert (found.large.precision, found.large.recall, found.large.f1) == (0.5, 0.5, 0.5)
    assert (found.small.precision, found.small.recall, found.small.f1) == (0.5, 1.0, 2 / 3)


def test_without_a_large_lesion_there_is_no_mean() -> None:
    found = pair_scores(mask(cube(1, 2), cube(9)), mask(cube(1, 2)), ISO, METS)
    assert math.isnan(found.dice)
    assert math.isnan(found.hd95_mm)
    assert math.isnan(found.large.f1)
    assert found.small.recall == 1.0


def test_a_lesion_of_just_the_minimum_is_large() -> None:
    assert pair_scores(NONE, mask(cube(1)), ISO, METS).dice == 0.0
    assert math.isnan(pair_scores(NONE, mask(cube(1)), (0.99, 1.0, 1.0), METS).dice)


def test_a_pair_with_little_dice_is_no_detection_but_counts_in_the_mean() -> None:
    truth = mask(((2, 5), (2, 5), (2, 5)))
    found = pair_scores(mask(((4, 8), (4, 8), (2, 6))), truth, ISO, METS)  # 3 of 27 and 64 voxels
    assert (found.tp, found.dice) == (1, 6 / 91)
    assert (found.large.recall, found.large.precision) == (0.0, 0.0)


def test_a_bridge_over_two_lesions_finds_one_of_them() -> None:
    found = pair_scores(mask(((2, 5), (2, 5), (1, 13))), mask(cube(1), cube(10)), ISO, SEG)
    assert (found.tp, found.fp, found.fn) == (1, 0, 1)
    assert found.dice == 2 * 27 / (27 + 108)


def test_distances_follow_the_spacing_of_their_axes() -> None:
    shifted = np.roll(mask(cube(4)), 1, axis=0)
    found = pair_scores(shifted, mask(cube(4)), (4.0, 1.0, 1.0), SEG)
    assert found.hd95_mm == 4.0
    # within the smallest spacing, 1 mm: of the 26 border voxels of a cube of 3, the shared ones
    assert nsd(found, None) == nsd(found, 1)
    assert nsd(found, 3.9) == nsd(found, 1) < nsd(found, 4) == 1.0


def test_lesions_need_three_axes() -> None:
    flat = np.ones((4, 4), bool)
    with pytest.raises(MaskError) as error:
        pair_scores(flat, flat, (1, 1), SEG)
    assert str(error.value) == "prediction: shape (4, 4), expected (D, H, W); leave lesions out in 2-D."


def by_search(prediction: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """The most that the Dice of pairs can add up to, and the number of pairs, over all pairings."""
    ones = np.ones((3, 3, 3))
    (parts, columns), (wholes, rows) = (ndimage.label(side, ones) for side in (prediction, truth))
    table = np.zeros((rows, columns))
    for row, column in itertools.product(range(rows), range(columns)):
        ours, theirs = parts == column + 1, wholes == row + 1
        table[row, column] = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
    best = (0.0, 0)
    for size in range(min(rows, columns) + 1):
        for some in itertools.combinations(range(rows), size):
            for others in itertools.permutations(range(columns), size):
                values = [table[pair] for pair in zip(some, others, strict=True)]
                if all(values):
                    best = max(best, (sum(values) + 1e-6 * size, size))
    return best[0] - 1e-6 * best[1], best[1]


@given(*[hnp.arrays(bool, (3, 3, 7), elements=st.sampled_from([False, False, False, True]))] * 2)
@settings(deadline=None, max_examples=60)
def test_no_other_pairing_has_more_dice(prediction: np.ndarray, truth: np.ndarray) -> None:
    found = pair_scores(prediction, truth, ISO, SEG)
    total, pairs = by_search(prediction, truth)
    assert sum(lesion.dice for lesion in found.lesions) == pytest.approx(total, abs=1e-5)
    assert found.tp == pairs
    parts, wholes = (ndimage.label(side, np.ones((3, 3, 3)))[1] for side in (prediction, truth))
    assert (found.tp + found.fp, found.tp + found.fn) == (parts, wholes)
    assert len({lesion.matches for lesion in found.lesions if lesion.matches}) == found.tp


@pytest.mark.parametrize("profile", ["brats2025-seg", "brats2025-mets"])
@given(*[hnp.arrays(bool, (3, 4, 6), elements=st.sampled_from([False, False, True]))] * 2)
@settings(deadline=None, max_examples=30)
def test_prediction_and_truth_swap_precision_and_recall(
    profile: str, prediction: np.ndarray, truth: np.ndarray
) -> None:
    names = ("lesion_precision", "lesion_recall", "lesion_f1", "dice", "hd95", "nsd_0.5mm")
    ours = list(score(prediction, truth, (1, 2, 3), profile=profile, metrics=names).values())
    swapped = list(score(truth, prediction, (1, 2, 3), profile=profile, metrics=names).values())
    ours[0], ours[1] = ours[1], ours[0]
    assert ours == pytest.approx(swapped, nan_ok=True)


def test_whole_regions_without_overlap_have_the_penalty() -> None:
    apart = mask(cube(1)), mask(cube(20))
    found = score(*apart, ISO, profile="brats2025-seg", metrics=("dice", "hd95", "hd", "nsd_2mm"))
    assert list(found.values()) == [0.0, 373.0, 373.0, 0.0]
    # one step apart, but without a common voxel
    near = mask(cube(1)), mask(cube(4))
    assert score(*near, ISO, profile="brats2025-mets", metrics=("nsd_2mm",))["brats2025-mets/nsd_2mm"] == 0.0
    assert PROFILES["brats2019"].distance_mm.disjoint is None
