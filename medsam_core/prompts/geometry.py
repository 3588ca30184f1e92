"""Where a careful person would click in one slice of a region: box, deepest point, three spread points. No torch.

All take a slice `region` (H, W) bool with at least one voxel and give voxel coordinates (x, y), x along the second
axis. Ties go to the first voxel in row order, so that every machine clicks the same.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Box = tuple[float, float, float, float]
Point = tuple[float, float]


def tight_box(region: np.ndarray) -> Box:
    """(x0, y0, x1, y1) of the region's extreme voxels, both ends inclusive."""
    ys, xs = np.nonzero(region)
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())


def jittered_box(box: Box, jitter_voxels: float, shape: tuple[int, int], rng: np.random.Generator) -> Box:
    """The box with every edge moved by a uniform amount in ±`jitter_voxels`, to 0.01 voxel.

    shape: (H, W) of the slice; the result lies within it and is never inverted.
    """
    moved = np.round(np.asarray(box) + rng.uniform(-jitter_voxels, jitter_voxels, 4), 2)
    height, width = shape
    x0, x1 = np.sort(np.clip(moved[[0, 2]], 0, width - 1))
    y0, y1 = np.sort(np.clip(moved[[1, 3]], 0, height - 1))
    return float(x0), float(y0), float(x1), float(y1)


def depth(region: np.ndarray) -> np.ndarray:
    """(H, W) float64: Euclidean distance in voxels to the nearest voxel outside; outside the image counts as such."""
    # without the rim SciPy would take a region at the image's border to go on beyond it
    return ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]


def deepest_point(region: np.ndarray) -> Point:
    """The voxel of the region that is farthest from its outside."""
    y, x = np.unravel_index(np.argmax(depth(region)), region.shape)
    return float(x), float(y)


def nearby_point(region: np.ndarray, point: Point, jitter_voxels: float, rng: np.random.Generator) -> Point:
    """A voxel of the region drawn evenly from those within ±`jitter_voxels` of `point` along both axes.

    A jittered click stays inside: one outside asks for something else. `point` must be a voxel of the region.
    """
    ys, xs = np.nonzero(region)
    near = np.flatnonzero((abs(xs - point[0]) <= jitter_voxels) & (abs(ys - point[1]) <= jitter_voxels))
    chosen = near[rng.integers(len(near))]
    return float(xs[chosen]), float(ys[chosen])


def spread_points(region: np.ndarray, count: int = 3) -> tuple[Point, ...]:
    """`count` voxels inside the region, far from its edge and from one another; fewer if it has fewer voxels.

    The first is the deepest; each next one is the voxel whose nearest chosen voxel is farthest away, among the
    voxels at least half as deep as the deepest (among all of the region if those are fewer than `count`).
    """
    depths = depth(region)
    deep = region & (depths >= depths.max() / 2)
    ys, xs = np.nonzero(deep if deep.sum() >= count else region)
    points = [deepest_point(region)]
    nearest = np.full(len(xs), np.inf)
    while len(points) < min(count, len(xs)):
        x, y = points[-1]
        nearest = np.minimum(nearest, (xs - x) ** 2 + (ys - y) ** 2)
        farthest = np.argmax(nearest)
        points.append((float(xs[farthest]), float(ys[farthest])))
    return tuple(points)
