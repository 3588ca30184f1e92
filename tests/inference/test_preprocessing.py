import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from medsam_core.errors import DataError
from medsam_core.inference.preprocessing import (
    background_of,
    normalisation_table,
    resize_slices,
    to_uint8,
)


def test_foreground_percentiles_by_hand():
    # 0.5 % and 99.5 % of 1..1001 are exactly at places 5 and 995, which hold 6 and 996
    volume = np.zeros((3, 40, 30))
    volume[1].flat[:1001] = np.arange(1, 1002)
    pixels = to_uint8(volume)
    assert pixels.dtype == np.uint8
    expected = np.clip((np.arange(1, 1002) - 6) / 990 * 255, 0, 255).astype(np.uint8)
    assert np.array_equal(pixels[1].flat[:1001], expected)
    assert not pixels[0].any()
    assert not pixels[2].any()


@pytest.mark.parametrize("constant", [-1000.0, -0.75, 12.0])
def test_another_constant_in_the_background_changes_nothing(constant, make_volume):
    volume = make_volume((5, 30, 30))
    moved = np.where(volume == 0, constant, volume + 50 if constant > 0 else volume)
    assert background_of(moved) == constant
    expected = to_uint8(volume)
    found = to_uint8(moved)
    assert not found[volume == 0].any()
    assert np.abs(found.astype(int) - expected).max() <= 1, "but for rounding"


def test_a_volume_that_fills_its_frame_has_background_zero():
    volume = np.random.default_rng(0).normal(size=(4, 9, 9))
    assert background_of(volume) == 0
    assert to_uint8(volume).max() == 255


def test_a_binary_image_is_black_and_white():
    volume = np.zeros((3, 8, 8))
    volume[1, 2:5, 2:5] = 7
    assert np.unique(to_uint8(volume)).tolist() == [0, 255]
    assert np.array_equal(to_uint8(volume) > 0, volume > 0)


finite = npst.arrays(
    np.float32, st.tuples(*[st.integers(1, 5)] * 3), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)


@given(finite)
def test_any_finite_volume_gives_pixels_or_a_sentence(volume):
    if volume.min() == volume.max():
        with pytest.raises(DataError, match="in every voxel, expected contrast"):
            to_uint8(volume)
    else:
        assert to_uint8(volume).shape == volume.shape


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.zeros((4, 4)), r"got shape \(4, 4\), expected \(D, H, W\)"),
        (np.zeros((0, 4, 4)), r"got shape \(0, 4, 4\)"),
        (np.array([[[1.0, np.nan], [np.inf, 0]]]), "got 2 voxels that are NaN or infinite"),
        (np.full((2, 2, 2), 3.0), r"got 3\.0 in every voxel"),
    ],
)
def test_unusable_volumes(voxels, said):
    with pytest.raises(DataError, match=said):
        to_uint8(voxels)


def test_slices_are_resized_as_rgb_by_pillows_default():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 30), dtype=np.uint8)
    expected = [np.array(Image.fromarray(one).convert("RGB").resize((48, 48))) for one in pixels]
    found = resize_slices(list(pixels), 48)
    assert np.array_equal(np.repeat(found[..., None], 3, -1), np.stack(expected))


def test_the_table_is_imagenets_mean_and_deviation():
    table = normalisation_table()
    assert table.shape == (3, 256)
    np.testing.assert_allclose(table[:, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)
    np.testing.assert_allclose(table[:, 255], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-6)
