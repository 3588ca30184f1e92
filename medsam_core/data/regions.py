"""Label conventions, the three nested tumour regions that they define, and the tissues that are regions of their own.

WT (whole tumour) = every tumour label; TC (tumour core) = WT without oedema; ET = enhancing tumour. Sources:
BraTS 2018-2021 (Bakas et al., arXiv 1811.02629; Baid et al., arXiv 2107.02314), BraTS 2023 (the challenge's
preparation of all its cohorts as 1/2/3), BraTS 2024 post-treatment glioma and the later metastasis releases (de Verdier
et al., arXiv 2405.18368: a resection cavity, outside the tumour), BraTS-PEDs 2024 (Kazerooni et al., arXiv 2404.15009),
dataset.json of the Medical Segmentation Decathlon's Task01, BraTS-MEN-RT 2024 (LaBella et al., arXiv 2405.18383: the
gross tumour volume alone) and HD-GLIO (Kickingereder et al., Lancet Oncology 2019), whose necrosis belongs to no label.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsam_core.errors import LabelError, OptionError
from medsam_core.metrics.masks import bounding_box

Array = np.ndarray[Any, Any]

NESTED = ("WT", "TC", "ET")
REGIONS = (*NESTED, "NETC", "SNFH", "RC", "CC", "ED", "GTV")
"""NETC non-enhancing core, SNFH the hyperintensity in FLAIR around it, RC resection cavity, CC cysts, ED oedema, GTV
gross tumour volume: as BraTS has named its tissues since 2024. Each convention has some of them."""


@dataclass(frozen=True, eq=False)
class LabelConvention:
    """What the values of a label map mean."""

    name: str
    """As the user writes it, one of CONVENTIONS."""
    meanings: Mapping[int, str]
    """Label value -> tissue, without the background 0."""
    regions: Mapping[str, frozenset[int]]
    """One of REGIONS -> the label values that make it up; a region that the labels cannot give is not a key."""

    @property
    def known(self) -> frozenset[int]:
        """Every value that may occur, including the background 0."""
        return frozenset(self.meanings) | {0}

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(f'{value} {tissue}' for value, tissue in self.meanings.items())})"


_CORE, _OEDEMA, _ENHANCING = "necrotic and non-enhancing core", "oedema", "enhancing tumour"
_CAVITY, _TUMOUR = "resection cavity, no tumour", "tumour"

TISSUES = {"core": _CORE, "oedema": _OEDEMA, "enhancing": _ENHANCING, "cavity": _CAVITY, "tumour": _TUMOUR}
"""Short name, as in `1=oedema,2=core,3=enhancing`, -> tissue. "tumour" is all of it, where the labels tell no parts."""
TISSUE_REGIONS: Mapping[str, Mapping[str, int]] = {
    "brats2019": {"NETC": 1, "ED": 2},
    "brats2023": {"NETC": 1, "SNFH": 2},
    "brats2024": {"NETC": 1, "SNFH": 2, "RC": 4},
    "brats2024-ped": {"NETC": 2, "CC": 3, "ED": 4},
    "msd": {"NETC": 2, "ED": 1},
    "brats-men-rt": {"GTV": 1},
}
"""By convention: the regions that are one tissue, and its label."""


def convention_of(name: str, meanings: Mapping[int, str], without: Collection[str] = ()) -> LabelConvention:
    """The convention with the regions that follow from its tissues.

    meanings: label value -> tissue. without: regions that its labels cannot give although the tissues look like it.
    """
    whole = frozenset(value for value, tissue in meanings.items() if tissue != _CAVITY)
    core = frozenset(value for value in whole if meanings[value] != _OEDEMA)
    enhancing = frozenset(value for value in core if meanings[value] == _ENHANCING)
    regions = {"WT": whole, "TC": core, "ET": enhancing}
    absent = {"TC", "ET"} if _TUMOUR in meanings.values() or not enhancing else set(without)
    tissues = {region: frozenset({value}) for region, value in TISSUE_REGIONS.get(name, {}).items()}
    return LabelConvention(name, meanings, {key: regions[key] for key in regions if key not in absent} | tissues)


CONVENTIONS: Mapping[str, LabelConvention] = {
    name: convention_of(name, meanings, without={"TC"} if name == "hd-glio" else ())
    for name, meanings in {
        "brats2019": {1: _CORE, 2: _OEDEMA, 4: _ENHANCING},
        "brats2023": {1: _CORE, 2: _OEDEMA, 3: _ENHANCING},
        "brats2024": {1: "non-enhancing core", 2: _OEDEMA, 3: _ENHANCING, 4: _CAVITY},
        "brats2024-ped": {1: _ENHANCING, 2: "non-enhancing tumour", 3: "cysts", 4: _OEDEMA},
        "msd": {1: _OEDEMA, 2: "non-enhancing tumour", 3: _ENHANCING},
        "brats-men-rt": {1: _TUMOUR},
        "hd-glio": {1: _OEDEMA, 2: _ENHANCING},
    }.items()
}
"""Every convention by its name: each label value with its tissue, from which the regions follow."""


def convention_named(convention: str | LabelConvention) -> LabelConvention:
    """The convention of that name; a LabelConvention is returned unchanged.

    convention: one of CONVENTIONS, or the labels themselves, such as "1=oedema,2=core,3=enhancing" (see TISSUES).
    Raises OptionError for an unknown name.
    """
    if isinstance(convention, LabelConvention):
        return convention
    if convention in CONVENTIONS:
        return CONVENTIONS[convention]
    parts = [part.strip().split("=") for part in convention.split(",")]
    if all(len(part) == 2 and part[0].isdecimal() and part[1] in TISSUES for part in parts):
        meanings = {int(value): TISSUES[tissue] for value, tissue in parts}
        if len(meanings) == len(parts) and all(0 < value < 256 for value in meanings):
            return convention_of(convention, meanings)
    raise OptionError(
        f"label convention {convention!r}: unknown, expected one of {', '.join(CONVENTIONS)}, or values from 1 to 255 "
        f"with their tissues ({', '.join(TISSUES)}) such as 1=oedema,2=core,3=enhancing; choose one of these."
    )


def check_labels(labels: Array, convention: str | LabelConvention, *, name: str = "the segmentation") -> None:
    """Raise LabelError for values that the convention does not know: they would be missing from TC and ET.

    labels: integers of any shape; an array without voxels or of zeros passes.
    name: the file, for the error's text. The error names the unknown values and the conventions that know all values.
    """
    _checked(labels, convention_named(convention), name)


def _checked(labels: Array, convention: LabelConvention, name: str) -> tuple[tuple[slice, ...], Array]:
    """The box around all labels, and what is in it: a tumour fills a twentieth of a volume. Raises LabelError."""
    if labels.dtype.kind not in "iu":
        raise LabelError(f"{name}: labels of dtype {labels.dtype}, expected integers; read the file with read_labels.")
    box: tuple[slice, ...] = ()
    if labels.ndim:
        box = bounding_box(labels != 0) or (slice(0),) * labels.ndim
    inside = labels[box]
    unfamiliar = inside != 0
    for value in convention.meanings:  # a few comparisons are faster than a list of all values
        unfamiliar &= inside != value
    if not unfamiliar.any():
        return box, inside
    found = set(np.unique(inside).tolist())
    unknown = sorted(found - convention.known)
    fitting = _fitting(found, convention)
    fix = "repair the label map, or check that it is the segmentation"
    if fitting:
        fix = f"if its labels follow {' or '.join(fitting)}, give that with --labels (in pytest --medsam-labels)"
    raise LabelError(
        f"{name}: unknown label{'s' * (len(unknown) > 1)} {', '.join(map(str, unknown))}, expected the values of "
        f"convention {convention}; {fix}."
    )


def _fitting(found: set[int], wrong: LabelConvention) -> list[str]:
    """The conventions to offer for these values: none that leaves ET out, and one of those that mean the same by them.

    Children's labels are offered only in place of children's labels, as any values from 1 to 4 would fit them.
    """
    meanings: dict[tuple[frozenset[int], ...], str] = {}
    for other in CONVENTIONS.values():
        enhancing = other.regions.get("ET", frozenset()) & found
        if found <= other.known and enhancing and other.name.endswith("ped") <= wrong.name.endswith("ped"):
            nested = tuple(other.regions.get(region, frozenset()) & found for region in NESTED)
            meanings.setdefault(nested, other.name)
    return list(meanings.values())


def region_mask(labels: Array, region: str, convention: str | LabelConvention) -> Array:
    """The mask of one region: bool, in the shape of `labels`; empty if the region does not occur.

    labels: integers, any shape.
    Raises OptionError for an unknown region or convention, LabelError for an unknown label value.
    """
    convention = convention_named(convention)
    if region not in REGIONS:
        raise OptionError(f"region {region!r}: unknown, expected one of {', '.join(REGIONS)}; choose one of these.")
    if region not in convention.regions:
        raise OptionError(
            f"region {region}: not among the labels of {convention}, expected {' or '.join(convention.regions)}; "
            "choose these with --medsam-regions."
        )
    box, inside = _checked(labels, convention, "the segmentation")
    mask = np.zeros(labels.shape, dtype=np.bool_)
    for value in convention.regions[region]:
        mask[box] |= inside == value
    return mask


def region_masks(labels: Array, convention: str | LabelConvention) -> dict[str, Array]:
    """The masks of WT, TC and ET, in that order, as far as the labels give them; otherwise as `region_mask`."""
    regions = convention_named(convention).regions
    return {region: region_mask(labels, region, convention) for region in NESTED if region in regions}
