"""Boxes and points that a careful person would place on one slice of a region. No torch.

Every function takes a slice `region`, (H, W) bool with at least one voxel, and returns voxel coordinates (x, y), x
along the second axis. Of equally good voxels the first in row order is taken, so every machine gives the same points.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medsam_core.metrics.masks import bounding_box

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in voxels of the slice, both ends inclusive."""
Point = tuple[float, float]
"""(x, y) in voxels of the slice."""


def tight_box(region: np.ndarray) -> Box:
    """(x0, y0, x1, y1) of the region's extreme voxels, both ends inclusive."""
    ys, xs = np.nonzero(region)
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())


def jittered_box(box: Box, jitter_voxels: float, shape: tuple[int, int], rng: np.random.Generator) -> Box:
    """The box with every edge moved by a uniform amount in ±`jitter_voxels`, rounded to 0.01 voxel.

    shape: (H, W) of the slice; the box is clipped to it.
    Edges that cross are swapped, so x0 ≤ x1 and y0 ≤ y1.
    """
    return moved_box(box, rng.uniform(-jitter_voxels, jitter_voxels, 4), shape)


def moved_box(box: Box, by: np.ndarray, shape: tuple[int, int]) -> Box:
    """The box with its edges moved by the numbers of `by`, (4,) voxels, rounded to 0.01 and clipped to the slice.

    shape: (H, W) of the slice. Edges that cross are swapped, so x0 ≤ x1 and y0 ≤ y1.
    """
    moved = np.round(np.asarray(box) + by, 2)
    height, width = shape
    x0, x1 = np.sort(np.clip(moved[[0, 2]], 0, width - 1))
    y0, y1 = np.sort(np.clip(moved[[1, 3]], 0, height - 1))
    return float(x0), float(y0), float(x1), float(y1)


def depth(region: np.ndarray) -> np.ndarray:
    """(H, W) float64: distance in voxels to the nearest voxel outside the region; beyond the image is outside."""
    box = bounding_box(region) or (slice(0), slice(0))
    # the nearest voxel outside is at most one voxel beyond the box; without the padding, SciPy would treat a region at
    # the border as if it continued beyond it
    depths = np.zeros(region.shape)
    depths[box] = ndimage.distance_transform_edt(np.pad(region[box], 1))[1:-1, 1:-1]
    return depths


def deepest_point(region: np.ndarray) -> Point:
    """The voxel of the region that is farthest from its outside, Euclidean."""
    y, x = np.unravel_index(np.argmax(depth(region)), region.shape)
    return float(x), float(y)


def nearby_point(region: np.ndarray, point: Point, jitter_voxels: float, rng: np.random.Generator) -> Point:
    """A voxel of the region, drawn uniformly from those within ±`jitter_voxels` of `point` along both axes.

    point: a voxel of the region. A jittered point stays inside, because outside it would mean another object.
    """
    ys, xs = np.nonzero(region)
    near = np.flatnonzero((abs(xs - point[0]) <= jitter_voxels) & (abs(ys - point[1]) <= jitter_voxels))
    chosen = near[rng.integers(len(near))]
    return float(xs[chosen]), float(ys[chosen])


def spread_points(region: np.ndarray, count: int = 3) -> tuple[Point, ...]:
    """`count` voxels of the region, far from its edge and from one another; fewer if the region has fewer voxels.

    The first is the deepest voxel. Each next one is the voxel farthest from all points so far (farthest-point
    sampling), of the voxels at least half as deep as the deepest; of all voxels, if fewer than `count` are so deep.
    """
    depths = depth(region)
    deep = region & (depths >= depths.max() / 2)
    ys, xs = np.nonzero(deep if deep.sum() >= count else region)
    points = [deepest_point(region)]
    nearest = np.full(len(xs), np.inf)  # squared distance of each candidate to its nearest point so far
    while len(points) < min(count, len(xs)):
        x, y = points[-1]
        nearest = np.minimum(nearest, (xs - x) ** 2 + (ys - y) ** 2)
        farthest = np.argmax(nearest)
        points.append((float(xs[farthest]), float(ys[farthest])))
    return tuple(points)
