"""Hashes of voxels, by which a copy is recognised whatever its name, data type, orientation or empty margin."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from medsam_core.metrics.masks import bounding_box

Array = np.ndarray[Any, Any]

SMALLEST_TRUTH = 100
"""Voxels: two smaller tumours may have the same shape by chance."""


def background_of(image: Array) -> float | None:
    """The value of the background: that of most of the eight corners; None for an image that fills its volume."""
    corners = image[:: image.shape[0] - 1 or 1, :: image.shape[1] - 1 or 1, :: image.shape[2] - 1 or 1]
    values, counts = np.unique(corners, return_counts=True)
    most = int(counts.argmax())
    return float(values[most]) if 2 * counts[most] > corners.size else None


def image_hash(image: Array) -> str:
    """32 hex digits of the intensities, without the margin of background.

    image: (D, H, W) float32 in LPS.
    """
    background = background_of(image)
    box = None if background is None else bounding_box(image != background)
    return _hash(image if box is None else image[box])


def truth_hash(labels: Array) -> str | None:
    """32 hex digits of the shape of everything labelled, None for fewer than SMALLEST_TRUTH voxels.

    labels: (D, H, W) integers in LPS. Only what is labelled counts, not by which values: data sets number their labels
    in different ways. The margin is left out.
    """
    inside = labels > 0
    box = bounding_box(inside)
    return None if box is None or np.count_nonzero(inside) < SMALLEST_TRUTH else _hash(inside[box])


def _hash(voxels: Array) -> str:
    digest = hashlib.blake2b(str(voxels.shape).encode(), digest_size=16)
    for part in voxels:  # slice by slice: a crop is not contiguous
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
