"""Holes and components drawn by hand, and the wrapper."""

import numpy as np
import pytest

from medsam_core.errors import OptionError
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.postprocessing import PostProcessed, fill_holes, largest_component, steps_from
from tests.predictors.toys import BOX, BoxFiller, volume


def drawn(*slices):
    """(D, H, W) bool; # is the mask."""
    return np.array([[[mark == "#" for mark in row] for row in one.split()] for one in slices])


RING = "####### #.....# #.###.# #.#.#.# #.###.# #.....# #######"  # a hole of 1 within a hole of 16


@pytest.mark.parametrize(
    ("area", "filled"),
    [
        (1, "####### #.....# #.###.# #.###.# #.###.# #.....# #######"),
        (15, "####### #.....# #.###.# #.###.# #.###.# #.....# #######"),
        (16, "####### ####### ####### ####### ####### ####### #######"),
    ],
)
def test_holes_up_to_the_area_are_filled(area, filled):
    assert np.array_equal(fill_holes(drawn(RING), area), drawn(filled))


def test_background_that_touches_at_a_corner_is_one_hole():
    mask = drawn("##### #.### ##.## #####")
    assert np.array_equal(fill_holes(mask, 1), mask)
    assert fill_holes(mask, 2).all()


def test_each_slice_has_its_own_holes():
    hole = "##### #...# #...# #####"
    mask = drawn(hole, hole)  # 6 in each slice, 12 through the volume
    assert fill_holes(mask, 6).all()
    assert not fill_holes(mask, 5).all()


def test_an_empty_slice_stays_empty_however_small():
    mask = drawn(".. ..", "## ##")
    assert np.array_equal(fill_holes(mask), mask)


def test_the_mask_that_is_given_is_left_alone():
    mask = drawn(RING)
    before = mask.copy()
    for result in (fill_holes(mask), largest_component(mask)):
        assert not np.shares_memory(result, mask)
    assert np.array_equal(mask, before)


def test_the_largest_component_is_kept():
    mask = drawn("##... ..... ....#", "#.... ..... ...##")
    assert np.array_equal(largest_component(mask), drawn("##... ..... .....", "#.... ..... ....."))


def test_components_touch_at_corners_between_slices():
    mask = drawn("#... ....", ".... .#.#")
    assert np.array_equal(largest_component(mask), drawn("#... ....", ".... .#.."))


def test_of_equal_components_the_first_is_kept():
    assert np.array_equal(largest_component(drawn("#.#")), drawn("#.."))


def test_an_empty_mask_stays_empty():
    assert not largest_component(np.zeros((2, 3, 4), bool)).any()


class TwoBlobs(BoxFiller):
    """A box with a hole of one voxel, and a voxel far from it."""

    def one(self, shape, prompt, protocol):
        prediction = super().one(shape, prompt, protocol)
        prediction.mask[2, 4, 2] = False
        prediction.mask[2, -1, -1] = True
        return prediction


def predicted(text):
    predictor = Checked(PostProcessed(TwoBlobs(), text))
    (prediction,) = predictor.predict(predictor.encode(volume()), [BOX], protocol="slicewise")
    return predictor.identity, prediction


@pytest.mark.parametrize(
    ("text", "name", "voxels"),
    [
        ("", "box-filler", 16),
        ("fill-holes", "box-filler+fill-holes:8", 17),
        ("largest-component", "box-filler+largest-component", 15),
        (" fill-holes:3, largest-component", "box-filler+fill-holes:3+largest-component", 16),
    ],
)
def test_steps_change_the_mask_and_the_name_and_nothing_else(text, name, voxels):
    identity, prediction = predicted(text)
    assert identity.name == name
    assert identity.sha256 == TwoBlobs.identity.sha256
    assert prediction.mask.sum() == voxels
    assert (prediction.predicted_iou == 0.5).all()


def test_steps_are_applied_in_order():
    mask = drawn("###..### #.#..### ###..###")  # 8 and a hole, 9
    first, second = steps_from("fill-holes:1,largest-component")
    assert np.array_equal(second.apply(first.apply(mask)), drawn("###..... ###..... ###....."))
    assert np.array_equal(first.apply(second.apply(mask)), drawn(".....### .....### .....###"))


@pytest.mark.parametrize("text", ["fill", "fill-holes:", "fill-holes:0", "fill-holes:-1", "fill-holes:2.5", "a,", ","])
def test_an_unknown_step_is_one_sentence(text):
    with pytest.raises(OptionError, match=r"^post-processing: got '.*', expected fill-holes, fill-holes:AREA"):
        steps_from(text)


def test_largest_component_takes_no_number():
    with pytest.raises(OptionError, match="got 'largest-component:2'"):
        steps_from("largest-component:2")
