"""Hashes of voxels: what is the same image, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from medsam_core.doctor.fingerprints import SMALLEST_TRUTH, background_of, image_hash, truth_hash

IMAGE = np.random.default_rng(7).normal(size=(6, 7, 8)).astype(np.float32)
TRUTH = np.zeros((9, 9, 9), np.uint8)
TRUTH[2:7, 2:7, 2:7] = 2
TRUTH[3:5, 3:5, 3:5] = 4


@pytest.mark.parametrize("value", [0.0, -1.5])
def test_a_margin_of_background_makes_no_other_image(value):
    once, twice = (np.pad(IMAGE, width, constant_values=value) for width in (1, ((1, 4), (2, 2), (5, 1))))
    assert image_hash(once) == image_hash(twice)
    assert background_of(once) == value


def test_one_voxel_or_another_shape_makes_another_image():
    changed = IMAGE.copy()
    changed[3, 3, 3] += 0.5
    hashes = {image_hash(one) for one in (IMAGE, changed, IMAGE.reshape(7, 6, 8), IMAGE[::-1])}
    assert len(hashes) == 4


def test_an_image_that_fills_its_volume_has_no_background():
    assert background_of(IMAGE) is None
    assert background_of(np.zeros((1, 1, 1), np.float32)) == 0


def test_other_values_and_another_margin_make_no_other_truth():
    assert truth_hash(TRUTH) == truth_hash(np.where(TRUTH == 4, 3, TRUTH)[1:, :-1, 2:])
    assert truth_hash(TRUTH) != truth_hash(np.where(TRUTH == 4, 0, TRUTH))


def test_a_truth_that_is_too_small_to_be_recognised_has_no_hash():
    made = np.zeros(200, np.uint8)
    made[: SMALLEST_TRUTH - 1] = 1
    assert truth_hash(made.reshape(2, 10, 10)) is None
    made[SMALLEST_TRUTH - 1] = 1
    assert truth_hash(made.reshape(2, 10, 10)) is not None
    assert truth_hash(np.zeros((3, 3, 3), np.uint8)) is None
