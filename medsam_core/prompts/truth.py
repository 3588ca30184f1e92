"""A `Truth`: the true mask of one region, with what its prompts and scores share. No torch."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from medsam_core.metrics.masks import bounding_box
from medsam_core.metrics.numbering import TruthLesions, label_components


class Truth:
    """The true mask of a region; what several cases need of it is found on first use and kept."""

    mask: np.ndarray
    """(D, H, W) bool; may be empty. It must not change."""

    def __init__(self, mask: np.ndarray) -> None:
        """mask: (D, H, W); what is not bool counts where it is not 0."""
        self.mask = mask if mask.dtype == np.bool_ else mask != 0
        self._lesions: dict[tuple[int, ...], TruthLesions] = {}

    @classmethod
    def of(cls, mask: np.ndarray | Truth) -> Truth:
        """A mask as a Truth; a Truth is returned unchanged."""
        return mask if isinstance(mask, Truth) else cls(np.asarray(mask))

    @cached_property
    def areas(self) -> np.ndarray:
        """(D,) int64: the voxels of each slice."""
        return slice_areas(self.mask)

    @cached_property
    def slices(self) -> np.ndarray:
        """The indices of the slices where the region exists, increasing."""
        return np.flatnonzero(self.areas)

    @cached_property
    def box(self) -> tuple[slice, ...] | None:
        """The smallest box around the region, (z, y, x); None if it is empty."""
        return bounding_box(self.mask)

    def lesions_on(self, slices: np.ndarray | slice) -> TruthLesions:
        """The lesions on some slices put one after another, or in the volume, where slices between them count."""
        if isinstance(slices, slice):
            occupied = self.slices[[0, -1]].tolist() if self.slices.size else [0, -1]
            slices = np.arange(occupied[0], occupied[1] + 1)
        return self._lesions.setdefault(tuple(slices.tolist()), TruthLesions())

    @cached_property
    def components(self) -> tuple[np.ndarray, int]:
        """The 26-connected components inside the box, as `label_components` gives them, and how many there are."""
        return label_components(self.mask[self.box]) if self.box else (np.zeros((0, 0, 0), np.int32), 0)


def slice_areas(mask: np.ndarray) -> np.ndarray:
    """(D,) int64: the voxels of each slice. mask: (D, H, W) bool."""
    # numpy counts one slice after the other several times faster than with an axis
    return np.array([np.count_nonzero(plane) for plane in mask], np.int64)
