"""Walk through a folder and take the subjects out of it, by the names of files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.data.name_mapping import TABLES, read_table
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.data.unassigned import Leftover, broken_links, folder_without_subject, subjects_without_images
from medsam_core.errors import DataError
from medsam_core.modalities import MODALITIES
from medsam_core.text import counted, few

_DEPTH = 5  # root / Kaggle's wrapper / the archive's own folder / HGG / subject
_HIDDEN = (".", "__MACOSX", "lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
_DECATHLON = ("imagestr", "imagests", "labelstr")
_RUN, _OF_A_RUN = "run.json", ("masks", "overlays")


def walk(
    folder: Path, mapping: dict[str, Mapping[str, str]], leftovers: list[Leftover], depth: int = _DEPTH
) -> Iterator[tuple[Subject, Path]]:
    """The subjects below a folder, each with the folder that holds its files.

    mapping: gets the rows of the tables on the way (`name_mapping.read_table`).
    leftovers: gets everything that may be a lost subject.
    depth: how many levels of folders to search.
    Raises DataError for a folder that cannot be listed, and where two files compete.
    """
    files, folders = listing(folder)
    if _RUN in files:  # the folder holds a run: its masks and pictures belong to no subject, other folders may
        folders = [name for name in folders if name not in _OF_A_RUN]
    read_table(folder, [name for name in TABLES if name in files], mapping)
    before = len(leftovers)
    if folder.name.lower() == "imagestr":
        found = list(_msd_subjects(folder, files, leftovers))
    else:
        found = list(_brats_subjects(folder, files, leftovers))
    for subject in found:
        yield subject, folder
    if any(subject.id.lower() == folder.name.lower() for subject in found):
        return
    leftovers += broken_links(files)
    nothing = not found and not folders and len(leftovers) == before
    if nothing and _RUN not in files and not _of_decathlon(folder):
        leftovers.append(folder_without_subject(folder, files))
    if depth > 1:
        for name in folders:
            yield from walk(folder / name, mapping, leftovers, depth - 1)


def _of_decathlon(folder: Path) -> bool:
    """Whether the folder belongs to a task of the decathlon: its labels and test images are not named like subjects."""
    return folder.name.lower() in _DECATHLON and (folder.parent / "imagesTr").is_dir()


def listing(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """(files, folders): the visible files of a folder, name -> path, and the names of its sub-folders, sorted.

    Kaggle's copies keep a file inside a folder with the file's name; it is listed under the folder's name.
    Raises DataError if the folder cannot be listed.
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
                elif layouts.NIFTI.fullmatch(entry.name):
                    files.update(_nested(folder / entry.name))
                else:
                    folders.append(entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: not readable ({error.strerror}), expected a folder; check its permissions."
        ) from error
    return files, sorted(folders)


def _nested(folder: Path) -> dict[str, Path]:
    """The file in a folder with the name of a file; if there are several, the one with the folder's name."""
    files = {name: path for name, path in listing(folder)[0].items() if layouts.NIFTI.fullmatch(name)}
    if len(files) > 1 and folder.name not in files:
        raise DataError(
            f"{folder}: {len(files)} files in it ({', '.join(sorted(files))}), expected one; move the others elsewhere."
        )
    chosen = files.get(folder.name) or next(iter(files.values()), None)
    return {} if chosen is None else {folder.name: chosen}


def _msd_subjects(folder: Path, images: Mapping[str, Path], leftovers: list[Leftover]) -> Iterator[Subject]:
    """The subjects of the decathlon's imagesTr. imagesTs is left out: no labels are published for it."""
    labels = folder.parent / "labelsTr"
    segmentations = listing(labels)[0] if labels.is_dir() else {}
    by_stem: dict[str, list[str]] = {}
    for name in sorted(images):
        if layouts.MSD_IMAGE.fullmatch(name):
            by_stem.setdefault(name.split(".")[0], []).append(name)
    alone = [(name.split(".")[0], labels / name) for name in segmentations if layouts.MSD_IMAGE.fullmatch(name)]
    broken = [
        (name.split(".")[0], folder / name)
        for name in images
        if layouts.MSD_IMAGE.fullmatch(layouts.when_finished(name))
    ]
    leftovers += subjects_without_images(by_stem, alone, broken)
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
    """The subject of a folder, or several if their files are in one folder."""
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
        if (known := layouts.parse(layouts.when_finished(name))) is not None
    ]
    leftovers += subjects_without_images(with_images, alone, broken)
    for key, kinds in with_images.items():
        notes: list[str] = []
        chosen = {kind: _one_of(key, kind, names, files, notes) for kind, names in kinds.items()}
        segmentation = chosen.pop("seg", None)
        if segmentation is None and len(with_images) == 1:
            odd = [name for name in files if name not in parsed and layouts.is_odd_segmentation(name, key)]
            if len(odd) == 1:
                segmentation = files[odd[0]]
                notes.append(f"{odd[0]} is used as the segmentation, although its name does not say so.")
        modern = any(parsed[name].modern for names in kinds.values() for name in names)
        layout = layouts.layout_of(key, modern=modern)
        above = [folder.name, *(parent.name for parent in folder.parents)]
        yield Subject(
            id=key,
            images={name: ImageFile(chosen[name]) for name in MODALITIES if name in chosen},
            segmentation=segmentation,
            layout=layout,
            convention=layouts.convention_of(key, layout, above),
            grade=next((name.upper() for name in above if name.upper() in layouts.GRADES), None),
            site=layouts.site_of(key),
            notes=tuple(notes),
        )


def _one_of(subject: str, kind: str, names: list[str], files: Mapping[str, Path], notes: list[str]) -> Path:
    """The file to use of those with the same meaning. Raises DataError unless they are one file and its packed copy."""
    if len(names) == 1:
        return files[names[0]]
    packed = [name for name in names if name.lower().endswith(".gz")]
    if len(names) == 2 and len(packed) == 1 and packed[0][:-3] in names:
        notes.append(f"{packed[0]} is used, not {packed[0][:-3]}.")
        return files[packed[0]]
    raise DataError(
        f"{subject}: {len(names)} files for {kind} ({', '.join(names)}), expected one; move the others elsewhere."
    )


def contents(root: Path) -> str:
    """What a folder without subjects holds, in words: `no subject among 1 folder (sub) and 2 files (a.dcm, b.dcm)`."""
    files, folders = listing(root)
    listed = ((folders, "folder"), (sorted(files), "file"))
    parts = [f"{counted(len(names), what)} ({few(names)})" for names, what in listed if names]
    return f"no subject among {' and '.join(parts)}" if parts else "an empty folder"
