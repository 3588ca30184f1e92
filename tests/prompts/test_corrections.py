"""Where the next click is: worked out by hand on small volumes, and by brute force on random ones."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from medsam_core.errors import OptionError, PromptError
from medsam_core.prompts.corrections import Correction, next_correction
from medsam_core.prompts.truth import Truth

SHAPE = (7, 12, 14)


def filled(*boxes):
    """(D, H, W) bool: boxes of ((z0, z1), (y0, y1), (x0, x1)), the last ones exclusive."""
    mask = np.zeros(SHAPE, bool)
    for (z0, z1), (y0, y1), (x0, x1) in boxes:
        mask[z0:z1, y0:y1, x0:x1] = True
    return mask


EMPTY = filled()
CUBE = ((1, 4), (2, 5), (6, 9))
"""3 × 3 × 3 voxels with the middle (2, 3, 7)."""


def test_a_lacking_cube_gets_a_positive_click_in_its_middle():
    assert next_correction(EMPTY, filled(CUBE)) == Correction(2, ((7.0, 3.0),), (1,))


def test_a_cube_too_much_gets_a_negative_click_in_its_middle():
    assert next_correction(filled(CUBE), EMPTY) == Correction(2, ((7.0, 3.0),), (0,))


def test_nothing_wrong_is_no_click():
    assert next_correction(EMPTY, EMPTY) is None
    assert next_correction(filled(CUBE), filled(CUBE)) is None


def test_the_larger_of_two_mistakes_is_clicked_whatever_its_kind():
    small, large = ((0, 2), (0, 2), (0, 2)), ((4, 7), (8, 11), (3, 6))
    assert next_correction(filled(small), filled(large)) == Correction(5, ((4.0, 9.0),), (1,))
    assert next_correction(filled(large), filled(small)) == Correction(5, ((4.0, 9.0),), (0,))


def test_what_lacks_and_what_is_too_much_are_one_component_where_they_touch():
    """A part that is moved by its own width: each half alone is smaller than the mistake elsewhere."""
    elsewhere = ((0, 3), (1, 5), (8, 11))
    truth = filled(((4, 7), (5, 8), (2, 5)), elsewhere)
    moved = filled(((4, 7), (5, 8), (5, 8)))
    # 3 × 3 × 6 voxels; of the four equally deep ones the first in row order, which the mask lacks
    assert next_correction(moved, truth) == Correction(5, ((3.0, 6.0),), (1,))
    assert next_correction(moved[:4], truth[:4]).key_slice == 1, "the mistake elsewhere is the next one"


def test_corners_connect():
    diagonal, block = EMPTY.copy(), filled(((5, 7), (8, 10), (10, 11)))
    for step in range(5):
        diagonal[step, step, step] = True
    assert diagonal.sum() > block.sum()
    assert next_correction(EMPTY, diagonal | block).key_slice == 0


def test_of_equal_components_and_of_equally_deep_voxels_the_first_in_row_order():
    two = filled(((3, 4), (2, 4), (9, 11)), ((3, 4), (2, 4), (1, 3)))
    assert next_correction(EMPTY, two) == Correction(3, ((1.0, 2.0),), (1,))


def test_beyond_the_volume_is_outside():
    """A slab on the first slices: its deepest layer is the second of three, not the first."""
    slab = filled(((0, 3), (0, 12), (0, 14)))
    assert next_correction(EMPTY, slab) == Correction(1, ((1.0, 1.0),), (1,))


def test_mistakes_on_slices_that_are_not_reached_are_ignored():
    truth = filled(((0, 3), (2, 9), (2, 9)), ((5, 6), (4, 7), (4, 7)))
    assert next_correction(EMPTY, truth).key_slice == 1
    # one slice thick, so all its voxels are equally deep in the volume
    assert next_correction(EMPTY, truth, slices=range(3, 7)) == Correction(5, ((4.0, 4.0),), (1,))
    assert next_correction(EMPTY, truth, "slice", slices=range(3, 7)) == Correction(5, ((5.0, 5.0),), (1,))
    assert next_correction(EMPTY, truth, slices=range(6, 7)) is None


def test_the_worst_slice_gets_one_click_of_each_kind():
    truth, prediction = filled(((2, 5), (2, 5), (2, 5))), filled(((2, 4), (6, 11), (6, 11)))
    assert next_correction(prediction, truth, "slice") == Correction(2, ((3.0, 3.0), (8.0, 8.0)), (1, 0))
    assert next_correction(EMPTY, truth, "slice") == Correction(2, ((3.0, 3.0),), (1,))
    assert next_correction(truth, EMPTY, "slice") == Correction(2, ((3.0, 3.0),), (0,))


def test_a_truth_serves_as_the_mask_does():
    assert next_correction(EMPTY, Truth(filled(CUBE))) == next_correction(EMPTY, filled(CUBE))


def brute_force(prediction, truth):
    """The rule from its words, voxel by voxel."""
    wrong = {tuple(at) for at in np.argwhere(prediction != truth).tolist()}
    components, left = [], sorted(wrong)
    while left:
        component, todo = set(), [left[0]]
        while todo:
            at = todo.pop()
            if at in component:
                continue
            component.add(at)
            steps = itertools.product((-1, 0, 1), repeat=3)
            todo += [to for step in steps if (to := tuple(np.add(at, step).tolist())) in wrong - component]
        components.append(component)
        left = [at for at in left if at not in component]
    if not components:
        return None
    largest = max(components, key=len)
    depth, height, width = prediction.shape
    around = itertools.product(range(-1, depth + 1), range(-1, height + 1), range(-1, width + 1))
    outside = np.array([at for at in around if at not in largest])
    distance = {at: ((outside - at) ** 2).sum(1).min() for at in sorted(largest)}
    z, y, x = max(distance, key=distance.__getitem__)
    return Correction(z, ((float(x), float(y)),), (int(truth[z, y, x]),))


@settings(max_examples=150, deadline=None)
@given(masks=arrays(bool, (2, 3, 4, 5)))
def test_the_rule_of_the_challenge_by_brute_force(masks):
    assert next_correction(*masks) == brute_force(*masks)


def test_the_rule_by_brute_force_on_smooth_masks():
    grid = np.indices((6, 7, 8))
    for seed in range(12):
        rng = np.random.default_rng(seed)
        centres, radii = rng.uniform(1, 6, (2, 3)), rng.uniform(1.5, 3.5, 2)
        masks = [
            ((grid - centre[:, None, None, None]) ** 2).sum(0) <= radius**2
            for centre, radius in zip(centres, radii, strict=True)
        ]
        assert next_correction(*masks) == brute_force(*masks)


def test_an_unknown_rule_is_refused():
    message = "rule of corrections: got 'random', expected one of volume, slice; choose one of them."
    with pytest.raises(OptionError, match=re.escape(message)):
        next_correction(EMPTY, EMPTY, "random")


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(PromptError, match=r"got a mask of shape \(6, 12, 14\) for a truth of \(7, 12, 14\)"):
        next_correction(EMPTY[1:], EMPTY)


@pytest.mark.parametrize(
    "fields", [(3, (), ()), (3, ((1.0, 2.0),), (2,)), (3, ((1.0, 2.0),), ()), (-1, ((1.0, 2.0),), (1,))]
)
def test_a_correction_that_does_not_fit_together_is_refused(fields):
    with pytest.raises(PromptError, match="at least one finite"):
        Correction(*fields)


def test_a_correction_in_json():
    stored = {"key_slice": 4, "points": [[7.0, 3.0]], "point_labels": [0]}
    assert Correction(np.int64(4), ((7.0, 3.0),), (0,)).to_json() == stored
