"""The varied cohort: six phantoms that differ from one another as the files of real cohorts do.

A cohort of equal volumes hides faults: a wrong axis does not show in cubes, a tracker that stops early does not show in
short volumes, and masks missing at the ends do not show where no tumour reaches the ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medsam_core.modalities import MODALITIES

FILES = (*MODALITIES, "seg")
NAMES_2023 = {"t1ce": "t1c", "t1": "t1n", "t2": "t2w", "flair": "t2f", "seg": "seg"}
"""How a file of each kind is called since BraTS 2023."""


@dataclass(frozen=True)
class Form:
    """The grid and the files of one phantom."""

    index: int
    """Which subject of the seed it is, from 0."""
    size: tuple[int, int, int]
    """(D, H, W) of the whole field of view, 155 × 240 × 240 mm."""
    margin: int | None = None
    """How many slices are kept below and above the tumour; negative cuts into it; None keeps all of them."""
    axes: str = "LPS"
    """Where the axes of the array on disk point, in their order, as in `nibabel.aff2axcodes`."""
    background: int = 0
    """The value outside the brain."""
    year: int = 2018
    """Whose file names and label values it has: those of BraTS 2018 (ET is 4) or of BraTS 2023 (ET is 3)."""

    def subject(self, seed: int) -> str:
        """The id, such as Phantom_s19_0003, or Phantom-s19-0005 in the form of 2023."""
        return f"Phantom-s{seed}-{self.index:04d}" if self.year == 2023 else f"Phantom_s{seed}_{self.index:04d}"

    def file(self, subject: str, kind: str) -> str:
        """The name of a file. kind: one of FILES."""
        return f"{subject}-{NAMES_2023[kind]}.nii.gz" if self.year == 2023 else f"{subject}_{kind}.nii.gz"

    def labels(self, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A label map 0/1/2/4 with the values of this form's year."""
        return np.where(labels == 4, 3, labels).astype(np.uint8) if self.year == 2023 else labels

    def image(self, voxels: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """An image with this form's background in place of 0."""
        return np.where(voxels == 0, np.int16(self.background), voxels) if self.background else voxels

    def slices(self, labels: npt.NDArray[np.uint8]) -> slice:
        """The slices of a label map (D, H, W) that are kept, at least 16."""
        depth = len(labels)
        if self.margin is None:
            return slice(0, depth)
        ill = np.flatnonzero(labels.any(axis=(1, 2)))
        first, last = int(ill[0]) - self.margin, int(ill[-1]) + self.margin
        short = max(0, 16 - (last - first + 1))
        first, last = first - short // 2, last + short - short // 2
        return slice(max(0, first), min(depth, last + 1))

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape on disk may be of this form; the number of slices is unknown after a cut."""
        if len(shape) != 3:
            return False
        place = {code: shape[axis] for axis, code in enumerate(self.axes)}
        found = [next(place[code] for code in pair if code in place) for pair in ("IS", "AP", "RL")]
        kept = 1 if self.margin is not None else 0
        return found[kept:] == list(self.size[kept:])


VARIED = (
    Form(24, (40, 160, 160)),
    # voxels thinner than wide: the tumour covers some hundred slices
    Form(7, (248, 128, 128), margin=10),
    Form(26, (40, 160, 160), axes="SRA"),
    # the volume ends within the tumour, as a slab does
    Form(9, (90, 144, 192), margin=-9),
    Form(4, (40, 160, 160), background=-200),
    Form(35, (32, 160, 160), year=2023),
)
"""The first six subjects of the varied cohort. Which subject of the seed has which form was chosen such that no Dice
depends on rounding."""
MORE = 60
"""The index of the seventh subject of the varied cohort; subject i ≥ 60 has the form in row i modulo 6."""


def forms(subjects: int, size: tuple[int, int, int] | None) -> tuple[Form, ...]:
    """The forms of a cohort. size: (D, H, W) of all subjects, then as in BraTS; None for the varied cohort."""
    if size is not None:
        return tuple(Form(index, size) for index in range(subjects))
    more = (replace(VARIED[index % 6], index=index) for index in range(MORE, MORE + subjects - 6))
    return (*VARIED[:subjects], *more)
