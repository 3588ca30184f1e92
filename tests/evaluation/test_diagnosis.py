"""A failed case explains itself: a typical case for each label, and one label for any pair of masks."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsam_core.errors import ShapeMismatch
from medsam_core.evaluation.diagnosis import LABELS, explain
from medsam_core.prompts.prompt import Prompt

SHAPE = (30, 40, 40)
KEY = 15


def block(slices: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """(D, H, W) bool, True from the first to before the last of each."""
    mask = np.zeros(SHAPE, bool)
    mask[slice(*slices), slice(*rows), slice(*columns)] = True
    return mask


EMPTY = np.zeros(SHAPE, bool)
TRUTH = block((5, 25), (10, 20), (10, 20))  # 20 slices of 100 voxels
BOX = Prompt("box", KEY, box=(10.0, 10.0, 19.0, 19.0))
POINT = Prompt("point", KEY, points=((14.0, 14.0),))


def test_equal_masks() -> None:
    assert explain(TRUTH, TRUTH.copy(), (BOX,)) == ("no difference", "prediction and truth are equal in every voxel")
    assert explain(EMPTY, EMPTY)[0] == "no difference"


def test_an_absent_region() -> None:
    sentence = "the truth has no such region, 100 voxels predicted on slice 3"
    assert explain(block((3, 4), (10, 20), (10, 20)), EMPTY) == ("absent region", sentence)


def test_an_empty_mask() -> None:
    sentence = "nothing predicted, the truth has 2,000 voxels on slices 5–24"
    assert explain(EMPTY, TRUTH, (BOX,)) == ("empty mask", sentence)


@pytest.mark.parametrize("prompt", [BOX, POINT, Prompt("mask", KEY, mask=TRUTH[KEY])])
def test_a_wrong_object(prompt: Prompt) -> None:
    elsewhere = block((5, 25), (25, 35), (25, 35))
    assert explain(elsewhere, TRUTH, (prompt,)) == (
        "wrong object",
        "the prediction does not touch the prompt on key slice 15",
    )


def test_a_mask_only_on_other_slices_is_a_wrong_object() -> None:
    elsewhere = block((0, 10), (10, 20), (10, 20))
    assert explain(elsewhere, TRUTH, (BOX,)) == (
        "wrong object",
        "nothing predicted on key slice 15, but 1,000 voxels on slices 0–9",
    )


def test_a_mask_in_the_box_but_not_in_the_truth_is_a_wrong_object() -> None:
    truth = TRUTH.copy()
    truth[:, 10:14, 10:14] = False
    label, sentence = explain(block((14, 17), (10, 14), (10, 14)), truth, (BOX,))
    assert (label, sentence) == ("wrong object", "none of the 48 voxels predicted on slices 14–16 is in the truth")


def test_a_click_on_the_background_does_not_make_an_object_the_right_one() -> None:
    prompt = Prompt("point", KEY, points=((14.0, 14.0), (30.0, 30.0)), point_labels=(1, 0))
    assert explain(block((5, 25), (25, 35), (25, 35)), TRUTH, (prompt,))[0] == "wrong object"


def test_a_mask_two_voxels_from_the_click_is_not_a_wrong_object() -> None:
    assert explain(block((5, 25), (10, 20), (16, 20)), TRUTH, (POINT,))[0] != "wrong object"
    assert explain(block((5, 25), (10, 20), (17, 20)), TRUTH, (POINT,))[0] == "wrong object"


def test_a_leak() -> None:
    prediction = TRUTH | block((12, 14), (10, 20), (20, 40))  # 400 voxels, those from column 23 beyond 3 mm: 340
    assert explain(prediction, TRUTH, (BOX,)) == (
        "leak",
        "340 voxels, 17 % of the truth's size, are more than 3 mm outside it, most of them on slice 12",
    )


def test_specks_are_no_leak() -> None:
    prediction = TRUTH | block((12, 13), (30, 33), (30, 33))
    prediction[:, 10, :] = False
    assert explain(prediction, TRUTH, (BOX,))[0] == "boundary only"


def test_an_early_stop() -> None:
    prediction = TRUTH.copy()
    prediction[19:] = False
    assert explain(prediction, TRUTH, (BOX,)) == (
        "early stop",
        "6 slices at the truth's end are lost (19–24), 30 % of its voxels; half-life 4 slices",
    )


def test_an_early_stop_on_both_sides() -> None:
    prediction = TRUTH.copy()
    prediction[19:] = prediction[:9] = False
    label, sentence = explain(prediction, TRUTH, (BOX,))
    assert label == "early stop"
    assert "10 slices at the truth's end are lost (5–8, 19–24)" in sentence
    assert sentence.endswith("half-life 4 slices")  # on the side that is lost first


def test_a_lost_tip_is_no_early_stop() -> None:
    prediction = TRUTH.copy()
    prediction[23:] = False  # 2 of the 9 slices above the key slice
    assert explain(prediction, TRUTH, (BOX,))[0] == "boundary only"


def test_a_missed_focus() -> None:
    truth = TRUTH | block((10, 20), (30, 36), (30, 36)) | block((3, 5), (0, 2), (0, 2))
    prediction = TRUTH.copy()
    prediction[:, 10, 10] = False
    assert explain(prediction, truth, (BOX,)) == (
        "multifocal miss",
        "2 of 3 components of the truth are not touched, 16 % of its voxels",  # 368 of 2368
    )


def test_a_missed_part() -> None:
    prediction = TRUTH.copy()
    prediction[:, :, 12:] = False  # columns 12 to 19 of 10 to 19, those from 15 beyond 3 mm
    assert explain(prediction, TRUTH, (BOX,)) == (
        "part missed",
        "50 % of the truth is missed more than 3 mm from what was found, on slices 5–24",
    )


def test_only_the_boundary() -> None:
    prediction = block((5, 25), (12, 20), (10, 21))  # two rows missed: 400, one column too many: 160
    assert explain(prediction, TRUTH, (BOX,)) == (
        "boundary only",
        "100 % of the wrong voxels are within 3 mm of the boundary, 20 % of the truth is missed and the overspill is "
        "8 % of it",
    )


def test_spacing_decides_what_is_boundary() -> None:
    prediction = TRUTH | block((25, 28), (10, 20), (10, 20))
    assert explain(prediction, TRUTH, (BOX,))[0] == "boundary only"
    assert explain(prediction, TRUTH, (BOX,), spacing_mm=(5.0, 1.0, 1.0))[0] == "leak"


def test_a_slicewise_case_has_no_early_stop() -> None:
    prompts = tuple(Prompt("box", k, box=BOX.box) for k in range(5, 25))
    prediction = TRUTH.copy()
    prediction[19:] = False
    assert explain(prediction, TRUTH, prompts)[0] == "part missed"


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match=r"prediction: shape \(29, 40, 40\), expected \(30, 40, 40\)"):
        explain(TRUTH[1:], TRUTH)


masks = arrays.arrays(bool, (4, 6, 7))


@settings(max_examples=60, deadline=None)
@given(masks, masks, st.integers(0, 3), st.booleans())
def test_every_pair_of_masks_has_one_label_always_the_same(
    prediction: np.ndarray, truth: np.ndarray, key: int, prompted: bool
) -> None:
    prompts = (Prompt("box+point", key, box=(1.0, 1.0, 5.0, 4.0), points=((3.0, 2.0),)),) if prompted else ()
    label, sentence = explain(prediction, truth, prompts)
    assert label in LABELS
    assert sentence
    assert not sentence.endswith(".")
    assert "\n" not in sentence
    assert explain(prediction.copy(), truth.copy(), prompts) == (label, sentence)
