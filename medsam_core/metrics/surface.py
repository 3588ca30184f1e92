"""Distances between the surfaces of two masks: computed once, then reduced.

    distances = surface_distances(prediction, truth, spacing_mm)
    hausdorff(distances, 95), nsd(distances, tolerance_mm=1), assd(distances)

There are two definitions of a surface: "voxel", the centres of the voxels that have a face neighbour outside (MedPy,
MONAI), and "surfel", surface elements weighted by their area (DeepMind, BraTS 2023). In both, a mask's voxels at the
border of the array are surface. If one mask is empty, reducers give inf (0 for NSD); if both are, NaN. A profile
replaces these by its own rules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medsam_core.errors import MaskError, OptionError
from medsam_core.metrics.masks import Mask, Spacing, bounding_box, check_pair, check_spacing
from medsam_core.metrics.surfels import surface_elements

Values = NDArray[np.float64]
Definition = Literal["voxel", "surfel"]
Directed = Literal["pooled", "max"]
NsdDirected = Literal["pooled", "mean"]

_REACH = 3
"""To find the nearest element, offsets of up to 3 voxels are tried, the shortest first; a tree finds the few beyond."""
_MARGIN = _REACH + 1
"""Zeros after each axis, so that no offset from a surface element reaches another row of the flat array: a step back
from the start of a row lands in the zeros of the previous row, and from the very first row in those at the end."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """The distance from each element of one surface to the nearest element of the other, in both directions."""

    to_truth: Values
    """(n,), mm, from the prediction's elements; inf where the truth is empty."""
    to_prediction: Values
    """(m,), mm, from the truth's elements; inf where the prediction is empty."""
    prediction_weights: Values | None = None
    """(n,), the area of the prediction's elements in mm² (length in mm in 2-D); None: all have the same weight."""
    truth_weights: Values | None = None
    """(m,), the same for the truth's elements."""

    @property
    def undefined(self) -> float | None:
        """The distance without a surface to measure: NaN if both masks are empty, inf if one is, None otherwise."""
        if self.to_truth.size and self.to_prediction.size:
            return None
        return math.inf if self.to_truth.size or self.to_prediction.size else math.nan

    @property
    def _directions(self) -> tuple[tuple[Values, Values | None], ...]:
        return (self.to_truth, self.prediction_weights), (self.to_prediction, self.truth_weights)

    @property
    def _pooled(self) -> tuple[Values, Values | None]:
        both = np.concatenate([self.to_truth, self.to_prediction])
        if self.prediction_weights is None or self.truth_weights is None:
            return both, None
        return both, np.concatenate([self.prediction_weights, self.truth_weights])


def surface_distances(
    prediction: Mask, truth: Mask, spacing_mm: Sequence[float], *, definition: Definition = "voxel"
) -> SurfaceDistances:
    """Distances between the surfaces of two masks, in both directions.

    prediction, truth: (D, H, W) or (H, W) bool, same shape; either may be empty.
    spacing_mm: millimetres along each axis of the masks.
    definition: "voxel" or "surfel" (see the module's docstring).
    Raises MaskError and ShapeMismatch for unusable masks or spacing, OptionError for an unknown definition.
    """
    check_pair(prediction, truth)
    spacing = check_spacing(spacing_mm, prediction.ndim)
    if definition not in ("voxel", "surfel"):
        raise OptionError(f"surface definition: got {definition!r}, expected voxel or surfel; choose one of these.")
    box = bounding_box(prediction, truth)
    if box is None:
        return SurfaceDistances(np.empty(0), np.empty(0))
    shape = tuple(side.stop - side.start + _MARGIN for side in box)
    flats = [np.pad(mask[box], (0, _MARGIN)).reshape(-1) for mask in (prediction, truth)]
    # ours: the prediction's surface; theirs: the truth's
    if definition == "voxel":
        ours, theirs = (_border_voxels(flat, shape) for flat in flats)
    else:
        ours, theirs = (_surfels(flat, shape, spacing) for flat in flats)
    to_theirs, to_ours = _nearest(ours, theirs, shape, spacing), _nearest(theirs, ours, shape, spacing)
    return SurfaceDistances(to_theirs, to_ours, ours.areas, theirs.areas)


def hausdorff(distances: SurfaceDistances, percentile: float = 100, *, directed: Directed = "max") -> float:
    """Hausdorff distance or a percentile of it (95: HD95), mm, 0 or more; inf if one mask is empty, NaN if both are.

    percentile: above 0, at most 100. Of voxels, it interpolates linearly between ranks (numpy, MedPy, MONAI); of
        surfels, it is the smallest distance within which that share of the area is (DeepMind).
    directed: "max", the larger of the two directions' percentiles (MONAI, DeepMind), or "pooled", the percentile
        of both directions together (MedPy).
    Raises OptionError for another percentile or direction.
    """
    if not 0 < percentile <= 100:
        raise OptionError(f"percentile: got {percentile}, expected above 0 and at most 100; give 95 for HD95.")
    if directed not in ("pooled", "max"):
        raise OptionError(f"directed: got {directed!r}, expected pooled or max; choose one of these.")
    if distances.undefined is not None:
        return distances.undefined
    parts = (distances._pooled,) if directed == "pooled" else distances._directions
    return max(_percentile(values, weights, percentile) for values, weights in parts)


def assd(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance: the mean over both surfaces, mm; inf if one mask is empty, NaN if both are.

    As MedPy's assd and MONAI's SurfaceDistanceMetric(symmetric=True). Source: Maier-Hein, Reinke et al. 2024
    (Metrics Reloaded).
    """
    if distances.undefined is not None:
        return distances.undefined
    return _mean(*distances._pooled)


def masd(distances: SurfaceDistances) -> float:
    """Mean average surface distance: the mean of the two directed means, mm; inf if one mask is empty, NaN if both are.

    Source: Maier-Hein, Reinke et al. 2024 (Metrics Reloaded).
    """
    if distances.undefined is not None:
        return distances.undefined
    return sum(_mean(*direction) for direction in distances._directions) / 2


def nsd(distances: SurfaceDistances, tolerance_mm: float, *, directed: NsdDirected = "pooled") -> float:
    """Normalised surface Dice: the share of both surfaces within the tolerance of the other, in [0, 1].

    tolerance_mm: 0 or more. At one voxel's width the two definitions of a surface disagree most: report two tolerances.
    directed: "pooled", of both surfaces together (Nikolov et al. 2018, DeepMind, MONAI), or "mean", the mean of the two
        shares (nnU-Net, BraTS since 2024).
    0 if one mask is empty, NaN if both are.
    Raises MaskError for a tolerance below 0, NaN or infinite, OptionError for another direction.
    """
    if not 0 <= tolerance_mm < math.inf:
        raise MaskError(f"tolerance_mm: got {tolerance_mm}, expected a finite number of 0 or more; give millimetres.")
    if directed not in ("pooled", "mean"):
        raise OptionError(f"directed: got {directed!r}, expected pooled or mean; choose one of these.")
    if distances.undefined is not None:
        return 0.0 if distances.undefined == math.inf else math.nan
    within, total = [], []
    for values, weights in distances._directions:
        close = values <= tolerance_mm
        within.append(np.count_nonzero(close) if weights is None else weights[close].sum())
        total.append(len(values) if weights is None else weights.sum())
    if directed == "mean":
        return float(within[0] / total[0] + within[1] / total[1]) / 2
    return float((within[0] + within[1]) / (total[0] + total[1]))


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many elements of the flat array one voxel along each axis is."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True, eq=False)
class _Surface:
    """The elements of a surface."""

    present: Mask
    """(N,) bool: where they are in the flat array."""
    at: NDArray[np.intp]
    """(n,): the same as indices, increasing."""
    areas: Values | None = None
    """(n,): of surfels; None for voxels."""


def _border_voxels(flat: Mask, shape: tuple[int, ...]) -> _Surface:
    """The voxels of the mask that have a face neighbour outside."""
    inner = flat.copy()
    for step in _steps(shape):  # inner: still inside after a step either way along every axis
        inner[step:] &= flat[:-step]
        inner[:step] = False  # these have no voxel before them: the array's border is outside
        inner[:-step] &= flat[step:]  # the last ones are margin
    present = np.bitwise_xor(flat, inner, out=inner)
    return _Surface(present, np.flatnonzero(present))


def _surfels(flat: Mask, shape: tuple[int, ...], spacing: Spacing) -> _Surface:
    """The corners that carry a surface element. Overwrites `flat`.

    A corner's code has one bit for each of the 2 × 2 × 2 voxels around it. Every axis doubles the voxels that a code
    covers: its bits move up, and the neighbour's bits fill the lower places. Two buffers take turns, because touching
    new memory costs more than the arithmetic.
    """
    codes, scratch = flat.view(np.uint8), np.empty(flat.size, np.uint8)
    for axis, step in enumerate(reversed(_steps(shape))):
        np.multiply(codes, np.uint8(1 << (1 << axis)), out=scratch)
        scratch[step:] |= codes[:-step]
        codes, scratch = scratch, codes
    # surface: neither 0 (all outside) nor all bits (all inside); subtracting 1 wraps 0 to 255, so one comparison does
    np.subtract(codes, np.uint8(1), out=scratch)
    present = np.less(scratch, np.uint8((1 << 2 ** len(shape)) - 2), out=scratch.view(np.bool_))
    at = np.flatnonzero(present)
    return _Surface(present, at, surface_elements(spacing)[codes[at]])


def _nearest(ours: _Surface, theirs: _Surface, shape: tuple[int, ...], spacing: Spacing) -> Values:
    """From each of our elements to the nearest of theirs: (n,) mm, in the order of the flat array."""
    own = ours.at
    if not theirs.at.size:
        return np.full(own.size, math.inf)
    left = np.flatnonzero(~theirs.present[own])  # elements in both surfaces have distance 0
    distances = np.zeros(own.size)
    at, steps = own[left], np.array(_steps(shape))
    for distance, vectors in _shells(spacing):  # the nearest offsets first: the first hit is the distance
        if not left.size:
            return distances
        hit = np.zeros(left.size, bool)
        for offset in (vectors @ steps).tolist():
            hit |= theirs.present[at + offset]
        distances[left[hit]] = distance
        left, at = left[~hit], at[~hit]
    if left.size:
        distances[left] = _far(at, theirs.at, shape, spacing)
    return distances


@lru_cache(maxsize=64)
def _shells(spacing: Spacing) -> tuple[tuple[float, NDArray[np.intp]], ...]:
    """The offsets to all neighbours within the reach, (n, axes), by their length in mm, the shortest first."""
    shells: dict[float, list[tuple[int, ...]]] = {}
    for vector in itertools.product(range(-_REACH, _REACH + 1), repeat=len(spacing)):
        length = math.sqrt(sum((by * step) ** 2 for by, step in zip(vector, spacing, strict=True)))
        # a longer offset might miss a nearer element outside of the tried cube
        if 0 < length <= _REACH * min(spacing):
            shells.setdefault(length, []).append(vector)
    return tuple((length, np.array(shells[length])) for length in sorted(shells))


def _far(own: NDArray[np.intp], others: NDArray[np.intp], shape: tuple[int, ...], spacing: Spacing) -> Values:
    """From each of our elements to the nearest of all of theirs, mm, by a tree."""
    here = np.stack(np.unravel_index(own, shape), axis=1)
    there = np.stack(np.unravel_index(others, shape), axis=1)
    tree = cKDTree(there * np.array(spacing), leafsize=64, balanced_tree=False, compact_nodes=False)
    nearest = tree.query(here * np.array(spacing))[1]
    # computed from whole voxels, so that rounding cannot push a distance over a tolerance that it equals
    return np.sqrt((((here - there[nearest]) * np.array(spacing)) ** 2).sum(axis=1))


def _percentile(values: Values, weights: Values | None, percentile: float) -> float:
    if weights is None:
        return float(np.percentile(values, percentile))
    # the smallest distance up to which the sorted elements hold that share of the area; most distances are 0, and one
    # key is sorted much faster than two
    apart = values > 0
    far, heavy = values[apart], weights[apart]
    order = np.lexsort((heavy, far))
    values = np.concatenate([np.zeros(len(values) - len(far)), far[order]])
    weights = np.concatenate([np.sort(weights[~apart]), heavy[order]])
    share = np.cumsum(weights) / weights.sum()
    return float(values[min(int(np.searchsorted(share, percentile / 100)), len(values) - 1)])


def _mean(values: Values, weights: Values | None) -> float:
    return float(values.mean() if weights is None else (values * weights).sum() / weights.sum())
