"""MedSAM2's way from MRI intensities to the pixels the model sees. Numpy and Pillow only.

Definition: bowang-lab/MedSAM2's data preparation and `medsam2_infer_*.py`: clip to the 0.5-99.5 percentile of the
foreground, scale to 0-255, background 0, uint8 by cutting off; each slice resized by Pillow's default (bicubic).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from medsam_core.errors import DataError

PERCENTILES = (0.5, 99.5)
MARGIN = 0.03  # of a head's side, around it
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Window:
    """A rectangle of voxels, the same on every slice: the field of view of the model. Half-open."""

    top: int
    left: int
    height: int
    width: int

    def of(self, slices: np.ndarray) -> np.ndarray:
        """(…, H, W) cut to (…, height, width), a view."""
        return slices[..., self.top : self.top + self.height, self.left : self.left + self.width]


def field_of_view(voxels: np.ndarray, chosen: str) -> Window:
    """The part of each slice that becomes the model's image. voxels: (D, H, W). chosen: one of FIELDS_OF_VIEW."""
    if chosen == "foreground":
        return foreground_window(voxels != background_of(voxels))
    return Window(0, 0, *voxels.shape[1:])


def foreground_window(foreground: np.ndarray) -> Window:
    """The square around everything that is foreground on any slice, and MARGIN of its side on each side.

    foreground: (D, H, W) bool. The whole slice if it is all False. Where the volume's border comes first, the square is
    moved inwards, and shortened if one side is shorter than it. As nnU-Net's crop to non-zero, but square and the same
    on all slices, so that pixels stay square and an object does not jump from slice to slice.
    """
    height, width = foreground.shape[1:]
    rows, columns = (np.flatnonzero(foreground.any(axes)) for axes in ((0, 2), (0, 1)))
    if not len(rows):
        return Window(0, 0, height, width)
    extent = int(max(np.ptp(rows), np.ptp(columns))) + 1
    side = extent + 2 * math.ceil(extent * MARGIN)
    (top, tall), (left, wide) = _placed(rows, side, height), _placed(columns, side, width)
    return Window(top, left, tall, wide)


def _placed(inside: np.ndarray, side: int, there: int) -> tuple[int, int]:
    """Begin and length of a span of `side` around the sorted places inside, moved to lie within 0 … there."""
    side = min(side, there)
    middle = int(inside[0] + inside[-1] + 1)
    return min(max((middle - side) // 2, 0), there - side), side


def background_of(voxels: np.ndarray) -> float:
    """The value that means "no tissue": the commonest on the volume's six faces if it fills half of them, else 0.

    MedSAM2 takes 0, which is right for BraTS as published; volumes that were normalised or shifted since hold
    another constant there (often negative), which would pass for tissue and press all contrast together.
    voxels: (D, H, W), finite.
    """
    faces = np.concatenate([np.take(voxels, end, axis).ravel() for axis in range(3) for end in (0, -1)])
    values, counts = np.unique(faces, return_counts=True)
    commonest = np.argmax(counts)
    return float(values[commonest]) if 2 * counts[commonest] >= len(faces) else 0.0


def to_uint8(voxels: np.ndarray) -> np.ndarray:
    """(D, H, W) uint8: the volume as MedSAM2 sees it, 0 in the background.

    voxels: (D, H, W), any real dtype and range. Raises DataError if it is not 3-D, is empty, holds NaN or
    infinity, or is constant.
    """
    voxels = np.asarray(voxels)
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise DataError(f"image: got shape {voxels.shape}, expected (D, H, W) with voxels; give one modality's volume.")
    if not np.isfinite(voxels).all():
        count = int((~np.isfinite(voxels)).sum())
        raise DataError(f"image: got {count} voxels that are NaN or infinite, expected finite ones; repair the file.")
    background = background_of(voxels)
    inside = voxels != background
    foreground = voxels[inside].astype(np.float64)
    if foreground.size == 0 or (foreground.size == voxels.size and foreground.min() == foreground.max()):
        raise DataError(f"image: got {voxels.flat[0]} in every voxel, expected contrast; choose another file.")
    low, high = np.percentile(foreground, PERCENTILES)
    if low == high:  # all but a few voxels alike
        low, high = foreground.min(), foreground.max()
        low = low if low < high else high - 1
    scaled = (np.clip(voxels, low, high).astype(np.float64) - low) / (high - low) * 255.0
    scaled[~inside] = 0
    return scaled.astype(np.uint8)


def resize_slices(slices: Sequence[np.ndarray], image_size: int) -> np.ndarray:
    """(N, image_size, image_size) uint8 from N slices (H, W) uint8, bicubic with Pillow's antialiasing.

    MedSAM2 resizes the slice as RGB; its three channels are this one.
    """
    size = (image_size, image_size)
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in slices])


def normalisation_table() -> np.ndarray:
    """(3, 256) float32: the normalised value of each uint8 in each channel, rounded once from float64 as in MedSAM2."""
    mean, std = (np.array(values, np.float32).astype(float)[:, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((np.arange(256) / 255.0 - mean) / std).astype(np.float32)
