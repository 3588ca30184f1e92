"""Files and folders that belong to no subject: a possibly lost subject is refused, others are ignored with a note.

A subject that lost its images is in no plan, so only this check keeps a gate from passing the rest of a broken
download.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.errors import DataError
from medsam_core.text import counted, few


@dataclass(frozen=True)
class Leftover:
    """A file or a folder that belongs to none of the subjects."""

    path: Path
    what: str
    """What it is, in a few words."""
    subject: str = ""
    """The id of the subject in its name; "" if the name has none."""
    harmless: bool = False
    """Whether it can never have been an image."""


def folder_without_subject(folder: Path, files: Iterable[str]) -> Leftover:
    """The leftover for a folder without sub-folders and without a subject. files: the names of its visible files."""
    names = sorted(files)
    if not names:
        return Leftover(folder, "an empty folder")
    # a failed download may leave an error page instead of images, so a folder with a subject's name is not harmless
    harmless = all(map(layouts.DOCUMENT.fullmatch, names)) and not layouts.SUBJECT.match(folder.name)
    return Leftover(folder, f"a folder with {few(names)}", harmless=harmless)


def subjects_without_images(
    found: Iterable[str], alone: Iterable[tuple[str, Path]], unfinished: Iterable[tuple[str, Path]]
) -> list[Leftover]:
    """One leftover for each subject of a folder that has a segmentation or an unfinished download, but no image.

    found: the ids of subjects with images.
    alone: (subject's id, segmentation). unfinished: (subject's id, download that did not end).
    """
    known = {name.lower() for name in found}
    left: dict[str, Leftover] = {}
    for files, what in ((alone, "a segmentation alone"), (unfinished, "a download that did not end")):
        for name, path in sorted(files):
            if name.lower() not in known:
                left.setdefault(name.lower(), Leftover(path, what, name))
    return list(left.values())


def broken_links(files: Mapping[str, Path]) -> list[Leftover]:
    """Links to nothing that may have been a subject's folder: their names have no ending.

    files: name -> path of a folder's files.
    """
    return [
        Leftover(path, "a link to nothing")
        for name, path in sorted(files.items())
        if "." not in name and not layouts.DOCUMENT.fullmatch(name) and path.is_symlink() and not path.exists()
    ]


def check_leftovers(
    root: Path, leftovers: Iterable[Leftover], subjects: Mapping[str, Path]
) -> dict[str, tuple[str, ...]]:
    """Notes about what is ignored, by subject, one sentence each.

    subjects: id -> folder of every subject, at least one.
    Raises DataError if a leftover may be a lost subject.
    """
    ids = {name.lower(): name for name in subjects}
    neighbours: dict[Path, list[str]] = {}
    for name, folder in subjects.items():
        neighbours.setdefault(folder, []).append(name)
    lost: list[str] = []
    notes: dict[str, list[str]] = {}
    for one in sorted(leftovers, key=lambda one: one.path):
        # relative to the root; the decathlon's labels may be outside of it
        described = f"{os.path.relpath(one.path, root)} ({one.what})"
        # a note about the whole cohort is written once, at its first subject
        owner = min(subjects) if one.harmless else _owner(one, ids, neighbours.get(one.path.parent, ()))
        if owner is None:
            lost.append(described)
        else:
            notes.setdefault(owner, []).append(f"{described} is ignored.")
    if lost:
        raise DataError(
            f"{few(lost)}: no image in {counted(len(lost), 'place')} next to {counted(len(subjects), 'subject')} of "
            f"{root}, expected images wherever a subject should be; complete the download, or move everything that is "
            "no subject out of the root."
        )
    return {name: tuple(sentences) for name, sentences in notes.items()}


def _owner(one: Leftover, ids: Mapping[str, str], neighbours: Iterable[str]) -> str | None:
    """The subject that a file belongs to, as predictions and second readings do; None if there is none.

    ids: lower-case id -> id, of all subjects. neighbours: ids of the subjects in the file's folder.
    """
    key = one.subject.lower()
    if not key or key in ids:
        return ids.get(key)
    low = {name.lower(): name for name in neighbours}
    own = one.path.parent.name.lower()
    return next((low[name] for name in low if name == own or key.startswith((f"{name}_", f"{name}-"))), None)
