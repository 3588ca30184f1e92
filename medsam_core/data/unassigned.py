"""Files and folders that belong to no subject: a possibly lost subject is refused, others are ignored with a note.

A subject that lost its images is in no plan, so only this check keeps a gate from passing the rest of a broken
download.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.data.formats import ARCHIVE, foreign_image
from medsam_core.text import counted, few, shown


@dataclass(frozen=True)
class Leftover:
    """A file or a folder that belongs to none of the subjects."""

    path: Path
    what: str
    """What it is, in a few words."""
    subject: str = ""
    """The id of the subject in its name; "" if the name has none."""
    harmless: bool = False
    """Whether it can never have been a subject of this cohort."""
    related: bool = False
    """Whether it belongs to a subject whose id its name begins with."""
    fix: str = "complete the download"
    """What to do about it if it is a lost subject."""


def folder_without_subject(folder: Path, files: Iterable[str]) -> Leftover:
    """The leftover for a folder without sub-folders and without a subject. files: the names of its visible files."""
    names = sorted(files)
    if not names:
        return Leftover(folder, "an empty folder")
    # a failed download may leave an error page instead of images, so a folder with a subject's name is not harmless
    harmless = all(map(layouts.DOCUMENT.fullmatch, names)) and not layouts.SUBJECT.match(folder.name)
    what = f"a folder with {few([shown(name) for name in names])}"
    # other images of a subject, such as the functional ones of BIDS, have its id in all their names
    fix = next((found[1] for name in names if (found := foreign_image(name))), "complete the download")
    return Leftover(folder, what, _common(names), harmless=harmless, related=True, fix=fix)


def _common(names: Sequence[str]) -> str:
    """What all names begin with; the names are sorted."""
    first, last = names[0], names[-1]
    return first[: next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(last))]


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


def other_files(
    folder: Path,
    files: Iterable[str],
    understood: Collection[str],
    subjects: Sequence[str],
    folders: Collection[str],
    own: str | None = None,
) -> list[Leftover]:
    """What else may hold an image in a folder of subjects, or above them: images, archives and other formats.

    understood: names that a layout takes. subjects: ids of the subjects whose files are in the folder.
    folders: names of its sub-folders. own: the subject whose own folder it is, to which a file of any name belongs.
    Files of one subject are one leftover.
    """
    left: list[Leftover] = []
    owned: dict[str, list[str]] = {}
    for name in sorted(files):
        if name in understood or layouts.DOCUMENT.fullmatch(name) or layouts.parse(layouts.when_finished(name)):
            continue
        owner = _named_after(name, subjects) or (None if layouts.SUBJECT.match(name) else own)
        foreign = foreign_image(name)
        archive = ARCHIVE.fullmatch(name) is not None
        if owner is not None and not archive:
            if foreign or layouts.NIFTI.fullmatch(name):
                owned.setdefault(owner, []).append(name)
        elif archive:
            stem = _stem(name)
            # the archive that these folders were unpacked from
            unpacked = stem in folders or stem in (folder.name, *(parent.name for parent in folder.parents))
            left.append(Leftover(folder / name, "an archive", stem, harmless=unpacked, fix="unpack it"))
        elif foreign is not None:
            left.append(Leftover(folder / name, foreign[0], _subject_in(name), fix=foreign[1]))
        elif layouts.NIFTI.fullmatch(name):
            what = "an image that its name does not explain"
            stem = _stem(name)
            left.append(Leftover(folder / name, what, stem, related=True, fix="rename it as its data set does"))
        elif "." in name or not (folder / name).is_symlink():  # a link without an ending: `broken_links`
            left.append(Leftover(folder / name, "a file of an unknown kind", harmless=True))
    for owner, names in owned.items():
        what = f"{counted(len(names), 'other image')}: {few([shown(name) for name in names])}"
        left.append(Leftover(folder / names[0], what, owner))
    return left


def _named_after(name: str, subjects: Iterable[str]) -> str | None:
    """The longest id that a file's name begins with."""
    seen = shown(name)  # as ids are
    fitting = [one for one in subjects if re.match(re.escape(shown(one)) + r"(?![A-Za-z0-9])", seen, re.IGNORECASE)]
    return max(fitting, key=len, default=None)


def _stem(name: str) -> str:
    """The name of an archive without its endings."""
    return re.sub(r"(\.(zip|tar|tgz|gz|bz2|xz|zst|7z|rar|nii|(part)?\d+))+$", "", name, flags=re.IGNORECASE)


def _subject_in(name: str) -> str:
    """The subject's part of the name of an image in another format."""
    known = layouts.parse(f"{name.split('.')[0]}.nii")
    return known.stem if known else ""


def broken_links(files: Mapping[str, Path]) -> list[Leftover]:
    """Links to nothing that may have been a subject's folder: their names have no ending.

    files: name -> path of a folder's files.
    """
    return [
        Leftover(path, "a link to nothing")
        for name, path in sorted(files.items())
        if "." not in name and not layouts.DOCUMENT.fullmatch(name) and path.is_symlink() and not path.exists()
    ]


def explain_leftovers(
    root: Path, leftovers: Iterable[Leftover], subjects: Mapping[str, Path]
) -> tuple[dict[str, tuple[str, ...]], str]:
    """(notes, lost): sentences about what is ignored, by subject, and one about leftovers that may be lost subjects.

    subjects: id -> folder of every subject, at least one. lost is "" if every leftover belongs to a subject.
    """
    ids = {name.lower(): name for name in subjects}
    neighbours: dict[Path, list[str]] = {}
    for name, folder in subjects.items():
        neighbours.setdefault(folder, []).append(name)
    lost: list[str] = []
    fixes: dict[str, None] = {}
    notes: dict[str, list[str]] = {}
    for one in sorted(leftovers, key=lambda one: one.path):
        # relative to the root; the decathlon's labels may be outside of it
        described = f"{shown(os.path.relpath(one.path, root))} ({one.what})"
        # a note about the whole cohort is written once, at its first subject
        owner = min(subjects) if one.harmless else _owner(one, ids, neighbours.get(one.path.parent, ()))
        if owner is None:
            lost.append(described)
            fixes[one.fix] = None
        else:
            notes.setdefault(owner, []).append(f"{described} is ignored.")
    refusal = (
        f"{few(lost)}: no image in {counted(len(lost), 'place')} next to {counted(len(subjects), 'subject')} of "
        f"{root}, expected images wherever a subject should be; {' or '.join(fixes)}, or move "
        "everything that is no subject out of the root."
    )
    return {name: tuple(sentences) for name, sentences in notes.items()}, refusal if lost else ""


def _owner(one: Leftover, ids: Mapping[str, str], neighbours: Iterable[str]) -> str | None:
    """The subject that a file belongs to, as predictions and second readings do; None if there is none.

    ids: lower-case id -> id, of all subjects. neighbours: ids of the subjects in the file's folder.
    """
    key = shown(one.subject).lower()
    if not key or key in ids:
        return ids.get(key)
    if one.related:
        ends = [match.start() for match in re.finditer(r"[^a-z0-9]", key)]
        longest = next((key[:end] for end in reversed(ends) if key[:end] in ids), "")
        return ids.get(longest)
    low = {name.lower(): name for name in neighbours}
    own = shown(one.path.parent.name).lower()
    if own in low and not layouts.SUBJECT.match(key):
        return low[own]
    return next((low[name] for name in low if key.startswith((f"{name}_", f"{name}-"))), None)
