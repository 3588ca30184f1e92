"""Does the model know how good it is? SAM's own predicted IoU of each slice against the real one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsam_core.errors import MaskError, ShapeMismatch
from medsam_core.metrics.masks import Mask, check_pair


@dataclass(frozen=True)
class IouCalibration:
    """Predicted against real IoU over slices. NaN where there are too few slices.

    slices: how many were compared. bias: mean of predicted − real, above 0 for an overconfident model.
    mean_absolute_error: mean of |predicted − real|, in [0, 1] for predictions in [0, 1].
    expected_error: slices sorted into ten equal bins by predicted IoU, the mean over slices of
        |mean predicted − mean real| of the slice's bin (ECE, Naeini et al. 2015).
    correlation: Pearson's, NaN for fewer than two slices or where either side is constant.
    """

    slices: int
    bias: float
    mean_absolute_error: float
    expected_error: float
    correlation: float


def slice_iou(prediction: Mask, truth: Mask) -> NDArray[np.float64]:
    """IoU of every axial slice: (D,) float64 in [0, 1], NaN where the slice is empty in both masks.

    prediction, truth: (D, H, W) bool, same shape. Raises MaskError and ShapeMismatch for unusable masks.
    """
    check_pair(prediction, truth)
    axes = tuple(range(1, prediction.ndim))
    union = np.count_nonzero(prediction | truth, axis=axes)
    both = np.count_nonzero(prediction & truth, axis=axes)
    return np.divide(both, union, out=np.full(len(union), math.nan), where=union > 0)


def iou_calibration(predicted_iou: ArrayLike, real_iou: ArrayLike) -> IouCalibration:
    """Compare what the model expected of its slices with what they were worth.

    predicted_iou: (N,) float, NaN where the model said nothing; clipped to [0, 1], as SAM's head may overshoot.
    real_iou: (N,) float in [0, 1], NaN where undefined, for instance from slice_iou. Slices of many cases may be
        concatenated. Pairs with a NaN are left out.
    Raises ShapeMismatch for different lengths, MaskError for infinite predictions or real values outside [0, 1].
    """
    predicted, real = np.asarray(predicted_iou, np.float64), np.asarray(real_iou, np.float64)
    if predicted.ndim != 1 or predicted.shape != real.shape:
        raise ShapeMismatch(
            f"predicted_iou: shape {predicted.shape}, expected one number for each slice, {real.shape}; "
            "give both slice by slice."
        )
    if np.isinf(predicted).any() or (real < 0).any() or (real > 1).any():
        raise MaskError(
            "predicted_iou: got infinite values or real IoU outside [0, 1], expected finite IoU or NaN; check both."
        )
    usable = ~(np.isnan(predicted) | np.isnan(real))
    predicted, real = predicted[usable].clip(0, 1), real[usable]
    if not predicted.size:
        return IouCalibration(0, math.nan, math.nan, math.nan, math.nan)
    gap = predicted - real
    bins = np.minimum((predicted * 10).astype(int), 9)
    expected_error = np.abs(np.bincount(bins, weights=gap)).sum() / gap.size
    return IouCalibration(
        slices=int(gap.size),
        bias=float(gap.mean()),
        mean_absolute_error=float(np.abs(gap).mean()),
        expected_error=float(expected_error),
        correlation=_correlation(predicted, real),
    )


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale > 0 else math.nan
