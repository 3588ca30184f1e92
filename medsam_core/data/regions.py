"""Label conventions, and the three nested tumour regions that each of them defines.

WT (whole tumour) = every tumour label; TC (tumour core) = WT without oedema; ET = enhancing tumour. Sources:
BraTS 2018-2021 (Bakas et al., arXiv 1811.02629; Baid et al., arXiv 2107.02314), BraTS 2023 (the challenge's
preparation of all its cohorts as 1/2/3), BraTS 2024 post-treatment glioma and the later metastasis releases (de Verdier
et al., arXiv 2405.18368: a resection cavity, outside the tumour), BraTS-PEDs 2024 (Kazerooni et al., arXiv 2404.15009),
and dataset.json of the Medical Segmentation Decathlon's Task01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsam_core.errors import LabelError, OptionError

Array = np.ndarray[Any, Any]

REGIONS = ("WT", "TC", "ET")


@dataclass(frozen=True, eq=False)
class LabelConvention:
    """What the values of a label map mean."""

    name: str
    """As the user writes it, one of CONVENTIONS."""
    meanings: Mapping[int, str]
    """Label value -> tissue, without the background 0."""
    regions: Mapping[str, frozenset[int]]
    """"WT", "TC", "ET" -> the label values that make it up."""

    @property
    def known(self) -> frozenset[int]:
        """Every value that may occur, including the background 0."""
        return frozenset(self.meanings) | {0}

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(f'{value} {tissue}' for value, tissue in self.meanings.items())})"


def _convention(
    name: str, meanings: dict[int, str], *, oedema: int, enhancing: int, outside: int = 0
) -> LabelConvention:
    tumour = frozenset(meanings) - {outside}
    regions = {"WT": tumour, "TC": tumour - {oedema}, "ET": frozenset({enhancing})}
    return LabelConvention(name, meanings, regions)


CONVENTIONS: Mapping[str, LabelConvention] = {
    convention.name: convention
    for convention in (
        _convention(
            "brats2019",
            {1: "necrotic and non-enhancing core", 2: "oedema", 4: "enhancing tumour"},
            oedema=2,
            enhancing=4,
        ),
        _convention(
            "brats2023",
            {1: "necrotic and non-enhancing core", 2: "oedema", 3: "enhancing tumour"},
            oedema=2,
            enhancing=3,
        ),
        _convention(
            "brats2024",
            {1: "non-enhancing core", 2: "oedema", 3: "enhancing tumour", 4: "resection cavity, no tumour"},
            oedema=2,
            enhancing=3,
            outside=4,
        ),
        _convention(
            "brats2024-ped",
            {1: "enhancing tumour", 2: "non-enhancing tumour", 3: "cysts", 4: "oedema"},
            oedema=4,
            enhancing=1,
        ),
        _convention(
            "msd",
            {1: "oedema", 2: "non-enhancing tumour", 3: "enhancing tumour"},
            oedema=1,
            enhancing=3,
        ),
    )
}


def convention_named(convention: str | LabelConvention) -> LabelConvention:
    """The convention of that name; a LabelConvention is returned unchanged. Raises OptionError for an unknown name."""
    if isinstance(convention, LabelConvention):
        return convention
    try:
        return CONVENTIONS[convention]
    except KeyError:
        raise OptionError(
            f"label convention {convention!r}: unknown, expected one of {', '.join(CONVENTIONS)}; choose one of these."
        ) from None


def check_labels(labels: Array, convention: str | LabelConvention, *, name: str = "the segmentation") -> None:
    """Raise LabelError for values that the convention does not know: they would be missing from TC and ET.

    labels: integers of any shape; an array without voxels or of zeros passes.
    name: the file, for the error's text. The error names the unknown values and the conventions that know all values.
    """
    convention = convention_named(convention)
    if labels.dtype.kind not in "iu":
        raise LabelError(
            f"{name}: labels of dtype {labels.dtype}, expected integers; read the file with read_labels, which rounds."
        )
    found = _values(labels)
    unknown = sorted(found - convention.known)
    if not unknown:
        return
    fitting = [other.name for other in CONVENTIONS.values() if found <= other.known]
    fix = f"check whether its labels follow {' or '.join(fitting)}" if fitting else "repair the label map"
    raise LabelError(
        f"{name}: unknown label{'s' * (len(unknown) > 1)} {', '.join(map(str, unknown))}, expected the values of "
        f"convention {convention}; {fix}."
    )


def region_mask(labels: Array, region: str, convention: str | LabelConvention) -> Array:
    """The mask of one region: bool, in the shape of `labels`; empty if the region does not occur.

    labels: integers, any shape.
    Raises OptionError for an unknown region or convention, LabelError for an unknown label value.
    """
    convention = convention_named(convention)
    if region not in convention.regions:
        raise OptionError(f"region {region!r}: unknown, expected one of {', '.join(REGIONS)}; choose one of these.")
    check_labels(labels, convention)
    return _mask(labels, convention.regions[region])


def region_masks(labels: Array, convention: str | LabelConvention) -> dict[str, Array]:
    """The masks of WT, TC and ET, in that order; arguments and errors as for `region_mask`."""
    convention = convention_named(convention)
    check_labels(labels, convention)
    return {region: _mask(labels, convention.regions[region]) for region in REGIONS}


def _values(labels: Array) -> set[int]:
    if labels.dtype == np.uint8:  # a histogram is ten times faster than sorting 9 million voxels
        return {int(value) for value in np.flatnonzero(np.bincount(labels.ravel(), minlength=256))}
    return {int(value) for value in np.unique(labels)}


def _mask(labels: Array, values: frozenset[int]) -> Array:
    mask = np.zeros(labels.shape, dtype=np.bool_)
    for value in values:
        mask |= labels == value
    return mask
