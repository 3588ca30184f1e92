"""How far a prompt propagates: Dice slice by slice, and the distance at which the region is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medsam_core.errors import MaskError
from medsam_core.metrics.masks import Mask, check_pair


def slice_dice(prediction: Mask, truth: Mask) -> NDArray[np.float64]:
    """Dice of every axial slice: (D,) float64 in [0, 1], NaN where the slice is empty in both masks.

    prediction, truth: (D, H, W) bool, same shape.
    Raises MaskError for masks that are not 3-D or otherwise unusable, ShapeMismatch for different shapes.
    """
    check_pair(prediction, truth)
    if prediction.ndim != 3:
        raise MaskError(f"prediction: shape {prediction.shape}, expected (D, H, W); give whole volumes.")
    axes = (1, 2)
    both = np.count_nonzero(prediction & truth, axis=axes)
    sizes = np.count_nonzero(prediction, axis=axes) + np.count_nonzero(truth, axis=axes)
    return np.divide(2.0 * both, sizes, out=np.full(len(sizes), math.nan), where=sizes > 0)


def half_life(prediction: Mask, truth: Mask, key_slices: Sequence[int], *, threshold: float = 0.5) -> float:
    """Slices from the nearest prompted slice to the first one with Dice below `threshold`; 0: the prompted one itself.

    prediction, truth: (D, H, W) bool, same shape.
    key_slices: the prompted slices, 0 to D − 1.
    Only slices of the truth count: a prediction beyond the truth's ends is overspill, not loss. If the region is never
    lost: one more than the distance to the farthest slice of the truth. NaN if nothing was prompted or the truth is
    empty. Raises MaskError for a key slice outside the volume and as `slice_dice`, ShapeMismatch for different shapes.
    """
    dice = slice_dice(prediction, truth)
    for key in key_slices:
        if not 0 <= key < len(dice):
            raise MaskError(f"key_slices: got {key}, expected 0 to {len(dice) - 1}; count slices of the whole volume.")
    occupied = np.flatnonzero(truth.any(axis=(1, 2)))
    if not len(key_slices) or not occupied.size:
        return math.nan
    # from each slice of the truth to its nearest prompted slice
    distances = np.abs(occupied[:, None] - np.asarray(key_slices)).min(axis=1)
    below = distances[dice[occupied] < threshold]
    return float(below.min() if below.size else distances.max() + 1)
