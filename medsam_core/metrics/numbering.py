"""The lesions of one mask: its connected components, or the parts that a dilation joins, numbered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam_core.metrics.boxes import Box, cut
from medsam_core.metrics.masks import Mask, Spacing, bounding_box, check_mask
from medsam_core.metrics.surface import Definition, SurfaceDistances, surface_distances


@dataclass(frozen=True, eq=False)
class Numbered:
    """The lesions of one mask, numbered; the arrays cover the box around them, and there is none outside."""

    zones: NDArray[np.int32]
    """1, 2, … in a lesion and its dilation, 0 elsewhere."""
    lesions: NDArray[np.int32]
    """The same inside the mask alone."""
    number: int
    """The largest number; a lesion that was removed leaves a gap."""
    box: Box
    """Where the arrays are in the mask."""

    def whole(self, shape: Sequence[int]) -> Numbered:
        """The same with arrays of the mask's shape."""
        everywhere = tuple(slice(0, length) for length in shape)
        zones, lesions = (cut(array, self.box, everywhere) for array in (self.zones, self.lesions))
        return Numbered(zones, lesions, self.number, everywhere)


def number_lesions(mask: Mask, dilations: int) -> Numbered:
    """The lesions of a mask: its parts, joined where `dilations` dilations join them.

    mask: (D, H, W) bool; may be empty. They are numbered in the order of their first voxels.
    """
    tight = bounding_box(mask) or (slice(0, 1),) * mask.ndim
    box = tuple(
        slice(max(side.start - dilations, 0), min(side.stop + dilations, length))
        for side, length in zip(tight, mask.shape, strict=True)
    )
    inside = np.ascontiguousarray(mask[box])
    zones, number = label_components(dilate(inside, dilations))
    return Numbered(zones, zones * inside if dilations else zones, number, box)


class TruthLesions:
    """The lesions of one truth, numbered once for all predictions that are compared with it."""

    def __init__(self) -> None:
        self._found: dict[int, Numbered] = {}
        self._measured: dict[tuple[int, Definition], tuple[Mask, Mask, Spacing, SurfaceDistances]] = {}

    def distances(
        self, prediction: Mask, truth: Mask, spacing_mm: Spacing, *, definition: Definition, lesion: int = 0
    ) -> SurfaceDistances:
        """As `surface_distances`, which is left out if it measured the same two masks before.

        prediction, truth: (D, H, W) bool, of one lesion or of all (lesion 0). The last two masks of each are kept: one
        lesion often has the same two in several scopes, and a single lesion has those of the whole.
        """
        box = bounding_box(prediction, truth) or (slice(0, 1),) * prediction.ndim
        pair = np.ascontiguousarray(prediction[box]), np.ascontiguousarray(truth[box])
        for (_, same), (*masks, spacing, known) in self._measured.items():
            if same == definition and spacing == spacing_mm and all(map(np.array_equal, masks, pair)):
                return known
        found = surface_distances(*pair, spacing_mm, definition=definition)
        self._measured[lesion, definition] = (*pair, spacing_mm, found)
        return found

    def numbered(self, truth: Mask, dilations: int) -> Numbered:
        """As `number_lesions(truth, dilations)`.

        truth: (D, H, W) bool, with the same lesions at every call, however much background is around them.
        """
        tight = bounding_box(truth)
        if tight is None:
            return number_lesions(truth, dilations)
        if dilations not in self._found:
            self._found[dilations] = number_lesions(np.pad(truth[tight], dilations), dilations)
        found = self._found[dilations]
        # the array may end before the dilation does
        starts = [side.start - dilations for side in tight]
        box = tuple(
            slice(max(start, 0), min(start + length, end))
            for start, length, end in zip(starts, found.zones.shape, truth.shape, strict=True)
        )
        shown = tuple(slice(side.start - at, side.stop - at) for side, at in zip(box, starts, strict=True))
        return in_order(replace(found, zones=found.zones[shown], lesions=found.lesions[shown], box=box))


def in_order(found: Numbered) -> Numbered:
    """The same lesions, numbered in the order of the first voxels of their zones; each has one."""
    if found.number < 2:
        return found
    flat = found.zones.reshape(-1)
    at = np.flatnonzero(flat)
    first = np.zeros(found.number + 1, np.int64)
    first[flat[at[::-1]]] = at[::-1]  # of several values for one place the last one stays
    numbers = np.zeros(found.number + 1, np.int32)
    numbers[1 + np.argsort(first[1:])] = np.arange(1, found.number + 1)
    return replace(found, zones=numbers[found.zones], lesions=numbers[found.lesions])


def label_components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """The connected components of a mask: (int32 of its shape with 1, 2, … inside and 0 outside, their number).

    mask: (D, H, W) bool, 26 neighbours, or (H, W) bool, 8 neighbours; may be empty. Raises MaskError.
    """
    check_mask(mask, "mask")
    labels, number = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, bool))
    return labels, int(number)


def count_components(mask: Mask) -> int:
    """How many connected components a mask has (26 neighbours, 8 in 2-D); 0 for an empty mask.

    mask: (D, H, W) or (H, W) bool. Raises MaskError for an unusable mask.
    """
    check_mask(mask, "mask")
    box = bounding_box(mask)
    return label_components(mask[box])[1] if box else 0


def dilate(mask: Mask, times: int) -> Mask:
    """The mask dilated `times` times with the 18-neighbour element (across faces and edges, not corners).

    mask: (D, H, W) bool; may be empty. The result has the same shape: dilation stops at the array's border.
    """
    if not times:
        return mask
    depth, height, width = (length + 2 * times for length in mask.shape)
    inner = (slice(times, -times),) * 3
    grown = np.zeros((depth, height, width), bool)
    grown[inner] = mask
    # on the flat array a neighbour is a fixed number of elements away: 1, a row or a plane
    flat = grown.reshape(-1)
    plane = height * width
    for _ in range(times):
        # the 18 neighbours are three squares, each spanned by two axes
        along_row, along_column = _spread(flat, 1), _spread(flat, width)
        flat = _spread(along_row, width)
        flat |= _spread(along_row, plane)
        flat |= _spread(along_column, plane)
    return flat.reshape(grown.shape)[inner]


def _spread(flat: Mask, step: int) -> Mask:
    """The mask with the two neighbours at that step added. The margin of `dilate` keeps neighbouring rows apart."""
    spread = flat.copy()
    spread[step:] |= flat[:-step]
    spread[:-step] |= flat[step:]
    return spread
