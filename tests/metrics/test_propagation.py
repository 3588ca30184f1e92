import math

import numpy as np
import pytest

from medsam_core.errors import MaskError
from medsam_core.metrics.propagation import half_life, slice_dice


def volume(*sizes: int) -> np.ndarray:
    """One row of `size` voxels in each slice."""
    mask = np.zeros((len(sizes), 1, 8), bool)
    for index, size in enumerate(sizes):
        mask[index, 0, :size] = True
    return mask


def test_dice_of_every_slice() -> None:
    profile = slice_dice(volume(4, 2, 0, 3, 0, 1), volume(4, 6, 5, 0, 0, 0))
    assert profile.dtype == np.float64
    assert profile[[0, 1, 2, 3, 5]].tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert math.isnan(profile[4])


def test_half_life_is_the_distance_to_the_first_slice_below_half() -> None:
    truth = volume(4, 4, 4, 4, 4, 4, 4)
    assert half_life(volume(4, 4, 4, 4, 4, 1, 4), truth, [2]) == 3
    assert half_life(volume(1, 4, 4, 4, 4, 1, 4), truth, [2]) == 2
    assert half_life(volume(4, 4, 1, 4, 4, 4, 4), truth, [2]) == 0


def test_the_nearest_prompt_counts() -> None:
    truth = volume(4, 4, 4, 4, 4, 4, 4)
    assert half_life(volume(4, 4, 4, 4, 4, 1, 4), truth, [0, 4]) == 1


def test_exactly_half_is_not_lost() -> None:
    assert half_life(volume(4, 2), volume(4, 6), [0]) == 2
    assert half_life(volume(4, 2), volume(4, 6), [0], threshold=0.6) == 1


def test_a_region_that_survives_lives_one_slice_longer_than_it_is() -> None:
    truth = volume(0, 4, 4, 4, 4, 0)
    assert half_life(truth, truth, [2]) == 3


def test_spilling_over_the_ends_is_no_loss() -> None:
    assert half_life(volume(4, 4, 4, 4), volume(0, 4, 4, 0), [1]) == 2


def test_without_prompt_or_truth_it_is_nan() -> None:
    truth = volume(4, 4)
    assert math.isnan(half_life(truth, truth, []))
    assert math.isnan(half_life(truth, volume(0, 0), [0]))


@pytest.mark.parametrize("key", [-1, 2])
def test_a_key_slice_outside_is_refused(key: int) -> None:
    with pytest.raises(MaskError) as error:
        half_life(volume(4, 4), volume(4, 4), [key])
    assert str(error.value) == f"key_slices: got {key}, expected 0 to 1; count slices of the whole volume."


def test_dice_by_slice_needs_three_axes() -> None:
    with pytest.raises(MaskError) as error:
        slice_dice(np.ones((3, 3), bool), np.ones((3, 3), bool))
    assert str(error.value) == ("prediction: shape (3, 3), expected (D, H, W); give whole volumes.")
