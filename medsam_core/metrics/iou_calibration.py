"""How well the model judges itself: SAM's predicted IoU of each slice compared with the real one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsam_core.errors import MaskError, ShapeMismatch
from medsam_core.metrics.masks import Mask, check_pair


@dataclass(frozen=True)
class IouCalibration:
    """Predicted IoU minus real IoU, over slices."""

    bias: float
    """Mean of predicted − real: above 0 for an overconfident model; NaN without a slice."""
    mean_absolute_error: float
    """Mean of |predicted − real|, in [0, 1]; NaN without a slice."""


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
    """Compare the IoU that the model predicted for its slices with the real IoU.

    predicted_iou: (N,) float, NaN where the model predicted none; clipped to [0, 1], because SAM's head may overshoot.
    real_iou: (N,) float in [0, 1], NaN where undefined, for instance from slice_iou.
    Slices of many cases may be concatenated. Pairs with a NaN are left out.
    Raises ShapeMismatch for different lengths, MaskError for infinite predictions or real values outside [0, 1].
    """
    predicted, real = np.asarray(predicted_iou, np.float64), np.asarray(real_iou, np.float64)
    if predicted.ndim != 1 or predicted.shape != real.shape:
        raise ShapeMismatch(f"predicted_iou: shape {predicted.shape}, expected {real.shape}; give one for each slice.")
    if np.isinf(predicted).any() or (real < 0).any() or (real > 1).any():
        raise MaskError("predicted_iou: got Inf, or real IoU outside [0, 1], expected IoU or NaN; check both.")
    usable = ~(np.isnan(predicted) | np.isnan(real))
    predicted, real = predicted[usable].clip(0, 1), real[usable]
    if not predicted.size:
        return IouCalibration(math.nan, math.nan)
    gap = predicted - real
    return IouCalibration(float(gap.mean()), float(np.abs(gap).mean()))
