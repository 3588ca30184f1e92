"""What names tell: the modality of a file, and the data set, label convention and site of a subject. No disk access.

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

MSD_CHANNELS = {"flair": 0, "t1": 1, "t1ce": 2, "t2": 3}  # dataset.json of Task01_BrainTumour: FLAIR, T1w, T1gd, T2w
MSD_IMAGE = re.compile(r"BRATS_\d+\.nii(\.gz)?", re.IGNORECASE)

KNOWN_LAYOUTS = (
    "BraTS 2018-2020 (<id>/<id>_t1ce.nii.gz, with or without HGG and LGG above), "
    "BraTS 2021 (BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz), "
    "BraTS 2023-2025 (BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz) and "
    "MSD Task01_BrainTumour (imagesTr/BRATS_001.nii.gz beside labelsTr)"
)

# longest suffix first, so that t1ce is not read as t1; a file may also be called by its modality alone
_FILE = re.compile(
    rf"(?:(?P<stem>.+)[_-])?(?P<suffix>{'|'.join(sorted([*_SYNONYMS, 'seg'], key=len, reverse=True))})\.nii(?:\.gz)?",
    re.IGNORECASE,
)
_ODD_SEGMENTATION = re.compile(r"(?P<stem>.*?)[_-]?segm?(?:entation)?\.nii(?:\.gz)?", re.IGNORECASE)
_NIFTI = re.compile(r".+\.nii(\.gz)?", re.IGNORECASE)
_SITE = re.compile(r"brats1\d_(?P<site>2013|[A-Za-z]+\d{0,2})_.+", re.IGNORECASE)
_MODERN = re.compile(r"brats-(?P<cohort>[A-Za-z]+)-", re.IGNORECASE)
_POST_TREATMENT = re.compile(r"brats-gli-\d{5}-[1-9]\d\d", re.IGNORECASE)
_RELEASE = re.compile(r"brats(?:-?peds?)?-?(?:20)?(?P<year>2[3-9])(?!\d)", re.IGNORECASE)
_SUBJECT = re.compile(r"brats(1\d|20)_|brats2021_\d|brats-[A-Za-z]+(-[A-Za-z]+)?-\d", re.IGNORECASE)
_UNFINISHED = re.compile(r"(?P<name>.+)\.(part|partial|filepart|crdownload|download|tmp)", re.IGNORECASE)
_DOCUMENT = re.compile(
    r".+\.(csv|tsv|txt|md|rst|pdf|docx?|xlsx?|ods|json|ya?ml|xml|html?|png|jpe?g|svg|py|ipynb|sh|log)"
    r"|readme|licen[cs]e|copying|changes|notice",
    re.IGNORECASE,
)
_YEARS = (("brats2021_", "brats2021"), ("brats20_", "brats2020"), ("brats19_", "brats2019"))


@dataclass(frozen=True)
class FileName:
    """A name taken apart: the subject's part ("" where there is none) and the modality, or "seg"."""

    stem: str
    kind: str
    modern: bool


def canonical_modality(name: str) -> str:
    """ "t1", "t1ce", "t2" or "flair" for any name in use (t1c, T1gd, t2w, t2f …). Raises OptionError for others."""
    try:
        return _SYNONYMS[name.lower()]
    except KeyError:
        raise OptionError(
            f"modality {name!r}: unknown, expected one of {', '.join(MODALITIES)}; choose one of these."
        ) from None


def parse(name: str) -> FileName | None:
    """Take a file's name apart, without regard to case; None if it names no modality and no segmentation."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    suffix = match["suffix"].lower()
    return FileName(match["stem"] or "", _SYNONYMS.get(suffix, "seg"), suffix in ("t1n", "t1c", "t2w", "t2f"))


def is_nifti(name: str) -> bool:
    """Whether the name ends as a NIfTI file's does."""
    return _NIFTI.fullmatch(name) is not None


def when_finished(name: str) -> str | None:
    """What a file will be called when its download has ended: `a_t1.nii.gz` for `a_t1.nii.gz.part`; None for others."""
    match = _UNFINISHED.fullmatch(name)
    return match["name"] if match else None


def is_document(name: str) -> bool:
    """Whether a file is a table, a text or a picture, as they lie beside the subjects in released archives."""
    return _DOCUMENT.fullmatch(name) is not None


def is_subject_name(name: str) -> bool:
    """Whether a folder is called as BraTS calls its subjects."""
    return _SUBJECT.match(name) is not None


def is_odd_segmentation(name: str, subject: str) -> bool:
    """Whether a file that `parse` does not know may be this subject's segmentation.

    BraTS20_Training_355 ships its own as W39_1998.09.19_Segm.nii. `<subject>_something_seg.nii` is refused: that is
    how people call their predictions.
    """
    match = _ODD_SEGMENTATION.fullmatch(name)
    if match is None:
        return False
    stem = match["stem"].lower()
    return stem == subject.lower() or not stem.startswith(subject.lower())


def layout_of(subject: str, *, modern: bool) -> str:
    """The data set's name: brats2018 … brats2021 or brats2023 (2023 to 2025 share one layout).

    modern: the files are called t1n, t1c, t2w, t2f; it decides for subjects whose own name says nothing.
    """
    lowered = subject.lower()
    for beginning, layout in _YEARS:
        if lowered.startswith(beginning):
            return layout
    return "brats2023" if modern or _MODERN.match(subject) else "brats2018"


def convention_of(subject: str, layout: str, folders: Iterable[str]) -> str | None:
    """The name of the label convention, or None where names cannot tell.

    folders: the names above the subject, nearest first. They decide for BraTS-PED only: its 2023 release uses
    1/2/3 as the adults do, those from 2024 on other values under the same subject names.
    """
    if layout != "brats2023":
        return "brats2019"
    match = _MODERN.match(subject)
    cohort = match["cohort"].lower() if match else ""
    if cohort == "ped":
        for folder in folders:
            release = _RELEASE.search(folder)
            if release is not None:
                return "brats2023" if release["year"] == "23" else "brats2024-ped"
        return None
    # post-treatment gliomas are numbered from time point 100 on; metastases may hold a resection cavity since 2025
    return "brats2024" if cohort == "met" or _POST_TREATMENT.match(subject) else "brats2023"


def site_of(subject: str) -> str | None:
    """The contributing site as BraTS 2017-2019 names it in the id (CBICA, TCIA01, TMC, 2013 …), else None."""
    match = _SITE.fullmatch(subject)
    return match["site"] if match else None
