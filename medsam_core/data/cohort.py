"""Find the subjects of a BraTS or MSD folder, and load one of them.

Finding goes by names alone: no image is opened, so a thousand subjects take a fraction of a second.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.data.regions import LabelConvention, check_labels, convention_named
from medsam_core.data.unassigned import Leftover, barren, dangling, settle, without_images
from medsam_core.data.volume import Volume, check_same_grid, read_image, read_labels
from medsam_core.errors import DataError, LabelError
from medsam_core.modalities import MODALITIES

_DEPTH = 5  # root / Kaggle's wrapper / the archive's own folder / HGG / subject
_GRADES = ("HGG", "LGG")
_HIDDEN = (".", "__MACOSX", "lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
_DECATHLON = ("imagestr", "imagests", "labelstr")
_RUN, _OF_A_RUN = "run.json", ("masks", "overlays")
_MAPPINGS = ("name_mapping.csv", "name_mapping_validation_data.csv")


@dataclass(frozen=True)
class ImageFile:
    """Where one modality is: a file and, in a 4-D file, the channel on its fourth axis."""

    path: Path
    channel: int | None = None


@dataclass(frozen=True)
class Subject:
    """One subject of a cohort, as its files' names tell.

    id: such as "BraTS20_Training_001".
    images: "t1", "t1ce", "t2", "flair" -> file; a subject may have only some of them.
    segmentation: None where the data set has none (validation sets).
    layout: "brats2018", "brats2019", "brats2020", "brats2021", "brats2023" (2023 to 2025) or "msd".
    convention: name of the label convention, None where the names cannot tell (BraTS-PED without a year).
    grade: "HGG", "LGG" or None. site: as the data set writes it ("CBICA", "TCIA01", "2013"), or None.
    notes: what was odd and accepted, one sentence each.
    """

    id: str
    images: Mapping[str, ImageFile] = field(hash=False)
    segmentation: Path | None
    layout: str
    convention: str | None
    grade: str | None = None
    site: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LoadedSubject:
    """One modality of a subject and its labels, on one grid; `convention` is the one to read the labels with."""

    subject: Subject
    modality: str
    image: Volume
    labels: Volume
    convention: LabelConvention


def find_subjects(root: str | os.PathLike[str]) -> tuple[Subject, ...]:
    """All subjects below a folder, sorted by id.

    root: the folder of a data set, one that wraps it, or one subject's own folder. BraTS 2018-2021, 2023-2025 and MSD
    Task01 are recognised by their names; hidden files are passed over, subjects without a segmentation are kept.
    Raises DataError if the root is missing, empty or holds no subject, if one id occurs twice, or where a subject may
    have lost its images: in an empty folder, one of unknown files, or a segmentation that no image goes with.
    """
    root = Path(root)
    if not root.exists():
        raise DataError(f"{root}: no such folder, expected a folder of BraTS or MSD subjects; check the path.")
    if not root.is_dir():
        raise DataError(f"{root}: a file, expected a folder of BraTS or MSD subjects; give the folder that holds it.")
    by_id: dict[str, tuple[Subject, Path]] = {}
    mapping: dict[str, Mapping[str, str]] = {}
    # one subject's folder may be the root: its data set's table then lies above it
    for folder in root.absolute().parents[:2]:
        _read_mapping(folder, [name for name in _MAPPINGS if (folder / name).is_file()], mapping)
    leftovers: list[Leftover] = []
    for subject, folder in _walk(root.absolute(), _DEPTH, mapping, leftovers):
        other = by_id.setdefault(subject.id, (subject, folder))[1]
        if other is not folder:
            raise DataError(
                f"{subject.id}: found twice, in {other} and in {folder}, expected every subject once; "
                "give the one folder that is meant as root."
            )
    if not by_id:
        raise DataError(f"{root}: {_seen(root)}, expected subjects as in {layouts.KNOWN_LAYOUTS}; check the path.")
    notes = settle(root.absolute(), leftovers, {key: folder for key, (_, folder) in by_id.items()})
    found = (_with_mapping(by_id[key][0], mapping) for key in sorted(by_id))
    return tuple(replace(subject, notes=(*subject.notes, *notes.get(subject.id, ()))) for subject in found)


def check_subjects(subjects: Iterable[Subject], modality: str, *, segmentation: bool = True) -> None:
    """Refuse a cohort in which a subject lacks the modality or, unless `segmentation` is False, its segmentation.

    Raises DataError that names the subjects, OptionError for a modality that does not exist.
    """
    subjects = tuple(subjects)
    modality = layouts.canonical_modality(modality)
    lacking = [subject for subject in subjects if modality not in subject.images]
    if lacking:
        common = [name for name in MODALITIES if all(name in subject.images for subject in subjects)]
        mend = f"choose {' or '.join(common)}, which all have" if common else "leave these subjects out"
        raise DataError(
            f"{_names(lacking)}: no {modality} image in {len(lacking)} of {len(subjects)} subjects, "
            f"expected one in each; add the files or {mend}."
        )
    lacking = [subject for subject in subjects if subject.segmentation is None]
    if segmentation and lacking:
        raise DataError(
            f"{_names(lacking)}: no segmentation in {len(lacking)} of {len(subjects)} subjects, "
            "expected one in each; add the files or leave these subjects out."
        )


def load(subject: Subject, modality: str, *, convention: str | LabelConvention | None = None) -> LoadedSubject:
    """Read one modality and the segmentation of a subject, and check that they belong together.

    modality: "t1", "t1ce", "t2", "flair" or another name for one of them.
    convention: how to read the labels; None takes the subject's own.
    Raises DataError for a missing or damaged file and for shapes or affines that differ, LabelError for a label that
    the convention does not know or a convention that cannot be told, OptionError for an unknown name.
    """
    modality = layouts.canonical_modality(modality)
    chosen = convention if convention is not None else subject.convention
    if chosen is None:
        raise LabelError(
            f"{subject.id}: its name does not tell the label convention (BraTS-PED uses brats2023 in its 2023 release, "
            "brats2024-ped since), expected one; name it."
        )
    chosen = convention_named(chosen)
    check_subjects((subject,), modality)
    source, segmentation = subject.images[modality], subject.segmentation
    assert segmentation is not None  # check_subjects has seen to it
    labels = read_labels(segmentation)
    check_labels(labels.voxels, chosen, name=segmentation.name)
    image = read_image(source.path, channel=source.channel)
    name = source.path.name if source.channel is None else f"{source.path.name} (channel {source.channel})"
    check_same_grid(image, labels, image_name=name, labels_name=segmentation.name)
    return LoadedSubject(subject, modality, image, labels, chosen)


def _walk(
    folder: Path, depth: int, mapping: dict[str, Mapping[str, str]], leftovers: list[Leftover]
) -> Iterator[tuple[Subject, Path]]:
    files, folders = _listing(folder)
    if _RUN in files:  # a run that was kept here: its masks and pictures are no subject's, what lies beside may be
        folders = [name for name in folders if name not in _OF_A_RUN]
    _read_mapping(folder, [name for name in _MAPPINGS if name in files], mapping)
    before = len(leftovers)
    if folder.name.lower() == "imagestr":
        found = list(_msd_subjects(folder, files, leftovers))
    else:
        found = list(_brats_subjects(folder, files, leftovers))
    for subject in found:
        yield subject, folder
    if any(subject.id.lower() == folder.name.lower() for subject in found):
        return
    leftovers += dangling(files)
    nothing = not found and not folders and len(leftovers) == before
    if nothing and _RUN not in files and not _of_decathlon(folder):
        leftovers.append(barren(folder, files))
    if depth > 1:
        for name in folders:
            yield from _walk(folder / name, depth - 1, mapping, leftovers)


def _of_decathlon(folder: Path) -> bool:
    """Whether a folder is one of a decathlon's task: labels and test images have no names of subjects."""
    return folder.name.lower() in _DECATHLON and (folder.parent / "imagesTr").is_dir()


def _listing(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The visible files of a folder, by name, and its sub-folders.

    Kaggle's copies keep a file in a folder of the file's name; it is listed under the folder's name.
    """
    files: dict[str, Path] = {}
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(_HIDDEN):
                    continue
                if not entry.is_dir():
                    files[entry.name] = folder / entry.name
                elif layouts.is_nifti(entry.name):
                    files.update(_nested(folder / entry.name))
                else:
                    folders.append(entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be listed ({error.strerror}), expected a readable folder; check its rights."
        ) from error
    return files, sorted(folders)


def _nested(folder: Path) -> dict[str, Path]:
    """The one file in a folder that is called like a file; where there are several, the one of the same name."""
    files = {name: path for name, path in _listing(folder)[0].items() if layouts.is_nifti(name)}
    if len(files) > 1 and folder.name not in files:
        raise DataError(
            f"{folder}: a folder of {len(files)} files ({', '.join(sorted(files))}), expected one file; "
            "move the others elsewhere."
        )
    chosen = files.get(folder.name) or next(iter(files.values()), None)
    return {} if chosen is None else {folder.name: chosen}


def _msd_subjects(folder: Path, images: Mapping[str, Path], leftovers: list[Leftover]) -> Iterator[Subject]:
    # imagesTs is left out: the decathlon publishes no labels for it
    labels = folder.parent / "labelsTr"
    segmentations = _listing(labels)[0] if labels.is_dir() else {}
    by_stem: dict[str, list[str]] = {}
    for name in sorted(images):
        if layouts.MSD_IMAGE.fullmatch(name):
            by_stem.setdefault(name.split(".")[0], []).append(name)
    alone = [(name.split(".")[0], labels / name) for name in segmentations if layouts.MSD_IMAGE.fullmatch(name)]
    broken = [
        (name.split(".")[0], folder / name)
        for name in images
        if layouts.MSD_IMAGE.fullmatch(layouts.when_finished(name) or "")
    ]
    leftovers += without_images(by_stem, alone, broken)
    for stem, names in by_stem.items():
        notes: list[str] = []
        path = _one_of(stem, "image", names, images, notes)
        masks = [name for name in (f"{stem}.nii", f"{stem}.nii.gz") if name in segmentations]
        yield Subject(
            id=stem,
            images={modality: ImageFile(path, channel) for modality, channel in layouts.MSD_CHANNELS.items()},
            segmentation=_one_of(stem, "seg", masks, segmentations, notes) if masks else None,
            layout="msd",
            convention="msd",
            notes=tuple(notes),
        )


def _brats_subjects(folder: Path, files: Mapping[str, Path], leftovers: list[Leftover]) -> Iterator[Subject]:
    """One subject as a rule; a folder may also hold the files of several side by side."""
    parsed = {name: known for name in sorted(files) if (known := layouts.parse(name)) is not None}
    by_subject: dict[str, dict[str, list[str]]] = {}
    spelling: dict[str, str] = {folder.name.lower(): folder.name}
    for name, known in parsed.items():
        stem = known.stem or folder.name
        key = spelling.setdefault(stem.lower(), stem)
        by_subject.setdefault(key, {}).setdefault(known.kind, []).append(name)
    with_images = {key: kinds for key, kinds in by_subject.items() if kinds.keys() - {"seg"}}
    alone = [(key, folder / kinds["seg"][0]) for key, kinds in by_subject.items() if key not in with_images]
    broken = [
        (known.stem or folder.name, folder / name)
        for name in files
        if (known := layouts.parse(layouts.when_finished(name) or "")) is not None
    ]
    leftovers += without_images(with_images, alone, broken)
    for key, kinds in with_images.items():
        notes: list[str] = []
        chosen = {kind: _one_of(key, kind, names, files, notes) for kind, names in kinds.items()}
        segmentation = chosen.pop("seg", None)
        if segmentation is None and len(with_images) == 1:
            odd = [name for name in files if name not in parsed and layouts.is_odd_segmentation(name, key)]
            if len(odd) == 1:
                segmentation = files[odd[0]]
                notes.append(f"{odd[0]} is taken as the segmentation, though its name does not say so.")
        modern = any(parsed[name].modern for names in kinds.values() for name in names)
        layout = layouts.layout_of(key, modern=modern)
        above = [folder.name, *(parent.name for parent in folder.parents)]
        yield Subject(
            id=key,
            images={name: ImageFile(chosen[name]) for name in MODALITIES if name in chosen},
            segmentation=segmentation,
            layout=layout,
            convention=layouts.convention_of(key, layout, above),
            grade=next((name.upper() for name in above if name.upper() in _GRADES), None),
            site=layouts.site_of(key),
            notes=tuple(notes),
        )


def _one_of(subject: str, kind: str, names: list[str], files: Mapping[str, Path], notes: list[str]) -> Path:
    if len(names) == 1:
        return files[names[0]]
    packed = [name for name in names if name.lower().endswith(".gz")]
    if len(names) == 2 and len(packed) == 1 and packed[0][:-3] in names:
        notes.append(f"{packed[0]} is used; {packed[0][:-3]} lies beside it.")
        return files[packed[0]]
    raise DataError(
        f"{subject}: {len(names)} files for {kind} ({', '.join(names)}), expected one; move the others elsewhere."
    )


def _read_mapping(folder: Path, names: Iterable[str], mapping: dict[str, Mapping[str, str]]) -> None:
    """BraTS 2019 and 2020 give grade and earlier ids, and with these the site, in a table beside the subjects."""
    for name in names:
        try:
            with (folder / name).open(encoding="utf-8-sig", errors="replace", newline="") as lines:
                rows = list(csv.DictReader(lines))
        except (OSError, csv.Error) as error:
            raise DataError(f"{folder / name}: not readable as a table ({error}), expected CSV; repair it.") from error
        for row in rows:
            values = {str(column): str(value).strip() for column, value in row.items() if value}
            for column, value in values.items():
                if column.lower().endswith("subject_id"):
                    mapping[value.lower()] = values


def _with_mapping(subject: Subject, mapping: Mapping[str, Mapping[str, str]]) -> Subject:
    row = mapping.get(subject.id.lower())
    if row is None:
        return subject
    grade = row.get("Grade", "").upper()
    sites = (layouts.site_of(value) for value in row.values())
    return replace(
        subject,
        grade=subject.grade or (grade if grade in _GRADES else None),
        site=subject.site or next((site for site in sites if site is not None), None),
    )


def _names(subjects: list[Subject]) -> str:
    shown = ", ".join(subject.id for subject in subjects[:5])
    return shown if len(subjects) <= 5 else f"{shown} and {len(subjects) - 5} more"


def _seen(root: Path) -> str:
    """What lies in a folder in which no subject was found."""
    files, folders = _listing(root)
    if not files and not folders:
        return "an empty folder"
    parts = []
    for names, one, many in ((sorted(folders), "folder", "folders"), (sorted(files), "file", "files")):
        if names:
            shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            parts.append(f"{len(names)} {one if len(names) == 1 else many} ({shown})")
    return f"no subject among {' and '.join(parts)}"
