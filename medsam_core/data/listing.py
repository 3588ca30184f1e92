"""The visible files and folders of a folder, and which of two files with one meaning is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.data.formats import foreign_image, format_of
from medsam_core.errors import DataError
from medsam_core.files import opened
from medsam_core.text import counted, few, shown

_HIDDEN = (".", "__MACOSX", "lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information")


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
                if not _is_folder(entry):
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _nested(folder: Path) -> dict[str, Path]:
    """The file in a folder with the name of a file; if there are several, the one with the folder's name."""
    files = {name: path for name, path in listing(folder)[0].items() if layouts.NIFTI.fullmatch(name)}
    if len(files) > 1 and folder.name not in files:
        raise DataError(
            f"{folder}: {len(files)} files in it ({', '.join(sorted(files))}), expected one; move the others elsewhere."
        )
    chosen = files.get(folder.name) or next(iter(files.values()), None)
    return {} if chosen is None else {folder.name: chosen}


def one_of(subject: str, kind: str, names: list[str], files: Mapping[str, Path], notes: list[str]) -> Path:
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
    parts = [f"{counted(len(names), what)} ({few([shown(name) for name in names])})" for names, what in listed if names]
    return f"no subject among {' and '.join(parts)}" if parts else "an empty folder"


def advice_on(root: Path) -> str:
    """What to do with a folder without subjects: what its first image in another format is, by its name or content."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if layouts.DOCUMENT.fullmatch(name) or name.startswith("."):
                continue
            found = foreign_image(name)
            if found is None and not layouts.NIFTI.fullmatch(name) and Path(folder, name).is_file():
                with opened(Path(folder, name), largest=2**50, what="a file", error=DataError) as file:
                    found = format_of(file.read(348))
                found = found if found[0].startswith("a DICOM") else None
            if found is not None:
                return f"{shown(name)} is {found[0]}: {found[1]}"
            return "check the path, and the names of the files"
    return "check the path"
