"""The longest diameter of a lesion on one slice, as RECIST measures it, and points on it. No torch.

As in `geometry.py`, a slice is (H, W) bool with at least one voxel, points are (x, y) in voxels, and of equally good
choices the first in row order is taken.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medsam_core.prompts.geometry import Point

POINTS = 5
"""As MedSAM2's RECIST script takes from a drawn diameter."""
_EQUAL = 1e-9
"""Lengths that differ by a smaller share than this are equal: 5 mm along an axis, and 3 mm and 4 mm along two."""


def largest_piece(region: np.ndarray) -> np.ndarray:
    """(H, W) bool: the largest part of the slice that is connected over edges and corners; of equal ones the first."""
    pieces, _ = ndimage.label(region, np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # the background
    return np.asarray(pieces == np.argmax(sizes))


def longest_diameter(region: np.ndarray, spacing_mm: tuple[float, float] = (1.0, 1.0)) -> tuple[Point, Point]:
    """The two voxels of the slice whose centres are farthest apart in mm, in row order; twice the same one if alone.

    spacing_mm: (dy, dx).
    Definition: the longest diameter in the plane, RECIST 1.1 (Eisenhauer 2009). The line between the two may leave the
    region where it is concave.
    """
    # within a row only the two ends can be farthest from anything
    rows = np.flatnonzero(region.any(1))
    first = region[rows].argmax(1)
    last = region.shape[1] - 1 - region[rows, ::-1].argmax(1)
    ys, xs = np.repeat(rows, 2), np.stack([first, last], 1).ravel()
    dy, dx = spacing_mm
    squared = (np.subtract.outer(ys, ys) * dy) ** 2 + (np.subtract.outer(xs, xs) * dx) ** 2
    start, end = np.argwhere(squared >= squared.max() * (1 - _EQUAL))[0]
    return (float(xs[start]), float(ys[start])), (float(xs[end]), float(ys[end]))


def diameter_points(
    region: np.ndarray, spacing_mm: tuple[float, float] = (1.0, 1.0), count: int = POINTS
) -> tuple[Point, ...]:
    """`count` voxels of the slice along its longest diameter, from its first end; fewer if they are not different.

    The diameter is divided into `count` equal parts; the points are the voxels at their middles. So the outermost are a
    tenth of the diameter inside. A middle outside of the region becomes the voxel of the region nearest to it in mm.
    spacing_mm: (dy, dx).
    """
    (x0, y0), (x1, y1) = longest_diameter(region, spacing_mm)
    ys, xs = np.nonzero(region)
    dy, dx = spacing_mm
    points = []
    for share in (np.arange(count) + 0.5) / count:
        x, y = np.floor(x0 + share * (x1 - x0) + 0.5), np.floor(y0 + share * (y1 - y0) + 0.5)
        nearest = np.argmin(((ys - y) * dy) ** 2 + ((xs - x) * dx) ** 2)
        points.append((float(xs[nearest]), float(ys[nearest])))
    return tuple(dict.fromkeys(points))
