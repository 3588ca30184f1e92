"""Scores from four voxel counts: count once, then reduce.

    counts = count(prediction, truth)
    dice(counts), iou(counts), sensitivity(counts)

Every reducer returns NaN where its quotient is 0/0; the profile decides what an empty mask scores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsam_core.errors import MaskError
from medsam_core.metrics.masks import Labels, Mask, check_pair, check_same_shape


@dataclass(frozen=True)
class Counts:
    """The voxels of a prediction and its truth, counted."""

    tp: int
    """In both."""
    fp: int
    """In the prediction only."""
    fn: int
    """In the truth only."""
    tn: int
    """In neither."""

    @property
    def prediction(self) -> int:
        """Voxels in the prediction."""
        return self.tp + self.fp

    @property
    def truth(self) -> int:
        """Voxels in the truth."""
        return self.tp + self.fn


def count(prediction: Mask, truth: Mask) -> Counts:
    """Count the voxels of two masks.

    prediction, truth: (D, H, W) or (H, W) bool, same shape; both may be empty.
    Raises MaskError and ShapeMismatch (see masks.check_pair).
    """
    check_pair(prediction, truth)
    tp = int(np.count_nonzero(prediction & truth))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, prediction.size - tp - fp - fn)


def check_label_maps(prediction: Labels, truth: Labels) -> None:
    """Raise MaskError for label maps that are not uint8, ShapeMismatch for different shapes."""
    for name, labels in (("prediction", prediction), ("truth", truth)):
        if not isinstance(labels, np.ndarray) or labels.dtype != np.uint8:
            got = getattr(labels, "dtype", type(labels).__name__)
            raise MaskError(f"{name}: got {got}, expected labels as a uint8 array; read them with read_labels.")
    check_same_shape(prediction, truth)


def count_regions(prediction: Labels, truth: Labels, regions: Mapping[str, Collection[int]]) -> dict[str, Counts]:
    """Count every region of two label maps, from one joint histogram of their labels.

    prediction, truth: uint8 label maps of the same shape, any number of axes.
    regions: name -> label values, for instance {"WT": {1, 2, 4}, "ET": {4}}; values in no region count as background.
    Raises MaskError for another dtype, ShapeMismatch for different shapes.
    """
    check_label_maps(prediction, truth)
    table = joint_histogram(prediction, truth)
    total = int(table.sum())
    found = {}
    for name, values in regions.items():
        inside = sorted(value for value in values if 0 <= value < len(table))
        # the region's rows are the prediction, its columns the truth, and the block where they cross is both
        tp = int(table[np.ix_(inside, inside)].sum())
        fp = int(table[inside].sum()) - tp
        fn = int(table[:, inside].sum()) - tp
        found[name] = Counts(tp, fp, fn, total - tp - fp - fn)
    return found


_BLOCK = 1 << 18
"""Voxels counted at a time: this bounds the memory whatever the labels are, and fits into the cache."""


def joint_histogram(prediction: Labels, truth: Labels) -> NDArray[np.int64]:
    """Voxels by (label in the prediction, label in the truth): (n, n) int64, n the largest label + 1.

    prediction, truth: uint8 arrays of one shape, not checked here.
    """
    counts = np.zeros(1 << 16, np.int64)
    p, t = prediction.reshape(-1), truth.reshape(-1)
    for start in range(0, p.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        # flatnonzero of bool is several times faster than of bytes
        inside = np.flatnonzero((p[block] | t[block]) != 0)
        codes = (p[block][inside].astype(np.uint16) << 8) | t[block][inside]
        counts += np.bincount(codes, minlength=1 << 16)
    # most of a head is background in both: that pair is whatever was not counted
    counts[0] = prediction.size - counts.sum()
    table = counts.reshape(256, 256)
    size = int(np.flatnonzero(table.any(axis=0) | table.any(axis=1))[-1]) + 1
    return table[:size, :size]


def dice(counts: Counts) -> float:
    """Sørensen–Dice overlap, 2|P∩T| / (|P|+|T|), in [0, 1]; NaN when both masks are empty.

    Source: Dice 1945; BraTS (Menze et al. 2015).
    """
    return _ratio(2 * counts.tp, counts.prediction + counts.truth)


def iou(counts: Counts) -> float:
    """Intersection over union (Jaccard), |P∩T| / |P∪T|, in [0, 1]; NaN when both masks are empty."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def sensitivity(counts: Counts) -> float:
    """True-positive rate (recall), |P∩T| / |T|, in [0, 1]; NaN when the truth is empty."""
    return _ratio(counts.tp, counts.truth)


def specificity(counts: Counts) -> float:
    """True-negative rate over the whole array, in [0, 1]; NaN when the truth fills the array.

    It depends on how much background the array holds: never compare it between volumes that were cropped differently.
    """
    return _ratio(counts.tn, counts.tn + counts.fp)


def precision(counts: Counts) -> float:
    """Positive predictive value, |P∩T| / |P|, in [0, 1]; NaN when the prediction is empty."""
    return _ratio(counts.tp, counts.prediction)


def volumetric_similarity(counts: Counts) -> float:
    """1 − ||P|−|T|| / (|P|+|T|), in [0, 1]; NaN when both masks are empty.

    It compares only sizes: two disjoint masks of the same size score 1. Source: Taha & Hanbury 2015.
    """
    size = counts.prediction + counts.truth
    return _ratio(size - abs(counts.prediction - counts.truth), size)


def relative_volume_difference(counts: Counts) -> float:
    """(|P|−|T|) / |T|, from −1 upwards, above 0 for too much; NaN when the truth is empty."""
    return _ratio(counts.prediction - counts.truth, counts.truth)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
