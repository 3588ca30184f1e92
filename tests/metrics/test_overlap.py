import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam_core.errors import MaskError, ShapeMismatch
from medsam_core.metrics import overlap
from medsam_core.metrics.overlap import Counts, count, count_regions, joint_histogram

HALF = Counts(tp=3, fp=1, fn=2, tn=4)
BRATS = {"WT": {1, 2, 4}, "TC": {1, 4}, "ET": {4}}

counts = st.builds(Counts, *[st.integers(0, 50)] * 4)
labels = hnp.arrays(np.uint8, (3, 4, 5), elements=st.sampled_from([0, 1, 2, 4, 255]))


def test_count_separates_the_four_kinds_of_voxels() -> None:
    prediction = np.array([[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]], bool)
    truth = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 0, 0]], bool)
    found = count(prediction, truth)
    assert found == HALF
    assert (found.prediction, found.truth) == (4, 5)
    assert {type(value) for value in vars(found).values()} == {int}


def test_count_refuses_an_array_that_is_no_mask() -> None:
    with pytest.raises(MaskError):
        count(np.zeros((2, 2)), np.zeros((2, 2), bool))


@pytest.mark.parametrize(
    ("reducer", "value"),
    [
        (overlap.dice, 6 / 9),
        (overlap.iou, 3 / 6),
        (overlap.sensitivity, 3 / 5),
        (overlap.specificity, 4 / 5),
        (overlap.precision, 3 / 4),
        (overlap.volumetric_similarity, 1 - 1 / 9),
        (overlap.relative_volume_difference, -1 / 5),
    ],
)
def test_reducers_by_hand(reducer: object, value: float) -> None:
    assert reducer(HALF) == pytest.approx(value, abs=1e-15)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("reducer", "counts"),
    [
        (overlap.dice, Counts(0, 0, 0, 9)),
        (overlap.iou, Counts(0, 0, 0, 9)),
        (overlap.sensitivity, Counts(0, 2, 0, 9)),
        (overlap.specificity, Counts(9, 0, 2, 0)),
        (overlap.precision, Counts(0, 0, 2, 9)),
        (overlap.volumetric_similarity, Counts(0, 0, 0, 9)),
        (overlap.relative_volume_difference, Counts(0, 2, 0, 9)),
    ],
)
def test_reducers_are_nan_where_their_quotient_is(reducer: object, counts: Counts) -> None:
    assert math.isnan(reducer(counts))  # type: ignore[operator]


def test_a_larger_prediction_has_a_relative_difference_above_0() -> None:
    assert overlap.relative_volume_difference(Counts(tp=1, fp=2, fn=0, tn=0)) == 2.0


@given(counts)
@settings(deadline=None)
def test_dice_follows_from_iou(some: Counts) -> None:
    dice, iou = overlap.dice(some), overlap.iou(some)
    assert dice == pytest.approx(2 * iou / (1 + iou), nan_ok=True)


@given(counts)
@settings(deadline=None)
def test_swapping_the_masks_swaps_sensitivity_and_precision(some: Counts) -> None:
    swapped = Counts(some.tp, some.fn, some.fp, some.tn)
    assert overlap.sensitivity(some) == pytest.approx(overlap.precision(swapped), nan_ok=True)
    assert overlap.dice(some) == pytest.approx(overlap.dice(swapped), nan_ok=True)
    assert overlap.volumetric_similarity(some) == pytest.approx(overlap.volumetric_similarity(swapped), nan_ok=True)


@given(labels, labels)
@settings(deadline=None)
def test_one_histogram_counts_every_region_as_masks_do(prediction: np.ndarray, truth: np.ndarray) -> None:
    found = count_regions(prediction, truth, BRATS)
    assert list(found) == ["WT", "TC", "ET"]
    for name, values in BRATS.items():
        assert found[name] == count(np.isin(prediction, list(values)), np.isin(truth, list(values)))


def test_labels_that_no_map_holds_count_nothing() -> None:
    zeros = np.zeros((2, 2), np.uint8)
    assert count_regions(zeros, zeros, BRATS)["ET"] == Counts(0, 0, 0, 4)
    assert count_regions(zeros, zeros, {"all": {-1, 300}})["all"] == Counts(0, 0, 0, 4)


def test_background_may_be_a_region() -> None:
    prediction, truth = np.array([[0, 0, 2]], np.uint8), np.array([[0, 1, 1]], np.uint8)
    assert count_regions(prediction, truth, {"background": {0}})["background"] == Counts(tp=1, fp=1, fn=0, tn=1)


def test_histogram_is_as_small_as_the_labels_allow() -> None:
    prediction, truth = np.array([[0, 1, 2]], np.uint8), np.array([[0, 1, 1]], np.uint8)
    assert joint_histogram(prediction, truth).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert joint_histogram(truth[:, :1], truth[:, :1]).tolist() == [[1]]
    assert joint_histogram(prediction, truth).dtype == np.int64


def test_histogram_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    prediction, truth = random.integers(0, 5, (2, 6, 7, 8)).astype(np.uint8)
    whole = joint_histogram(prediction, truth)
    assert whole.sum() == 6 * 7 * 8
    monkeypatch.setattr(overlap, "_BLOCK", 50)
    assert joint_histogram(prediction, truth).tolist() == whole.tolist()


def test_label_maps_must_be_uint8_of_one_shape() -> None:
    zeros = np.zeros((2, 2), np.uint8)
    with pytest.raises(MaskError) as error:
        count_regions(zeros, zeros.astype(np.float32), BRATS)
    assert str(error.value) == ("truth: got float32, expected labels as a uint8 array; read them with read_labels.")
    with pytest.raises(MaskError, match=r"^prediction: got list, "):
        count_regions([[0]], zeros, BRATS)  # type: ignore[arg-type]
    with pytest.raises(ShapeMismatch) as mismatch:
        count_regions(zeros, zeros[:1], BRATS)
    assert str(mismatch.value) == (
        "prediction: shape (2, 2), expected that of the truth, (1, 2); resample it to its grid."
    )
