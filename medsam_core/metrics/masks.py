"""What every metric requires of its masks: dtype, axes, shape, spacing. Checked here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medsam_core.errors import MaskError, ShapeMismatch

Mask: TypeAlias = NDArray[np.bool_]
"""(D, H, W) or (H, W) bool: True inside the region."""
Labels: TypeAlias = NDArray[np.uint8]
"""(D, H, W) or (H, W) uint8: a label map."""
Spacing: TypeAlias = tuple[float, ...]
"""Millimetres between voxel centres along each axis of the mask, in the order of its axes: (dz, dy, dx)."""


def check_mask(mask: Mask, name: str) -> None:
    """Raise MaskError unless a mask is (D, H, W) or (H, W) bool with voxels; it may be empty (all False).

    name: its name in the error, for instance "prediction".
    Label maps and probabilities are not converted silently.
    """
    if not isinstance(mask, np.ndarray):
        raise MaskError(f"{name}: got a {type(mask).__name__}, expected a numpy array of bool; use numpy.asarray.")
    if mask.dtype != np.bool_:
        raise MaskError(f"{name}: dtype {mask.dtype}, expected bool; compare it first, as in logits > 0.")
    if mask.ndim not in (2, 3):
        raise MaskError(f"{name}: shape {mask.shape}, expected 2 or 3 axes; score one slice or one volume at a time.")
    if mask.size == 0:
        raise MaskError(f"{name}: shape {mask.shape} holds no voxel, expected at least one; check how it was cropped.")


def check_pair(prediction: Mask, truth: Mask) -> None:
    """Raise MaskError unless both masks are usable (see check_mask), ShapeMismatch unless their shapes are equal."""
    check_mask(prediction, "prediction")
    check_mask(truth, "truth")
    check_same_shape(prediction, truth)


def check_same_shape(prediction: NDArray[Any], truth: NDArray[Any]) -> None:
    """Raise ShapeMismatch unless the two arrays have the same shape."""
    if prediction.shape != truth.shape:
        raise ShapeMismatch(
            f"prediction: shape {prediction.shape}, expected that of the truth, {truth.shape}; resample it to its grid."
        )


def check_spacing(spacing_mm: Sequence[float], axes: int) -> Spacing:
    """The spacing as plain floats, after a check that it has one finite positive number for each axis.

    spacing_mm: millimetres along each axis, in the order of the mask's axes (not of the NIfTI header).
    axes: the number of axes of the mask.
    Raises ShapeMismatch for a wrong count, MaskError for zero, negative, infinite or NaN.
    """
    try:
        spacing = tuple(float(step) for step in spacing_mm)
    except (TypeError, ValueError):
        raise MaskError(f"spacing_mm: got {spacing_mm!r}, expected {axes} numbers; give mm for each axis.") from None
    if len(spacing) != axes:
        raise ShapeMismatch(f"spacing_mm: got {spacing}, expected {axes} numbers; give mm for each axis of the mask.")
    if not all(math.isfinite(step) and step > 0 for step in spacing):
        raise MaskError(f"spacing_mm: got {spacing}, expected finite numbers above 0; check the affine of the image.")
    return spacing


def diagonal_mm(shape: Sequence[int], spacing_mm: Spacing) -> float:
    """The diagonal of an image, mm."""
    return math.sqrt(sum((length * step) ** 2 for length, step in zip(shape, spacing_mm, strict=True)))


def bounding_box(*masks: Mask | Labels) -> tuple[slice, ...] | None:
    """The smallest box around the non-zero voxels of all masks, one slice per axis; None if there are none.

    masks: bool or uint8 arrays of one shape.
    """
    first = masks[0]
    later = tuple(range(1, first.ndim))
    occupied = np.flatnonzero(np.logical_or.reduce([mask.any(axis=later) for mask in masks]))
    if not occupied.size:
        return None
    slab = slice(int(occupied[0]), int(occupied[-1]) + 1)
    # project the occupied slab alone along the first axis; the other sides of the box are those of the shadow
    shadow = np.logical_or.reduce([np.bitwise_or.reduce(mask[slab], axis=0) != 0 for mask in masks])
    box = [slab]
    for axis in range(shadow.ndim):
        occupied = np.flatnonzero(shadow.any(axis=tuple(other for other in range(shadow.ndim) if other != axis)))
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)
