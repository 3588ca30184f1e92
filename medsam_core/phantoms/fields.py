"""Smooth random fields on one coarse lattice over the BraTS field of view, and their interpolation to any voxel grid.

Everything smooth in a phantom (distances, warps, noise) is computed once on the lattice, with nodes about 3 mm apart
for every grid, and interpolated to the voxels by separable cubics. So a full-size head takes a few seconds, and one
seed gives the same head at every grid size.

Voxels are computed with additions, multiplications, divisions and square roots alone, in a fixed order and without
BLAS, so the number of threads changes no bit.
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
Labels = npt.NDArray[np.uint8]  # of tissues or of the tumour
Span = tuple[int, int]
"""Voxels start … stop − 1 of one axis."""
Window = tuple[Span, Span, Span]
"""A box of the voxel grid, (z, y, x)."""


def taps(nodes: int, samples: int, span: Span | None = None) -> tuple[npt.NDArray[np.intp], Field]:
    """Catmull–Rom interpolation of `nodes` cell-centred values to `samples` cells of the same extent.

    Returns (indices, weights), (4, n) intp and (4, n) float32, for the samples start … stop − 1 of `span` (default:
    all). Beyond the edges the outermost node is repeated. Source: Catmull and Rom, 1974.
    """
    start, stop = span or (0, samples)
    # the centre of each sample in units of nodes, and the cubic's weights at its fractional part t
    position = (np.arange(start, stop) + 0.5) * (nodes / samples) - 0.5
    base = np.floor(position).astype(np.intp)
    t = position - base
    before = [((2 - t) * t - 1) * t / 2, ((3 * t - 5) * t * t + 2) / 2]
    after = [((4 - 3 * t) * t + 1) * t / 2, (t - 1) * t * t / 2]
    weights = np.stack([*before, *after])
    indices = np.clip(base + np.arange(-1, 3)[:, None], 0, nodes - 1)
    return indices, weights.astype(np.float32)


def resample(field: Field, size: Sequence[int], window: Window | None = None) -> Field:
    """A lattice field (d, h, w) interpolated to a grid of `size` voxels over the same extent, float32.

    window: the voxels to compute; None for all.
    """
    spans: Sequence[Span | None] = window or (None, None, None)
    if tuple(size) == field.shape:
        return field[tuple(slice(*span) if span else slice(None) for span in spans)]
    axes = [taps(n, m, span) for n, m, span in zip(field.shape, size, spans, strict=True)]
    near = [slice(int(indices.min()), int(indices.max()) + 1) for indices, _ in axes]  # the nodes that matter
    (iz, wz), (iy, wy), (ix, wx) = ((i - s.start, w) for (i, w), s in zip(axes, near, strict=True))
    # one axis after the other: x and y on the lattice's few planes, then z
    out = np.asarray(field[tuple(near)], dtype=np.float32)
    out = _weighted([out.take(i, axis=2) for i in ix], wx)
    out = _weighted([out.take(i, axis=1) for i in iy], wy[:, :, None])
    planes = np.empty((iz.shape[1], *out.shape[1:]), dtype=np.float32)
    part = np.empty(out.shape[1:], dtype=np.float32)
    for k, plane in enumerate(planes):  # one plane at a time stays in the cache
        np.multiply(out[iz[0, k]], wz[0, k], out=plane)
        for i, w in zip(iz[1:, k], wz[1:, k], strict=True):
            plane += np.multiply(out[i], w, out=part)
    return planes


def _weighted(parts: list[Field], weights: Field) -> Field:
    """The weighted sum of the parts; overwrites them."""
    for part, weight in zip(parts, weights, strict=True):
        part *= weight
    for part in parts[1:]:
        parts[0] += part
    return parts[0]


def noise(rng: np.random.Generator, grain_mm: float, shape: Sequence[int] = LATTICE) -> Field:
    """Smooth noise over the field of view on a grid of `shape`: mean about 0, standard deviation about 1, float32.

    grain_mm: distance between independent values; bumps are about twice as wide.
    """
    nodes = [max(4, round(f / grain_mm)) for f in FIELD_MM]
    values = rng.standard_normal(nodes, dtype=np.float32)
    # cubic interpolation keeps about 0.89 of the deviation of independent values per axis: 1.43 ≈ 1 / 0.89³
    return resample(values, shape) * np.float32(1.43)


def coordinates() -> tuple[Field, Field, Field]:
    """Positions of the lattice nodes: z (d, 1, 1), y (1, h, 1), x (1, 1, w), float32, mm from the grid's corner."""
    axes = [((np.arange(n) + 0.5) * s).astype(np.float32) for n, s in zip(LATTICE, LATTICE_MM, strict=True)]
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]


def ellipsoid(dz: Field, dy: Field, dx: Field, axes: Sequence[float]) -> Field:
    """Approximate signed distance to an ellipsoid, mm, negative inside.

    dz, dy, dx: offsets from its centre, mm. axes: half axes (z, y, x), mm.
    First-order distance |p/a| (|p/a| − 1) / |p/a²|: exact for spheres and near the surface.
    """
    # level becomes |p/a|, slope |p/a²|
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
    slope += np.float32(1e-6)  # the centre must not divide by 0
    out = level - 1
    out *= level
    out /= slope
    return out


def blend(a: Field, b: Field, reach_mm: float) -> Field:
    """Signed distance to the union of two shapes, with their seam rounded: the quadratic smooth minimum.

    a, b: signed distances, mm. reach_mm: where the two differ by less than this, the seam is rounded.
    """
    reach = np.float32(reach_mm)
    overlap = np.maximum(reach - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap / (4 * reach)
