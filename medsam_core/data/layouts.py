"""What names mean: the modality of a file; the data set, label convention and site of a subject. No disk access.

Sources: the released folders of BraTS 2018-2021 and 2023-2025, their Kaggle copies, MSD Task01_BrainTumour, and the
pages and scripts of the other data sets in LAYOUTS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from medsam_core.errors import OptionError
from medsam_core.modalities import MODALITIES


@dataclass(frozen=True)
class Layout:
    """A data set that is recognised by its subjects' ids."""

    name: str
    subject: str
    """How a subject's id begins: a regular expression, in any case."""
    convention: str | None
    """The label convention, one of `regions.CONVENTIONS`; None where the id alone does not say it."""
    example: str
    """Where the files are, for people."""


LAYOUTS = (
    Layout("brats2021", r"brats2021_\d", "brats2019", "BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz"),
    Layout("brats2020", r"brats20_", "brats2019", "BraTS20_Training_001/BraTS20_Training_001_t1ce.nii"),
    Layout("brats2019", r"brats19_", "brats2019", "HGG/BraTS19_CBICA_AAB_1/BraTS19_CBICA_AAB_1_t1ce.nii.gz"),
    # 2015 to 2017 have the same names; before 2013 label 1 was oedema, so those get no convention
    Layout("brats2018", r"brats1[5-8]_|phantom_s\d", "brats2019", "HGG/Brats18_2013_2_1/Brats18_2013_2_1_t1ce.nii.gz"),
    Layout("brats-men-rt", r"brats-men-rt-\d", "brats-men-rt", "BraTS-MEN-RT-0000-1/BraTS-MEN-RT-0000-1_gtv.nii.gz"),
    Layout("brats2023", r"phantom-s\d", "brats2023", "Phantom-s19-0005/Phantom-s19-0005-t1c.nii.gz"),
    Layout("brats2023", r"brats-[a-z]+-\d", None, "BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz"),
    Layout("ucsf-pdgm", r"ucsf-pdgm-\d", "brats2019", "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1c.nii.gz"),
    Layout("ucsd-ptgbm", r"ucsd-ptgbm-\d", "brats2024", "UCSD-PTGBM-0001_01/UCSD-PTGBM-0001_01_T1post.nii.gz"),
    Layout("rhuh-gbm", r"rhuh-\d", "brats2019", "RHUH-0001/0/RHUH-0001_0_t1ce.nii.gz"),
    Layout("upenn-gbm", r"upenn-gbm-\d", "brats2019", "images_structural/UPENN-GBM-00001_11/…_T1GD.nii.gz"),
    Layout("lumiere", r"patient-\d+_week-\d", None, "Imaging/Patient-001/week-000-1/CT1.nii.gz"),
    Layout("bids", r"sub-[a-z0-9]", None, "sub-01/ses-1/anat/sub-01_ses-1_ce-gadolinium_T1w.nii.gz"),
)
"""Every data set whose subjects say by their ids where they are from; the first row that fits counts."""
UNKNOWN = "unknown"
"""The layout of a subject whose id says nothing."""

SYNONYMS = {
    "t1": "t1", "t1n": "t1", "t1w": "t1", "t1pre": "t1",
    "t1ce": "t1ce", "t1c": "t1ce", "t1gd": "t1ce", "t1post": "t1ce", "ct1": "t1ce",
    "t2": "t2", "t2w": "t2",
    "flair": "flair", "t2f": "flair",
}  # fmt: skip
"""Name in use, in lower case -> modality."""
_SEGMENTATIONS = ("seg", "brats_tumor_seg", "tumor_segmentation", "segmentations", "gtv")

GRADES = ("HGG", "LGG")

MSD_CHANNELS = {"flair": 0, "t1": 1, "t1ce": 2, "t2": 3}  # dataset.json of Task01_BrainTumour: FLAIR, T1w, T1gd, T2w
MSD_IMAGE = re.compile(r"BRATS_\d+\.nii(\.gz)?", re.IGNORECASE)

KNOWN_LAYOUTS = (
    "BraTS 2018-2025, UCSF-PDGM, UCSD-PTGBM, RHUH-GBM, UPENN-GBM or LUMIERE as released, BIDS, or imagesTr of the "
    "decathlon or nnU-Net with its dataset.json (such as BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz; docs/data.md "
    "lists all)"
)

_ANY_NAME = re.IGNORECASE | re.DOTALL  # a name may hold a newline
_ENDING = r"\.(?:nii(?:\.gz)?|mha|nrrd)"
# the stem is as short as possible, so that the longest suffix is found; a name may also be a modality alone
_FILE = re.compile(
    rf"(?:(?P<stem>.+?)[_-])?(?P<suffix>{'|'.join([*SYNONYMS, *_SEGMENTATIONS])})(?P<bias>_bias)?{_ENDING}",
    _ANY_NAME,
)
_UPENN = re.compile(r"(?P<stem>upenn-gbm-\d+_\d+)_(?P<source>automated_approx_)?segm\.nii(\.gz)?", re.IGNORECASE)
_BIDS = re.compile(
    rf"(?P<stem>sub-[a-z0-9]+(_ses-[a-z0-9]+)?)(?P<entities>(_[a-z]+-[^_]+)*)_(?P<suffix>T1w|T2w|FLAIR|dseg){_ENDING}",
    re.IGNORECASE,
)
_ODD_SEGMENTATION = re.compile(r"(?P<stem>.*?)[_-]?segm?(?:entation)?\.nii(?:\.gz)?", _ANY_NAME)
NIFTI = re.compile(r".+\.nii(\.gz)?", _ANY_NAME)
NPZ = re.compile(r".+\.npz", _ANY_NAME)
_SITE = re.compile(r"brats1\d_(?P<site>2013|[A-Za-z]+\d{0,2})_.+", re.IGNORECASE)
_MODERN = re.compile(r"brats-(?P<cohort>gli|men|met|ped|ssa|goat)-\d", re.IGNORECASE)
_POST_TREATMENT = re.compile(r"brats-gli-\d{5}-[1-9]\d\d", re.IGNORECASE)
_RELEASE = re.compile(r"brats(?:-?peds?)?-?(?:20)?(?P<year>2[3-9])(?!\d)", re.IGNORECASE)
SUBJECT = re.compile("|".join(f"(?:{row.subject})" for row in LAYOUTS), re.IGNORECASE)
_UNFINISHED = re.compile(r"(?P<name>.+)\.(part|partial|filepart|crdownload|download|tmp)", _ANY_NAME)
DOCUMENT = re.compile(
    r".+\.(csv|tsv|txt|md|rst|pdf|docx?|xlsx?|ods|json|ya?ml|toml|xml|html?|png|jpe?g|svg|gif|py|ipynb|sh|log|bvec|bval)"
    r"|readme|licen[cs]e|copying|changes|notice|authors|citation\.cff|md5sums?|sha256sums?",
    _ANY_NAME,
)
"""A table, a text or a picture, such as released archives have next to their subjects."""


@dataclass(frozen=True)
class FileName:
    """The parts of a file's name."""

    stem: str
    """The subject's part; "" if there is none."""
    kind: str
    """The modality, or "seg"."""
    source: str = ""
    """Who made a segmentation, where a data set has several: AUTOMATED, or "" for its own."""
    corrected: bool = False
    """Whether it is UCSF-PDGM's copy of an image with its bias field removed."""
    detached: bool = False
    """Whether a segmentation is kept in another folder than its images."""


AUTOMATED = "automated"
HD_GLIO = "hd-glio-auto"
SOURCES = (AUTOMATED, HD_GLIO)
"""Segmentations that a data set has in addition to its own: UPENN-GBM's automated ones, LUMIERE's by HD-GLIO-AUTO."""


def canonical_modality(name: str) -> str:
    """ "t1", "t1ce", "t2" or "flair" for any name in use (t1c, T1gd, t2w, t2f …). Raises OptionError for others."""
    if name.lower() not in SYNONYMS:
        raise OptionError(f"modality {name!r}: unknown, expected one of {', '.join(MODALITIES)}; choose one of these.")
    return SYNONYMS[name.lower()]


def parse(name: str) -> FileName | None:
    """Split a file's name, ignoring case; None if it names neither a modality nor a segmentation."""
    if (bids := _BIDS.fullmatch(name)) is not None:
        with_agent = re.search(r"_ce-(?!none)", bids["entities"], re.IGNORECASE)
        kind = {"t1w": "t1ce" if with_agent else "t1", "t2w": "t2", "flair": "flair"}.get(bids["suffix"].lower(), "seg")
        return FileName(bids["stem"], kind, detached=kind == "seg")
    if (upenn := _UPENN.fullmatch(name)) is not None:
        return FileName(upenn["stem"], "seg", source=AUTOMATED if upenn["source"] else "", detached=True)
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    kind = SYNONYMS.get(match["suffix"].lower(), "seg")
    if match["bias"] and (kind == "seg" or not (match["stem"] or "").lower().startswith("ucsf-pdgm")):
        return None
    return FileName(match["stem"] or "", kind, corrected=bool(match["bias"]))


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


def layout_of(subject: str) -> Layout | None:
    """The row of LAYOUTS that a subject's id fits; None if it fits none."""
    return next((row for row in LAYOUTS if re.match(row.subject, subject, re.IGNORECASE)), None)


def convention_of(subject: str, folders: Iterable[str]) -> str | None:
    """The name of the label convention, or None where the names do not determine it: nothing is guessed.

    folders: the names of the folders above the subject, nearest first. They decide for BraTS-PED only: its 2023
    release uses 1/2/3 like the adult cohorts, later releases use other values under the same subject names.
    """
    layout = layout_of(subject)
    if layout is None or layout.convention is not None:
        return layout.convention if layout else None
    match = _MODERN.match(subject)
    if match is None:
        return None
    cohort = match["cohort"].lower()
    if cohort == "ped":
        release = next(filter(None, map(_RELEASE.search, folders)), None)
        if release is None:
            return None
        return "brats2023" if release["year"] == "23" else "brats2024-ped"
    # time points from 100 on are post-treatment gliomas; since 2025 metastases may have a resection cavity
    return "brats2024" if cohort == "met" or _POST_TREATMENT.match(subject) else "brats2023"


def is_bids(subject: str) -> bool:
    """Whether a subject's id is one of BIDS."""
    row = layout_of(subject)
    return row is not None and row.name == "bids"


def modality_in(name: str) -> str | None:
    """The modality that one of the words of a name is, as in `MR_BraTS-T1c_bratsgli_0001.npz`; None if none is."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    found = {SYNONYMS[word] for word in words if word in SYNONYMS}
    return found.pop() if len(found) == 1 else None


def site_of(subject: str) -> str | None:
    """The contributing site, which BraTS 2017-2019 has in the id (CBICA, TCIA01, TMC, 2013 …); None elsewhere."""
    match = _SITE.fullmatch(subject)
    return match["site"] if match else None
