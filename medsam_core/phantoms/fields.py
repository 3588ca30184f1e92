"""Smooth random fields on one coarse lattice over the BraTS field of view, and their way onto any voxel grid.

Everything smooth in a phantom (distances, warps, noise) is worked out once on the lattice, whose nodes lie about
3 mm apart whatever the grid, and is carried onto the wanted voxels by separable cubic interpolation. This keeps a
full-size head at a few seconds, and one seed gives the same head at every grid size.

Only additions, multiplications, divisions and square roots touch the voxels, in a fixed order and without BLAS, so
that the number of threads cannot change a bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FIELD_MM = (155.0, 240.0, 240.0)  # the field of view of every BraTS volume, (z, y, x)
LATTICE = (52, 80, 80)
LATTICE_MM = tuple(f / n for f, n in zip(FIELD_MM, LATTICE, strict=True))

Field = npt.NDArray[np.floating[Any]]  # float32 throughout
Span = tuple[int, int]
Window = tuple[Span, Span, Span]


def taps(nodes: int, samples: int, span: Span | None = None) -> tuple[npt.NDArray[np.intp], Field]:
    """Catmull–Rom taps that carry `nodes` cell-centred values onto `samples` cells of the same extent.

    Returns indices (4, n) and weights (4, n) float32 for the samples start..stop-1 of `span` (all by default).
    Edges repeat the outermost node. Source: Catmull and Rom, 1974.
    """
    start, stop = span or (0, samples)
    position = (np.arange(start, stop) + 0.5) * (nodes / samples) - 0.5
    base = np.floor(position).astype(np.intp)
    t = position - base
    weights = np.stack(
        [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ]
    )
    indices = np.clip(base + np.arange(-1, 3)[:, None], 0, nodes - 1)
    return indices, weights.astype(np.float32)


def resample(field: Field, size: Sequence[int], window: Window | None = None) -> Field:
    """A lattice field (d, h, w) carried onto a grid of `size` voxels over the same extent, float32.

    window: three (start, stop) index ranges of the grid; only these voxels are worked out. Default: all.
    """
    spans: Sequence[Span | None] = window or (None, None, None)
    if tuple(size) == field.shape:
        return field[tuple(slice(*span) if span else slice(None) for span in spans)]
    axes = [taps(n, m, span) for n, m, span in zip(field.shape, size, spans, strict=True)]
    near = [slice(int(indices.min()), int(indices.max()) + 1) for indices, _ in axes]  # only these nodes matter
    (iz, wz), (iy, wy), (ix, wx) = ((i - s.start, w) for (i, w), s in zip(axes, near, strict=True))
    out = np.asarray(field[tuple(near)], dtype=np.float32)
    out = _weighted([out.take(i, axis=2) for i in ix], wx)
    out = _weighted([out.take(i, axis=1) for i in iy], wy[:, :, None])
    planes = np.empty((iz.shape[1], *out.shape[1:]), dtype=np.float32)
    part = np.empty(out.shape[1:], dtype=np.float32)
    for k, plane in enumerate(planes):  # plane by plane stays in the cache
        np.multiply(out[iz[0, k]], wz[0, k], out=plane)
        for i, w in zip(iz[1:, k], wz[1:, k], strict=True):
            plane += np.multiply(out[i], w, out=part)
    return planes


def _weighted(parts: list[Field], weights: Field) -> Field:
    for part, weight in zip(parts, weights, strict=True):
        part *= weight
    for part in parts[1:]:
        parts[0] += part
    return parts[0]


def noise(rng: np.random.Generator, grain_mm: float, shape: Sequence[int] = LATTICE) -> Field:
    """Smooth noise over the field of view on a grid of `shape`: mean about 0, standard deviation about 1, float32.

    grain_mm: distance of the independent values; bumps are about twice as wide.
    """
    nodes = [max(4, round(f / grain_mm)) for f in FIELD_MM]
    values = rng.standard_normal(nodes, dtype=np.float32)
    # cubic interpolation between independent values keeps 0.89 of their deviation per axis
    return resample(values, shape) * np.float32(1.43)


def coordinates() -> tuple[Field, Field, Field]:
    """Where the lattice nodes lie: z (d, 1, 1), y (1, h, 1), x (1, 1, w) in mm from the grid's corner, float32."""
    axes = [((np.arange(n) + 0.5) * s).astype(np.float32) for n, s in zip(LATTICE, LATTICE_MM, strict=True)]
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]


def ellipsoid(dz: Field, dy: Field, dx: Field, axes: Sequence[float]) -> Field:
    """Approximate signed distance in mm to an ellipsoid, negative inside.

    dz, dy, dx: offsets in mm from its centre; axes: half axes (z, y, x) in mm.
    First-order distance |p/a| (|p/a| - 1) / |p/a²|, exact on spheres and near the surface.
    """
    level: Field = np.zeros(1, dtype=np.float32)
    slope: Field = level
    for offset, axis in zip((dz, dy, dx), axes, strict=True):
        inverse = np.float32(1 / (axis * axis))
        square = offset * offset
        square *= inverse
        level = level + square
        square *= inverse
        slope = slope + square
    level, slope = np.sqrt(level), np.sqrt(slope)
    slope += np.float32(1e-6)
    out = level - 1
    out *= level
    out /= slope
    return out


def blend(a: Field, b: Field, reach_mm: float) -> Field:
    """The union of two shapes given by signed distances, its seam rounded over reach_mm.

    The quadratic polynomial smooth minimum.
    """
    reach = np.float32(reach_mm)
    overlap = np.maximum(reach - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap / (4 * reach)
