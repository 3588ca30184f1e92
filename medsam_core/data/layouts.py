"""What names mean: the modality of a file; the data set, label convention and site of a subject. No disk access.

Sources: the released folders of BraTS 2018-2021 and 2023-2025, their Kaggle copies, and MSD Task01_BrainTumour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from medsam_core.errors import OptionError
from medsam_core.modalities import MODALITIES

_SYNONYMS = {
    "t1": "t1", "t1n": "t1", "t1w": "t1",
    "t1ce": "t1ce", "t1c": "t1ce", "t1gd": "t1ce",
    "t2": "t2", "t2w": "t2",
    "flair": "flair", "t2f": "flair",
}  # fmt: skip

GRADES = ("HGG", "LGG")

MSD_CHANNELS = {"flair": 0, "t1": 1, "t1ce": 2, "t2": 3}  # dataset.json of Task01_BrainTumour: FLAIR, T1w, T1gd, T2w
MSD_IMAGE = re.compile(r"BRATS_\d+\.nii(\.gz)?", re.IGNORECASE)

KNOWN_LAYOUTS = (
    "BraTS 2018-2020 (<id>/<id>_t1ce.nii.gz, with or without HGG and LGG above), "
    "BraTS 2021 (BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz), "
    "BraTS 2023-2025 (BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz) and "
    "MSD Task01_BrainTumour (imagesTr/BRATS_001.nii.gz next to labelsTr)"
)

# longest suffix first, so that t1ce is not read as t1; a name may also be a modality alone
_FILE = re.compile(
    rf"(?:(?P<stem>.+)[_-])?(?P<suffix>{'|'.join(sorted([*_SYNONYMS, 'seg'], key=len, reverse=True))})\.nii(?:\.gz)?",
    re.IGNORECASE,
)
_ODD_SEGMENTATION = re.compile(r"(?P<stem>.*?)[_-]?segm?(?:entation)?\.nii(?:\.gz)?", re.IGNORECASE)
NIFTI = re.compile(r".+\.nii(\.gz)?", re.IGNORECASE)
_SITE = re.compile(r"brats1\d_(?P<site>2013|[A-Za-z]+\d{0,2})_.+", re.IGNORECASE)
_MODERN = re.compile(r"brats-(?P<cohort>[A-Za-z]+)-", re.IGNORECASE)
_POST_TREATMENT = re.compile(r"brats-gli-\d{5}-[1-9]\d\d", re.IGNORECASE)
_RELEASE = re.compile(r"brats(?:-?peds?)?-?(?:20)?(?P<year>2[3-9])(?!\d)", re.IGNORECASE)
SUBJECT = re.compile(r"brats(1\d|20)_|brats2021_\d|brats-[A-Za-z]+(-[A-Za-z]+)?-\d", re.IGNORECASE)
_UNFINISHED = re.compile(r"(?P<name>.+)\.(part|partial|filepart|crdownload|download|tmp)", re.IGNORECASE)
DOCUMENT = re.compile(
    r".+\.(csv|tsv|txt|md|rst|pdf|docx?|xlsx?|ods|json|ya?ml|xml|html?|png|jpe?g|svg|py|ipynb|sh|log)"
    r"|readme|licen[cs]e|copying|changes|notice",
    re.IGNORECASE,
)
"""A table, a text or a picture, such as released archives have next to their subjects."""
_YEARS = (("brats2021_", "brats2021"), ("brats20_", "brats2020"), ("brats19_", "brats2019"))


@dataclass(frozen=True)
class FileName:
    """The parts of a file's name."""

    stem: str
    """The subject's part; "" if there is none."""
    kind: str
    """The modality, or "seg"."""
    modern: bool
    """Whether the modality is spelled as in BraTS 2023 and later (t1n, t1c, t2w, t2f)."""


def canonical_modality(name: str) -> str:
    """ "t1", "t1ce", "t2" or "flair" for any name in use (t1c, T1gd, t2w, t2f …). Raises OptionError for others."""
    if name.lower() not in _SYNONYMS:
        raise OptionError(f"modality {name!r}: unknown, expected one of {', '.join(MODALITIES)}; choose one of these.")
    return _SYNONYMS[name.lower()]


def parse(name: str) -> FileName | None:
    """Split a file's name, ignoring case; None if it names neither a modality nor a segmentation."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    suffix = match["suffix"].lower()
    return FileName(match["stem"] or "", _SYNONYMS.get(suffix, "seg"), suffix in ("t1n", "t1c", "t2w", "t2f"))


def when_finished(name: str) -> str:
    """The name of a file after its download: `a_t1.nii.gz` for `a_t1.nii.gz.part`; "" for a finished file."""
    match = _UNFINISHED.fullmatch(name)
    return match["name"] if match else ""


def is_odd_segmentation(name: str, subject: str) -> bool:
    """Whether a file that `parse` does not recognise may be this subject's segmentation.

    BraTS20_Training_355 has its segmentation as W39_1998.09.19_Segm.nii. `<subject>_something_seg.nii` is not one:
    such names are usual for predictions.
    """
    match = _ODD_SEGMENTATION.fullmatch(name)
    if match is None:
        return False
    stem = match["stem"].lower()
    return stem == subject.lower() or not stem.startswith(subject.lower())


def layout_of(subject: str, *, modern: bool) -> str:
    """The data set's name: brats2018 … brats2021 or brats2023 (2023 to 2025 share one layout).

    modern: whether the files are named t1n, t1c, t2w, t2f; it decides where the subject's name says nothing.
    """
    by_files = "brats2023" if modern or _MODERN.match(subject) else "brats2018"
    return next((layout for beginning, layout in _YEARS if subject.lower().startswith(beginning)), by_files)


def convention_of(subject: str, layout: str, folders: Iterable[str]) -> str | None:
    """The name of the label convention, or None where the names do not determine it.

    folders: the names of the folders above the subject, nearest first. They decide for BraTS-PED only: its 2023
    release uses 1/2/3 like the adult cohorts, later releases use other values under the same subject names.
    """
    if layout != "brats2023":
        return "brats2019"
    match = _MODERN.match(subject)
    cohort = match["cohort"].lower() if match else ""
    if cohort == "ped":
        release = next(filter(None, map(_RELEASE.search, folders)), None)
        if release is None:
            return None
        return "brats2023" if release["year"] == "23" else "brats2024-ped"
    # time points from 100 on are post-treatment gliomas; since 2025 metastases may have a resection cavity
    return "brats2024" if cohort == "met" or _POST_TREATMENT.match(subject) else "brats2023"


def site_of(subject: str) -> str | None:
    """The contributing site, which BraTS 2017-2019 has in the id (CBICA, TCIA01, TMC, 2013 …); None elsewhere."""
    match = _SITE.fullmatch(subject)
    return match["site"] if match else None
