"""Find the subjects of a BraTS or MSD folder, and load one of them.

Subjects are found by names alone: no image is opened, so a thousand subjects take a fraction of a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.data.folders import contents, walk
from medsam_core.data.name_mapping import TABLES, read_table, with_table
from medsam_core.data.regions import LabelConvention, check_labels, convention_named
from medsam_core.data.subject import Subject
from medsam_core.data.unassigned import Leftover, check_leftovers
from medsam_core.data.volume import Volume, check_same_grid, read_image, read_labels
from medsam_core.errors import DataError, LabelError
from medsam_core.modalities import MODALITIES
from medsam_core.text import few


@dataclass(frozen=True, eq=False)
class LoadedSubject:
    """One modality of a subject and its labels, on one grid."""

    subject: Subject
    modality: str
    """One of MODALITIES."""
    image: Volume
    """float32."""
    labels: Volume
    """uint8, on the grid of the image."""
    convention: LabelConvention
    """What the labels mean."""


def find_subjects(root: str | os.PathLike[str]) -> tuple[Subject, ...]:
    """All subjects below a folder, sorted by id.

    root: the folder of a data set, a folder around it, or the folder of one subject.
    BraTS 2018-2021, 2023-2025 and MSD Task01 are recognised by their names. Hidden files are ignored, subjects without
    a segmentation are kept.
    Raises DataError if the root is missing, empty or without any subject, if an id occurs twice, or where a subject may
    have lost its images: an empty folder, a folder of unknown files, a segmentation without an image.
    """
    root = Path(root)
    if not root.is_dir():
        got = "a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {got}, expected a folder of BraTS or MSD subjects; check the path.")
    by_id: dict[str, tuple[Subject, Path]] = {}
    mapping: dict[str, Mapping[str, str]] = {}
    # if the root is one subject's folder, the data set's table is above it
    for folder in root.absolute().parents[:2]:
        read_table(folder, [name for name in TABLES if (folder / name).is_file()], mapping)
    leftovers: list[Leftover] = []
    for subject, folder in walk(root.absolute(), mapping, leftovers):
        other = by_id.setdefault(subject.id, (subject, folder))[1]
        if other is not folder:
            raise DataError(
                f"{subject.id}: found twice, in {other} and in {folder}, expected once; give a root with one of them."
            )
    if not by_id:
        raise DataError(f"{root}: {contents(root)}, expected subjects as in {layouts.KNOWN_LAYOUTS}; check the path.")
    notes = check_leftovers(root.absolute(), leftovers, {key: folder for key, (_, folder) in by_id.items()})
    found = (with_table(by_id[key][0], mapping) for key in sorted(by_id))
    return tuple(replace(subject, notes=(*subject.notes, *notes.get(subject.id, ()))) for subject in found)


def check_subjects(subjects: Iterable[Subject], modality: str) -> None:
    """Raise DataError, naming the subjects, if some lack the modality or the segmentation.

    modality: "t1ce", "t1", "t2", "flair" or another name for one of them; OptionError for an unknown name.
    """
    subjects = tuple(subjects)
    modality = layouts.canonical_modality(modality)
    common = [name for name in MODALITIES if all(name in subject.images for subject in subjects)]
    leave_out = "leave these subjects out"
    other = f"choose {' or '.join(common)}, which all have" if common else leave_out
    no_image = [subject.id for subject in subjects if modality not in subject.images]
    no_labels = [subject.id for subject in subjects if subject.segmentation is None]
    for what, lacking, fix in ((f"{modality} image", no_image, other), ("segmentation", no_labels, leave_out)):
        if lacking:
            raise DataError(
                f"{few(lacking, 5)}: no {what} in {len(lacking)} of {len(subjects)} subjects, expected one in each; "
                f"add the files or {fix}."
            )


def load(subject: Subject, modality: str, *, convention: str | LabelConvention | None = None) -> LoadedSubject:
    """Read one modality and the segmentation of a subject, and check that they fit together.

    modality: "t1ce", "t1", "t2", "flair" or another name for one of them.
    convention: how to read the labels; None for the subject's own.
    Raises DataError for a missing or damaged file and for different shapes or affines, LabelError for a label that the
    convention does not know and for a subject of unknown convention, OptionError for an unknown name.
    """
    modality = layouts.canonical_modality(modality)
    chosen = convention if convention is not None else subject.convention
    if chosen is None:
        raise LabelError(
            f"{subject.id}: got a name that does not say the label convention (BraTS-PED uses brats2023 in its 2023 "
            "release, brats2024-ped since), expected a known convention; name it."
        )
    chosen = convention_named(chosen)
    check_subjects((subject,), modality)
    source, segmentation = subject.images[modality], subject.segmentation
    assert segmentation is not None  # check_subjects checked it
    labels = read_labels(segmentation)
    check_labels(labels.voxels, chosen, name=segmentation.name)
    image = read_image(source.path, channel=source.channel)
    name = source.path.name if source.channel is None else f"{source.path.name} (channel {source.channel})"
    check_same_grid(image, labels, image_name=name, labels_name=segmentation.name)
    return LoadedSubject(subject, modality, image, labels, chosen)
