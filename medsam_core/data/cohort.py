"""Find the subjects of a BraTS or MSD folder, and load one of them.

Subjects are found by names alone: no image is opened, so a thousand subjects take a fraction of a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from medsam_core.data import dataset_json, layouts
from medsam_core.data.dataset_json import Description, read_description
from medsam_core.data.folders import Search, walk
from medsam_core.data.listing import advice_on, contents
from medsam_core.data.name_mapping import TABLES, read_table, with_table
from medsam_core.data.regions import CONVENTIONS, LabelConvention, check_labels, convention_named
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.data.unassigned import Leftover, explain_leftovers
from medsam_core.data.volume import Volume, check_same_grid, check_same_image_grid, read_image, read_labels
from medsam_core.errors import DataError, LabelError, OptionError
from medsam_core.modalities import MODALITIES, sequences_of
from medsam_core.text import few, shown


@dataclass(frozen=True, eq=False)
class LoadedSubject:
    """One modality of a subject, or three as colours, and its labels, on one grid."""

    subject: Subject
    modality: str
    """One of `modalities.IMAGES`."""
    image: Volume
    """float32."""
    labels: Volume
    """uint8, on the grid of the image."""
    convention: LabelConvention
    """What the labels mean."""


@dataclass(frozen=True)
class Survey:
    """What was found in a folder."""

    subjects: tuple[Subject, ...]
    """Sorted by id; at least one."""
    lost: str = ""
    """Where a subject may have lost its images, in one sentence; "" for nowhere."""


def find_subjects(root: str | os.PathLike[str], *, segmentation: str | None = None) -> tuple[Subject, ...]:
    """All subjects below a folder, sorted by id.

    root: the folder of a data set, a folder around it, or the folder of one subject.
    segmentation: which one is used where a data set has several, of `layouts.SOURCES`; None for its own.
    The data sets of `layouts.LAYOUTS` are recognised by their names, and dataset.json is obeyed. Hidden files are
    ignored, subjects without a segmentation are kept.
    Raises DataError if the root is missing, empty or without any subject, if an id occurs twice, if dataset.json
    contradicts the names, or where a subject may have lost its images: an empty folder, a folder of unknown files, an
    archive, a segmentation without an image. OptionError for an unknown segmentation.
    """
    found = survey(root, segmentation=segmentation)
    if found.lost:
        raise DataError(found.lost)
    return found.subjects


def survey(root: str | os.PathLike[str], *, segmentation: str | None = None) -> Survey:
    """As `find_subjects`, but where a subject may have lost its images it says so and returns the others."""
    root = Path(root)
    if segmentation is not None and segmentation not in layouts.SOURCES:
        raise OptionError(
            f"segmentation {segmentation!r}: unknown, expected {' or '.join(layouts.SOURCES)}; choose one of these, or "
            "none for the data set's own."
        )
    check_root(root)
    search = Search(segmentation)
    description = _above(root.absolute(), search)
    by_id: dict[str, tuple[Subject, Path]] = {}
    for subject, folder in walk(root.absolute(), search, description):
        other = by_id.setdefault(subject.id, (subject, folder))[1]
        if other is not folder:
            raise DataError(
                f"{subject.id}: found twice, in {other} and in {folder}, expected once; give a root with one of them."
            )
    if not by_id:
        raise DataError(
            f"{root}: {contents(root)}, expected subjects as in {layouts.KNOWN_LAYOUTS}; {advice_on(root)}."
        )
    subjects = {key: subject for key, (subject, _) in by_id.items()}
    _attach(subjects, search)
    folders = {key: folder for key, (_, folder) in by_id.items()}
    notes, lost = explain_leftovers(root.absolute(), search.leftovers, folders)
    found = (with_table(subjects[key], search.mapping) for key in sorted(subjects))
    return Survey(
        tuple(replace(subject, notes=(*subject.notes, *notes.get(subject.id, ()))) for subject in found), lost
    )


def check_root(root: Path) -> None:
    """Raise DataError if the root of a cohort is missing or no folder."""
    try:
        is_folder, exists = root.is_dir(), root.exists()
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise DataError(f"{root}: not readable ({reason}), expected a folder of subjects; check the path.") from None
    if not is_folder:
        got = "a file" if exists else "no such folder"
        raise DataError(f"{root}: {got}, expected a folder of BraTS subjects or the like; check the path.")


def _above(root: Path, search: Search) -> Description | None:
    """What the folders above the root say, if it is one subject's folder or imagesTr: tables, and dataset.json."""
    for folder in root.parents[:2]:
        read_table(folder, [name for name in TABLES if (folder / name).is_file()], search.mapping)
    if root.name.lower() == "imagestr" and (root.parent / dataset_json.NAME).is_file():
        return read_description(root.parent / dataset_json.NAME)
    return None


def _attach(subjects: dict[str, Subject], search: Search) -> None:
    """Give segmentations from other folders to their subjects (UPENN-GBM, derivatives of BIDS); name those not taken.

    Raises DataError if a subject has several of them.
    """
    ids = {key.lower(): key for key in subjects}
    for low, files in search.detached.items():
        if low not in ids:
            search.leftovers += [Leftover(path, "a segmentation alone", low) for _, path in files]
            continue
        subject = subjects[ids[low]]
        own = [path for source, path in files if not source] if subject.segmentation is None else []
        chosen = [path for source, path in files if source and source == search.source] or own
        if len(chosen) > 1:
            raise DataError(
                f"{subject.id}: {len(chosen)} segmentations ({', '.join(map(str, chosen))}), expected one; give a root "
                "with one of them."
            )
        notes = [
            f"{shown(path.name)} is not read{f' (--medsam-segmentation {source} takes it)' if source else ''}."
            for source, path in files
            if path not in chosen
        ]
        segmentation = chosen[0] if chosen else subject.segmentation
        subjects[subject.id] = replace(subject, segmentation=segmentation, notes=(*subject.notes, *notes))


def check_subjects(subjects: Iterable[Subject], modality: str) -> None:
    """Raise DataError, naming the subjects, if some lack the modality or the segmentation.

    modality: "t1ce", "t1", "t2", "flair" or another name for one of them, or three joined by +; OptionError for an
        unknown name.
    """
    subjects = tuple(subjects)
    sequences = _sequences(modality)
    common = [name for name in MODALITIES if all(name in subject.images for subject in subjects)]
    leave_out = "leave these subjects out"
    other = f"choose {' or '.join(common)}, which all have" if common else leave_out
    no_labels = [subject.id for subject in subjects if subject.segmentation is None]
    no_image = [
        (f"{name} image", [subject.id for subject in subjects if name not in subject.images], other)
        for name in sequences
    ]
    for what, lacking, fix in (*no_image, ("segmentation", no_labels, leave_out)):
        if lacking:
            raise DataError(
                f"{few(lacking, 5)}: no {what} in {len(lacking)} of {len(subjects)} subjects, expected one in each; "
                f"add the files or {fix}."
            )


def _hint(subject: str) -> str:
    ped = " (BraTS-PED uses brats2023 in its 2023 release, brats2024-ped since)"
    return ped if subject.lower().startswith("brats-ped") else ""


def load(subject: Subject, modality: str, *, convention: str | LabelConvention | None = None) -> LoadedSubject:
    """Read one modality, or three as colours, and the segmentation of a subject, and check that they fit together.

    modality: "t1ce", "t1", "t2", "flair" or another name for one of them, or three joined by +, such as
        "t1ce+t2+flair": the image has the voxels of the first and all three as `channels`.
    convention: how to read the labels; None for the subject's own.
    Raises DataError for a missing or damaged file and for different shapes or affines, LabelError for a label that the
    convention does not know and for a subject of unknown convention, OptionError for an unknown name.
    """
    sequences = _sequences(modality)
    modality = "+".join(sequences)
    chosen = convention if convention is not None else subject.convention
    if chosen is None:
        raise LabelError(
            f"{subject.id}: neither its name nor a dataset.json says what the labels mean{_hint(subject.id)}, expected "
            f"a label convention; name it with --medsam-labels ({', '.join(CONVENTIONS)})."
        )
    chosen = convention_named(chosen)
    check_subjects((subject,), modality)
    segmentation = subject.segmentation
    assert segmentation is not None  # check_subjects checked it
    labels = read_labels(segmentation)
    check_labels(labels.voxels, chosen, name=segmentation.name)
    (image, name), *others = [_read(subject.images[one]) for one in sequences]
    check_same_grid(image, labels, image_name=name, labels_name=segmentation.name)
    for other, its_name in others:
        check_same_image_grid(image, other, name, its_name)
    if others:
        image = replace(image, channels=(image.voxels, *(other.voxels for other, _ in others)))
    return LoadedSubject(subject, modality, image, labels, chosen)


def _sequences(modality: str) -> tuple[str, ...]:
    """The modalities of an image by their names here, one or three. Raises OptionError as `sequences_of` does."""
    words = modality.split("+")
    if len(words) == 1:
        return (layouts.canonical_modality(modality),)
    return sequences_of("+".join(layouts.SYNONYMS.get(word.lower(), word) for word in words))


def _read(source: ImageFile) -> tuple[Volume, str]:
    """An image, and what to call it in a sentence."""
    name = source.path.name if source.channel is None else f"{source.path.name} (channel {source.channel})"
    return read_image(source.path, channel=source.channel, channels=source.channels), name
