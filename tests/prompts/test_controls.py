"""Controls by hand: what a box alone gives, and which side of a threshold is the object."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsam_core.prompts.controls import CONTROLS, filled_box, otsu_in_box, otsu_threshold, rectangle_of
from medsam_core.prompts.prompt import Prompt

SHAPE = (6, 12, 10)
BOX = Prompt("box", 2, (3.0, 4.0, 7.0, 9.0))  # 5 columns × 6 rows


@pytest.fixture
def truth():
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 4:10, 3:8] = True
    return mask


def disc_in_box(inside, outside):
    """A cross of `inside` that touches the box's border at the middle of its sides only."""
    image = np.full(SHAPE, outside, np.float32)
    image[:, 5:9, 4:7] = inside
    image[:, 4:10, 5] = inside
    image[:, 6:8, 3:8] = inside
    return image


@pytest.mark.parametrize(("protocol", "slices"), [("bidirectional", 6), ("forward", 4), ("slicewise", 1)])
def test_the_filled_box_is_on_every_slice_that_the_protocol_sees(truth, protocol, slices):
    window = filled_box(np.zeros(SHAPE), [BOX], truth, protocol)
    whole = window.whole(SHAPE)
    assert whole.sum() == slices * 30
    assert whole[2, 4:10, 3:8].all()
    assert np.flatnonzero(whole.any(axis=(1, 2))).tolist() == list(range(6))[6 - slices if slices > 1 else 2 :][:slices]


def test_several_prompts_give_the_union(truth):
    other = Prompt("box", 4, (0.0, 0.0, 1.0, 1.0))
    whole = filled_box(np.zeros(SHAPE), [BOX, other], truth, "slicewise").whole(SHAPE)
    assert whole.sum() == 30 + 4
    assert whole[2].sum() == 30
    assert whole[4, :2, :2].all()


@pytest.mark.parametrize(("inside", "outside"), [(9.0, 1.0), (1.0, 9.0)], ids=["bright", "dark"])
def test_otsu_takes_the_side_that_holds_less_of_the_border(truth, inside, outside):
    image = disc_in_box(inside, outside)
    whole = otsu_in_box(image, [BOX], truth, "slicewise").whole(SHAPE)
    assert (whole[2, 4:10, 3:8] == (image[2, 4:10, 3:8] == inside)).all()
    assert whole.sum() == whole[2].sum()


def test_otsu_of_equally_bordered_sides_takes_the_brighter(truth):
    image = np.zeros(SHAPE)
    image[:, 7:] = 1  # the lower half of the box
    whole = otsu_in_box(image, [BOX], truth, "slicewise").whole(SHAPE)
    assert whole[2].sum() == 15
    assert whole[2, 7:10, 3:8].all()


def test_the_threshold_is_the_key_slices_own(truth):
    image = disc_in_box(9.0, 1.0)
    image[3] = 100.0
    whole = otsu_in_box(image, [BOX], truth, "bidirectional").whole(SHAPE)
    assert whole[3].sum() == 30


def test_a_box_without_contrast_is_filled(truth):
    assert otsu_in_box(np.ones(SHAPE), [BOX], truth, "slicewise").mask.all()


def test_otsu_parts_two_levels():
    assert otsu_threshold(np.ones(5)) is None
    threshold = otsu_threshold(np.array([0.0, 0.0, 0.0, 10.0, 10.0]))
    assert 0 < threshold <= 10


@given(st.lists(st.integers(0, 256), min_size=3, max_size=40).filter(lambda values: len(set(values)) > 1))
def test_otsu_agrees_with_trying_every_threshold(values):
    """On whole numbers from 0 to 256 with both ends present, a bin is one wide, so that the histogram is exact."""
    array = np.array([0, 256, *values], float)
    threshold = otsu_threshold(array)

    def between(at):
        dark, bright = array[array < at], array[array >= at]
        return len(dark) * len(bright) * (dark.mean() - bright.mean()) ** 2

    centres = np.minimum(np.floor(array), 255)  # the last bin holds both of its ends
    array = centres + 0.5
    best = max(between(at) for at in range(1, 256))
    assert between(threshold) == pytest.approx(best, rel=1e-9)


def test_boxes_of_other_prompts(truth):
    mask = np.zeros(SHAPE[1:], bool)
    mask[1:3, 2:6] = True
    assert rectangle_of(Prompt("mask", 2, mask=mask), truth) == (slice(1, 3), slice(2, 6))
    assert rectangle_of(Prompt("point", 2, points=((5.0, 5.0),)), truth) == (slice(4, 10), slice(3, 8))
    assert rectangle_of(Prompt("point", 5, points=((5.0, 6.0),)), truth) == (slice(6, 7), slice(5, 6))
    assert rectangle_of(Prompt("box", 2, (0.4, 0.6, 8.6, 11.0)), truth) == (slice(1, 12), slice(0, 10))


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_a_control_is_never_empty(truth, control):
    rng = np.random.default_rng(0)
    for mode in (BOX, Prompt("point", 2, points=((5.0, 5.0),))):
        assert control(rng.normal(size=SHAPE), [mode], truth, "bidirectional").mask.any()


@pytest.mark.parametrize(("protocol", "start"), [("bidirectional", 0), ("forward", 1)])
@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_each_of_an_objects_prompts_has_the_slices_nearest_to_it(truth, control, protocol, start):
    def box(index, left):
        return Prompt("box", index, (left, 1.0, left + 1, 2.0), object_id=0)

    # slice 2 is as near to 1 as to 3: the lower prompt has it
    whole = control(np.ones(SHAPE), [box(4, 6.0), box(1, 0.0), box(3, 3.0)], truth, protocol).whole(SHAPE)
    left = [int(np.flatnonzero(plane.any(0))[0]) if plane.any() else None for plane in whole]
    assert left == [0, 0, 0, 3, 6, 6][:6] if start == 0 else left == [None, 0, 0, 3, 6, 6]
    assert whole.sum() == 4 * (6 - start)
