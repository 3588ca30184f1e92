"""Distances between the surfaces of two masks: found once, then reduced.

    distances = surface_distances(prediction, truth, spacing_mm)
    hausdorff(distances, 95), nsd(distances, tolerance_mm=1), assd(distances)

Two definitions of a surface: "voxel", the centres of the voxels that a step through a face takes outside (MedPy,
MONAI), and "surfel", elements weighted by their area (DeepMind, BraTS 2023). What lies at the border of the array
is surface in both. When a mask is empty, reducers give inf (0 for NSD), when both are, NaN: profiles say more.
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

Definition = Literal["voxel", "surfel"]
Directed = Literal["pooled", "max"]

_REACH = 3
"""Neighbours up to 3 voxels away are looked up one offset after the other; a tree answers for the few beyond."""
_MARGIN = _REACH + 1
"""Zeros behind each axis, so that no offset from a surface element meets another row of the flat array: a step
back from the first row lands in the zeros of the row before, and from the first of all in those at the end."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From each element of one surface to the nearest of the other.

    to_truth: (n,) float64, mm, from the elements of the prediction; inf where the truth is empty.
    to_prediction: (m,) float64, mm, from the elements of the truth; inf where the prediction is empty.
    prediction_weights, truth_weights: (n,) and (m,) float64, the elements' mm² (mm in 2-D); None: all count alike.
    """

    to_truth: NDArray[np.float64]
    to_prediction: NDArray[np.float64]
    prediction_weights: NDArray[np.float64] | None = None
    truth_weights: NDArray[np.float64] | None = None

    @property
    def undefined(self) -> float | None:
        """NaN when both masks were empty, inf when one was, None when there are distances."""
        if self.to_truth.size and self.to_prediction.size:
            return None
        return math.inf if self.to_truth.size or self.to_prediction.size else math.nan

    @property
    def _directions(self) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64] | None], ...]:
        return (self.to_truth, self.prediction_weights), (self.to_prediction, self.truth_weights)

    @property
    def _pooled(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
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
    definition: "voxel" or "surfel" (see the module).
    Raises MaskError and ShapeMismatch for unusable masks or spacing, OptionError for an unknown definition.
    """
    check_pair(prediction, truth)
    spacing = check_spacing(spacing_mm, prediction.ndim)
    if definition not in ("voxel", "surfel"):
        raise OptionError(f"surface definition: got {definition!r}, expected voxel or surfel; choose one of these.")
    box = bounding_box(prediction, truth)
    if box is None:
        return SurfaceDistances(np.empty(0), np.empty(0))
    shape, flats = _with_margin(box, prediction, truth)
    weights: list[NDArray[np.float64] | None] = [None, None]
    if definition == "voxel":
        ours, theirs = (_border_voxels(flat, shape) for flat in flats)
    else:
        (ours, our_areas), (theirs, their_areas) = (_surfels(flat, shape, spacing) for flat in flats)
        weights = [our_areas, their_areas]
    return SurfaceDistances(
        _nearest(ours, theirs, shape, spacing), _nearest(theirs, ours, shape, spacing), weights[0], weights[1]
    )


def hausdorff(distances: SurfaceDistances, percentile: float = 100, *, directed: Directed = "max") -> float:
    """Hausdorff distance or a percentile of it (95: HD95), mm, 0 or more; inf if one mask is empty, NaN if both.

    percentile: above 0, at most 100. Voxel surfaces interpolate linearly between ranks (numpy, MedPy, MONAI);
        surfels give the smallest distance within which that share of the area lies (DeepMind).
    directed: "max", the larger of the two directions' percentiles (MONAI, DeepMind), or "pooled", the percentile
        of both together (MedPy).
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
    """Average symmetric surface distance, the mean over both surfaces together, mm; inf if one is empty, NaN if both.

    As MedPy's assd and MONAI's SurfaceDistanceMetric(symmetric=True). Source: Maier-Hein, Reinke et al. 2024
    (Metrics Reloaded).
    """
    if distances.undefined is not None:
        return distances.undefined
    return _mean(*distances._pooled)


def masd(distances: SurfaceDistances) -> float:
    """Mean average surface distance, the mean of the two directed means, mm; inf if one is empty, NaN if both.

    Source: Maier-Hein, Reinke et al. 2024 (Metrics Reloaded).
    """
    if distances.undefined is not None:
        return distances.undefined
    return sum(_mean(*direction) for direction in distances._directions) / 2


def nsd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice: the share of both surfaces within the tolerance of the other, in [0, 1].

    tolerance_mm: 0 or more. At one voxel's width the definitions of a surface disagree most: report two of them.
    0 if one mask is empty, NaN if both are. Source: Nikolov et al. 2018.
    Raises MaskError for a tolerance below 0, NaN or infinite.
    """
    if not 0 <= tolerance_mm < math.inf:
        raise MaskError(f"tolerance_mm: got {tolerance_mm}, expected a finite number of 0 or more; give millimetres.")
    if distances.undefined is not None:
        return 0.0 if distances.undefined == math.inf else math.nan
    within, total = 0.0, 0.0
    for values, weights in distances._directions:
        close = values <= tolerance_mm
        within += np.count_nonzero(close) if weights is None else weights[close].sum()
        total += len(values) if weights is None else weights.sum()
    return float(within / total)


def _with_margin(box: tuple[slice, ...], *masks: Mask) -> tuple[tuple[int, ...], list[Mask]]:
    """The box of every mask as a flat array with zeros behind each axis, and the shape that it had before."""
    shape = tuple(side.stop - side.start + _MARGIN for side in box)
    flats = []
    for mask in masks:
        padded = np.zeros(shape, bool)
        padded[tuple(slice(length - _MARGIN) for length in shape)] = mask[box]
        flats.append(padded.reshape(-1))
    return shape, flats


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How far one voxel along each axis is in the flat array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True, eq=False)
class _Surface:
    """Elements of a surface: where they are in the flat array, and the same as indices in increasing order."""

    present: Mask
    at: NDArray[np.intp]


def _border_voxels(flat: Mask, shape: tuple[int, ...]) -> _Surface:
    inner = flat.copy()
    for step in _steps(shape):
        inner[step:] &= flat[:-step]
        inner[:step] = False
        inner[:-step] &= flat[step:]
    present = np.bitwise_xor(flat, inner, out=inner)
    return _Surface(present, np.flatnonzero(present))


def _surfels(flat: Mask, shape: tuple[int, ...], spacing: Spacing) -> tuple[_Surface, NDArray[np.float64]]:
    """The corners that carry a surface element, and the area of each. What `flat` held is lost.

    Two buffers take turns: touching fresh memory costs more than the arithmetic.
    """
    codes, scratch = flat.view(np.uint8), np.empty(flat.size, np.uint8)
    for axis, step in enumerate(reversed(_steps(shape))):
        np.multiply(codes, np.uint8(1 << (1 << axis)), out=scratch)
        scratch[step:] |= codes[:-step]
        codes, scratch = scratch, codes
    np.subtract(codes, np.uint8(1), out=scratch)  # 0, nothing inside, wraps to 255
    present = np.less(scratch, np.uint8((1 << 2 ** len(shape)) - 2), out=scratch.view(np.bool_))
    at = np.flatnonzero(present)
    return _Surface(present, at), surface_elements(spacing)[codes[at]]


def _nearest(ours: _Surface, theirs: _Surface, shape: tuple[int, ...], spacing: Spacing) -> NDArray[np.float64]:
    """From each of our elements to the nearest of theirs, mm, in the order of the flat array."""
    own = ours.at
    if not theirs.at.size:
        return np.full(own.size, math.inf)
    left = np.flatnonzero(~theirs.present[own])  # the others coincide: distance 0
    distances = np.zeros(own.size)
    at = own[left]
    for distance, vectors in _shells(spacing):
        if not left.size:
            return distances
        hit = np.zeros(left.size, bool)
        for vector in vectors:
            hit |= theirs.present[at + sum(by * along for by, along in zip(vector, _steps(shape), strict=True))]
        distances[left[hit]] = distance
        left, at = left[~hit], at[~hit]
    if left.size:
        distances[left] = _far(at, theirs.at, shape, spacing)
    return distances


@lru_cache(maxsize=64)
def _shells(spacing: Spacing) -> tuple[tuple[float, tuple[tuple[int, ...], ...]], ...]:
    """The steps to all neighbours within the reach by their length in mm, the nearest first."""
    shells: dict[float, list[tuple[int, ...]]] = {}
    for vector in itertools.product(range(-_REACH, _REACH + 1), repeat=len(spacing)):
        length = math.sqrt(sum((by * step) ** 2 for by, step in zip(vector, spacing, strict=True)))
        if 0 < length <= _REACH * min(spacing):
            shells.setdefault(length, []).append(vector)
    return tuple((length, tuple(shells[length])) for length in sorted(shells))


def _far(
    own: NDArray[np.intp], others: NDArray[np.intp], shape: tuple[int, ...], spacing: Spacing
) -> NDArray[np.float64]:
    here = np.stack(np.unravel_index(own, shape), axis=1)
    there = np.stack(np.unravel_index(others, shape), axis=1)
    tree = cKDTree(there * np.array(spacing), leafsize=64, balanced_tree=False, compact_nodes=False)
    nearest = tree.query(here * np.array(spacing))[1]
    # from whole voxels again, so that rounding cannot push a distance over a tolerance that it equals
    return np.sqrt((((here - there[nearest]) * np.array(spacing)) ** 2).sum(axis=1))


def _percentile(values: NDArray[np.float64], weights: NDArray[np.float64] | None, percentile: float) -> float:
    if weights is None:
        return float(np.percentile(values, percentile))
    order = np.lexsort((weights, values))
    share = np.cumsum(weights[order]) / weights[order].sum()
    return float(values[order[min(int(np.searchsorted(share, percentile / 100)), len(order) - 1)]])


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    return float(values.mean() if weights is None else (values * weights).sum() / weights.sum())
