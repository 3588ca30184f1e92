import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam_core.errors import MaskError, ShapeMismatch
from medsam_core.metrics.masks import bounding_box, check_mask, check_pair, check_spacing

MASK = np.zeros((2, 3, 4), bool)


def test_usable_masks_pass() -> None:
    check_mask(MASK, "prediction")
    flat = np.zeros((3, 4), bool)
    check_mask(flat, "prediction")
    check_pair(MASK, MASK)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        ([[True]], "prediction: got a list, expected a numpy array of bool; use numpy.asarray."),
        (
            np.full((2, 2, 2), np.nan),
            "prediction: dtype float64, expected bool; compare it first, as in logits > 0.",
        ),
        (
            np.zeros((2, 2), np.uint8),
            "prediction: dtype uint8, expected bool; compare it first, as in logits > 0.",
        ),
        (
            np.zeros((1, 2, 2, 2), bool),
            "prediction: shape (1, 2, 2, 2), expected 2 or 3 axes; score one slice or one volume at a time.",
        ),
        (
            np.zeros(3, bool),
            "prediction: shape (3,), expected 2 or 3 axes; score one slice or one volume at a time.",
        ),
        (
            np.zeros((0, 3, 3), bool),
            "prediction: shape (0, 3, 3) holds no voxel, expected at least one; check how it was cropped.",
        ),
    ],
)
def test_an_unusable_mask_is_refused_in_a_sentence(mask: np.ndarray, text: str) -> None:
    with pytest.raises(MaskError) as error:
        check_pair(mask, MASK)
    assert str(error.value) == text


def test_the_truth_is_checked_too() -> None:
    with pytest.raises(MaskError, match=r"^truth: dtype int64"):
        check_pair(MASK, MASK.astype(np.int64))


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ShapeMismatch) as error:
        check_pair(MASK, np.zeros((2, 3, 5), bool))
    assert str(error.value) == (
        "prediction: shape (2, 3, 4), expected that of the truth, (2, 3, 5); resample it to its grid."
    )


def test_spacing_is_returned_as_plain_floats() -> None:
    spacing = check_spacing(np.array([1, 2, 3], np.float32), 3)
    assert spacing == (1.0, 2.0, 3.0)
    assert {type(step) for step in spacing} == {float}


@pytest.mark.parametrize(
    ("spacing", "error", "text"),
    [
        (None, MaskError, "spacing_mm: got None, expected 3 numbers; give mm for each axis."),
        ("abc", MaskError, "spacing_mm: got 'abc', expected 3 numbers; give mm for each axis."),
        (
            (1, 1),
            ShapeMismatch,
            "spacing_mm: got (1.0, 1.0), expected 3 numbers; give mm for each axis of the mask.",
        ),
        (
            (1, 0, 1),
            MaskError,
            "spacing_mm: got (1.0, 0.0, 1.0), expected finite numbers above 0; check the affine of the image.",
        ),
        (
            (1, 1, -1),
            MaskError,
            "spacing_mm: got (1.0, 1.0, -1.0), expected finite numbers above 0; check the affine of the image.",
        ),
        (
            (float("nan"), 1, 1),
            MaskError,
            "spacing_mm: got (nan, 1.0, 1.0), expected finite numbers above 0; check the affine of the image.",
        ),
        (
            (float("inf"), 1, 1),
            MaskError,
            "spacing_mm: got (inf, 1.0, 1.0), expected finite numbers above 0; check the affine of the image.",
        ),
    ],
)
def test_an_unusable_spacing_is_refused_in_a_sentence(spacing: object, error: type, text: str) -> None:
    with pytest.raises(error) as raised:
        check_spacing(spacing, 3)  # type: ignore[arg-type]
    assert str(raised.value) == text


def test_bounding_box_holds_both_masks() -> None:
    one, other = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    one[2, 3, 4] = other[5, 1, 8] = True
    assert bounding_box(one, other) == (slice(2, 6), slice(1, 4), slice(4, 9))
    assert bounding_box(one) == (slice(2, 3), slice(3, 4), slice(4, 5))


def test_bounding_box_of_nothing_is_none() -> None:
    assert bounding_box(MASK, MASK) is None


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=st.sampled_from([0, 0, 0, 4]))
)
@settings(deadline=None)
def test_bounding_box_is_the_extent_of_the_voxels(labels: np.ndarray) -> None:
    at = np.argwhere(labels)
    wanted = tuple(slice(low, high + 1) for low, high in zip(at.min(0), at.max(0), strict=True)) if len(at) else None
    assert bounding_box(labels) == wanted
