"""What a region's cases share is what each of them would find for itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from medsam_core.metrics.numbering import count_components
from medsam_core.prompts.geometry import depth
from medsam_core.prompts.prompt import MODES
from medsam_core.prompts.simulation import simulate
from medsam_core.prompts.truth import Truth, slice_areas

masks = npst.arrays(bool, st.tuples(*[st.integers(1, 6)] * 3), elements=st.booleans())


@given(masks)
def test_every_part_is_that_of_the_mask(mask):
    truth = Truth(mask)
    assert slice_areas(mask).tolist() == truth.areas.tolist() == [int(plane.sum()) for plane in mask]
    assert truth.slices.tolist() == [index for index, plane in enumerate(mask) if plane.any()]
    assert truth.components[1] == count_components(mask)
    outside = mask.copy()
    if truth.box is None:
        assert not mask.any()
    else:
        outside[truth.box] = False
        assert not outside.any()
        assert all(mask[truth.box].take(end, axis).any() for axis in range(3) for end in (0, -1))


def test_labels_count_where_they_are_not_zero():
    labels = np.array([[[0, 2], [0, 4]]], np.uint8)
    assert Truth(labels).mask.tolist() == [[[False, True], [False, True]]]
    truth = Truth(labels)
    assert Truth.of(truth) is truth


@given(masks, st.sampled_from(MODES), st.booleans())
def test_prompts_do_not_depend_on_what_was_asked_before(mask, mode, per_component):
    shared = Truth(mask)
    for other in MODES:
        simulate(shared, other, key="S/t1ce/WT", per_component=True, min_component_voxels=2)
    asked = {"key": "S/t1ce/WT", "jitter_voxels": 1.0, "per_component": per_component, "min_component_voxels": 2}
    assert simulate(shared, mode, **asked) == simulate(mask, mode, **asked)


@given(npst.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.booleans()))
def test_the_depth_is_the_distance_to_the_nearest_voxel_outside_wherever_the_region_is(region):
    inside = np.pad(region, 1)
    expected = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    assert np.array_equal(depth(region), expected)


def test_the_depth_by_hand():
    region = np.zeros((7, 9), bool)
    region[2:7, 3:8] = True  # touches the lower border of the image, beyond which is outside
    expected = [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 2, 3, 2, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]
    assert depth(region)[2:7, 3:8].tolist() == expected
    assert not depth(region)[:2].any()
