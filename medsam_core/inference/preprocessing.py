"""From MRI intensities to the pixels that the model sees, as in MedSAM2. Numpy and Pillow only.

Definition: bowang-lab/MedSAM2's data preparation and `medsam2_infer_*.py`: clip to the 0.5-99.5 percentile of the
foreground, scale to 0-255, set the background to 0, truncate to uint8; resize each slice by Pillow's default (bicubic).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from medsam_core.errors import DataError

PERCENTILES = (0.5, 99.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def background_of(voxels: np.ndarray) -> float:
    """The value of "no tissue": the most frequent one on the volume's six faces if it fills half of them, else 0.

    voxels: (D, H, W), finite. MedSAM2 uses 0, which is right for BraTS as published. Volumes that were normalised or
    shifted afterwards have another constant there (often negative), which would count as tissue and compress all
    contrast.
    """
    faces = np.concatenate([np.take(voxels, end, axis).ravel() for axis in range(3) for end in (0, -1)])
    if 2 * np.count_nonzero(faces == faces[0]) > len(faces):
        return float(faces[0])  # as almost always; the same without sorting
    values, counts = np.unique(faces, return_counts=True)
    commonest = np.argmax(counts)
    return float(values[commonest]) if 2 * counts[commonest] >= len(faces) else 0.0


def to_uint8(voxels: np.ndarray) -> np.ndarray:
    """(D, H, W) uint8: the volume as MedSAM2 sees it, 0 in the background.

    voxels: (D, H, W), any real dtype and range.
    Raises DataError if it is not 3-D, has no voxels, has NaN or infinity, or is constant.
    """
    voxels = np.asarray(voxels)
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise DataError(f"image: got shape {voxels.shape}, expected (D, H, W) with voxels; give one modality's volume.")
    if not (np.isfinite(voxels.min()) and np.isfinite(voxels.max())):  # NaN and infinity reach one of the two
        count = int((~np.isfinite(voxels)).sum())
        raise DataError(f"image: got {count} voxels that are NaN or infinite, expected finite ones; repair the file.")
    background = background_of(voxels)
    inside = voxels != background
    foreground = voxels[inside]
    if foreground.size == 0 or (foreground.size == voxels.size and foreground.min() == foreground.max()):
        raise DataError(f"image: got {voxels.flat[0]} in every voxel, expected contrast; choose another file.")
    low, high = np.percentile(foreground.astype(np.float64), PERCENTILES)
    if low == high:  # almost all voxels are equal
        low, high = np.float64(foreground.min()), np.float64(foreground.max())
        low = low if low < high else high - 1
    pixels = np.zeros(voxels.shape, np.uint8)
    scaled = (np.clip(foreground, low, high).astype(np.float64) - low) / (high - low) * 255.0
    pixels[inside] = scaled.astype(np.uint8)
    return pixels


def resize_slices(slices: Sequence[np.ndarray], image_size: int) -> np.ndarray:
    """(N, image_size, image_size) uint8 from N slices (H, W) uint8: Pillow's bicubic resize, with antialiasing.

    MedSAM2 resizes the slice as RGB; each of its three channels equals this one.
    """
    size = (image_size, image_size)
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in slices])


def normalisation_table() -> np.ndarray:
    """(3, 256) float32: the normalised value of each uint8 in each channel, rounded once from float64 as in MedSAM2."""
    mean, std = (np.array(values, np.float32).astype(float)[:, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((np.arange(256) / 255.0 - mean) / std).astype(np.float32)
