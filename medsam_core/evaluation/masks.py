"""The masks of a subject's cases. Those of noisy prompts, of which there may be hundreds, take a bit for each voxel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from medsam_core.cases import Case


class Masks(Mapping[Case, np.ndarray]):
    """Case → (D, H, W) bool. The mask of a case with noise is packed, and unpacked at every look."""

    def __init__(self, shape: tuple[int, int, int], cases: Iterable[Case]) -> None:
        """Empty masks of (D, H, W) voxels for the cases."""
        self._shape = shape
        self._masks = {case: self._stored(case, np.zeros(shape, bool)) for case in cases}

    def add(self, case: Case, mask: np.ndarray) -> None:
        """Set the voxels of `mask`, (D, H, W) bool, in the case's mask, too."""
        self._masks[case] |= self._stored(case, mask)

    def __getitem__(self, case: Case) -> np.ndarray:
        mask = self._masks[case]
        return np.unpackbits(mask, axis=-1, count=self._shape[-1]).view(bool) if case.noise else mask

    def __iter__(self) -> Iterator[Case]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def _stored(self, case: Case, mask: np.ndarray) -> np.ndarray:
        return np.packbits(mask, axis=-1) if case.noise else mask
