"""What finding subjects leaves over: a subject that lost its images is refused, what is no subject is left aside aloud.

A gate that says PASS over the rest of a broken download is wrong, and nothing else would tell: a subject without images
is in no plan.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.errors import DataError

_SHOWN = 3


@dataclass(frozen=True)
class Leftover:
    """A file or a folder that belongs to no subject that was found.

    what: what it is, in a few words. subject: whose it would be by its name, "" where the name does not tell.
    harmless: it holds nothing that may have been an image.
    """

    path: Path
    what: str
    subject: str = ""
    harmless: bool = False


def barren(folder: Path, files: Iterable[str]) -> Leftover:
    """A folder without sub-folders in which no subject was found. files: the names of its visible files."""
    names = sorted(files)
    if not names:
        return Leftover(folder, "an empty folder")
    # a page or a message in place of the images is what a failed download may leave, hence the folder's name
    harmless = all(map(layouts.is_document, names)) and not layouts.is_subject_name(folder.name)
    return Leftover(folder, f"a folder with {_few(names)}", harmless=harmless)


def without_images(
    found: Iterable[str], alone: Iterable[tuple[str, Path]], unfinished: Iterable[tuple[str, Path]]
) -> list[Leftover]:
    """One for each subject of a folder that has a segmentation or the beginning of a file, and no image.

    found: ids of those that have images. alone: segmentations, unfinished: downloads that did not end, each with the id
    of its subject.
    """
    known = {name.lower() for name in found}
    left: dict[str, Leftover] = {}
    for files, what in ((alone, "a segmentation alone"), (unfinished, "a download that did not end")):
        for name, path in sorted(files):
            if name.lower() not in known:
                left.setdefault(name.lower(), Leftover(path, what, name))
    return list(left.values())


def dangling(files: Mapping[str, Path]) -> list[Leftover]:
    """Links to nothing that may have been a subject's folder, by a name without an ending."""
    return [
        Leftover(path, "a link to nothing")
        for name, path in sorted(files.items())
        if "." not in name and not layouts.is_document(name) and path.is_symlink() and not path.exists()
    ]


def settle(root: Path, leftovers: Iterable[Leftover], subjects: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """Notes by subject about what is left aside, one sentence each.

    subjects: id -> folder of every subject that was found, at least one. Raises DataError for what may be a lost one.
    """
    ids = {name.lower(): name for name in subjects}
    beside: dict[Path, list[str]] = {}
    for name, folder in subjects.items():
        beside.setdefault(folder, []).append(name)
    lost: list[str] = []
    notes: dict[str, list[str]] = {}
    for one in sorted(leftovers, key=lambda one: one.path):
        told = f"{_below(root, one.path)} ({one.what})"
        # what concerns the whole cohort is noted once, with its first subject
        owner = min(subjects) if one.harmless else _owner(one, ids, beside.get(one.path.parent, ()))
        if owner is None:
            lost.append(told)
        else:
            notes.setdefault(owner, []).append(f"{told} is left aside.")
    if lost:
        raise DataError(
            f"{_few(lost)}: no image in {_counted(len(lost), 'place')} beside {_counted(len(subjects), 'subject')} of "
            f"{root}, expected images wherever a subject should be; complete the download, or move what is no subject "
            "out of the root."
        )
    return {name: tuple(sentences) for name, sentences in notes.items()}


def _owner(one: Leftover, ids: Mapping[str, str], beside: Iterable[str]) -> str | None:
    """The subject that was found and that a file goes with, as predictions and second readings do.

    ids: those of all subjects, by their lower case. beside: ids of the subjects of the file's own folder.
    """
    key = one.subject.lower()
    if not key or key in ids:
        return ids.get(key)
    own = one.path.parent.name.lower()
    for name in beside:
        low = name.lower()
        if low == own or key.startswith((f"{low}_", f"{low}-")):
            return name
    return None


def _below(root: Path, path: Path) -> str:
    """The path as seen from the root; labels of the decathlon may lie beside it."""
    return os.path.relpath(path, root)


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else noun + 's'}"
