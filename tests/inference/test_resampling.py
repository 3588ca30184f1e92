"""The device's resize against Pillow's, which MedSAM2 uses."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medsam_core.inference.preprocessing import resize_slices
from medsam_core.inference.resampling import resampling, weights

CPU = torch.device("cpu")


@pytest.mark.parametrize(("shape", "size"), [((240, 240), 512), ((240, 240), 192), ((155, 240), 96), ((64, 48), 64)])
def test_every_pixel_is_pillows(shape, size):
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    images[1, : shape[0] // 2] = 255  # an edge, next to which a cubic overshoots and is clipped
    images[1, shape[0] // 2 :] = 0
    found = resampling(shape, size, CPU)(torch.from_numpy(images))
    assert np.array_equal(found.numpy(), resize_slices(list(images), size))


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 60), st.integers(0, 2**32 - 1))
@example((36, 17), 2, 1)  # four pixels that were the same in both orders chose the wrong one
def test_every_pixel_is_pillows_at_any_size(shape, size, seed):
    images = np.random.default_rng(seed).integers(0, 256, (1, *shape), dtype=np.uint8)
    found = resampling(shape, size, CPU)(torch.from_numpy(images))
    assert np.array_equal(found.numpy(), resize_slices(list(images), size))


def test_another_resize_than_pillows_is_noticed(monkeypatch):
    monkeypatch.setattr("medsam_core.inference.resampling._A", -0.75)
    assert resampling((30, 31), 17, CPU) is None


def test_a_lines_weights_are_worked_out():
    # 2 pixels to 4: the first of the four is a quarter left of the first pixel's centre; of the cubic's four places
    # two are outside, and the two inside, w(0.25) = 0.8671875 and w(1.25) = -0.0703125, are brought to a sum of 1
    inside = np.array([0.8671875, -0.0703125])
    assert weights(2, 4)[0].tolist() == np.round(inside / inside.sum() * 2**22).astype(int).tolist()
