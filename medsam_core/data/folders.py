"""Walk through a folder and take the subjects out of it, by the names of files and folders."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medsam_core.data import dataset_json, layouts
from medsam_core.data.dataset_json import Description, read_description
from medsam_core.data.formats import foreign_image
from medsam_core.data.image_sets import image_set, is_image_set, lumiere_subject
from medsam_core.data.listing import listing, one_of
from medsam_core.data.name_mapping import TABLES, read_table
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.data.unassigned import (
    Leftover,
    broken_links,
    folder_without_subject,
    other_files,
    subjects_without_images,
)
from medsam_core.errors import DataError
from medsam_core.modalities import MODALITIES
from medsam_core.text import counted, shown

_DEPTH = 8  # root / Kaggle's wrapper / the archive's own folder / derivatives / pipeline / subject / session / anat
_RUN, _OF_A_RUN = "run.json", ("masks", "overlays", "viewer")


@dataclass
class Search:
    """What a walk collects in addition to the subjects."""

    source: str | None = None
    """Which segmentation is chosen where a data set has several, of `layouts.SOURCES`; None for its own."""
    mapping: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """The rows of the tables on the way (`name_mapping.read_table`)."""
    leftovers: list[Leftover] = field(default_factory=list)
    """Everything that may be a lost subject."""
    detached: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)
    """Subject's id in lower case -> (source, segmentation) in other folders than the images."""

    @property
    def collected(self) -> int:
        """How much was found that is no subject."""
        return len(self.leftovers) + sum(map(len, self.detached.values()))


def walk(
    folder: Path, search: Search, description: Description | None = None, depth: int = _DEPTH
) -> Iterator[tuple[Subject, Path]]:
    """The subjects below a folder, each with the folder that holds its files.

    description: what the nearest dataset.json above says. depth: how many levels of folders to search.
    Raises DataError for a folder that cannot be listed or described, and where two files compete.
    """
    files, folders = listing(folder)
    is_run = _RUN in files
    if is_run:  # the folder holds a run: its masks and pictures belong to no subject, other folders may
        folders = [name for name in folders if name not in _OF_A_RUN]
    read_table(folder, [name for name in TABLES if name in files], search.mapping)
    if dataset_json.NAME in files:
        description = read_description(files[dataset_json.NAME])
    leftovers = search.leftovers
    before = search.collected
    if (subject := lumiere_subject(folder, files, folders, search.source)) is not None:
        yield subject, folder
        return
    if is_image_set(folder):
        found = list(image_set(folder, files, description, leftovers))
    else:
        found = [*_subjects(folder, files, search, description), *_npz_subjects(files, description)]
    for subject in found:
        yield subject, folder
    if any(_is_own(subject.id, folder) for subject in found):
        leftovers += _in_own_folder(folder, folders, found[0].id)
        return
    leftovers += broken_links(files)
    if found or folders or search.collected > before:
        if not is_image_set(folder) and not is_run:
            leftovers += other_files(folder, files, _understood(files), [one.id for one in found], folders)
    elif not is_run and not is_image_set(folder):
        leftovers.append(folder_without_subject(folder, files))
    if depth > 1:
        for name in folders:
            inner = folder / name
            if inner.is_symlink() and folder.resolve().is_relative_to(inner.resolve()):
                leftovers.append(Leftover(inner, "a link to a folder above it", harmless=True))
            else:
                yield from walk(inner, search, description, depth - 1)
    elif folders:
        leftovers.append(Leftover(folder / folders[0], f"folders deeper than {_DEPTH} levels"))


def _is_own(subject: str, folder: Path) -> bool:
    """Whether the folder is the subject's own: then nothing below it is another subject."""
    own, subject = shown(folder.name).lower(), shown(subject).lower()
    return own in (subject, f"{subject}_nifti")


def _in_own_folder(folder: Path, folders: list[str], subject: str) -> list[Leftover]:
    """Sub-folders of a subject's own folder that hold images: they are not searched."""
    left = []
    for name in folders:
        inside = listing(folder / name)[0]
        images = [file for file in inside if layouts.NIFTI.fullmatch(file) or foreign_image(file)]
        if images:
            left.append(Leftover(folder / name, f"a folder with {counted(len(images), 'image')}", subject))
    return left


def _understood(files: Mapping[str, Path]) -> set[str]:
    """The names that a layout understands, with those of .npz files whose names say the sequence."""
    return {
        name
        for name in files
        if _known(name) is not None or (layouts.NPZ.fullmatch(name) and layouts.modality_in(Path(name).stem))
    }


def _known(name: str) -> layouts.FileName | None:
    """`layouts.parse`, but None for a format that needs a package that is not installed."""
    known = layouts.parse(name)
    if known is not None and not layouts.NIFTI.fullmatch(name) and importlib.util.find_spec("SimpleITK") is None:
        return None
    return known


def _subjects(
    folder: Path, files: Mapping[str, Path], search: Search, description: Description | None
) -> Iterator[Subject]:
    """The subject of a folder, or several if their files are in one folder."""
    parsed = {name: known for name in sorted(files) if (known := _known(name)) is not None}
    by_subject: dict[str, dict[str, list[str]]] = {}
    own = folder.name.removesuffix("_nifti")
    spelling: dict[str, str] = {own.lower(): own}
    derived = "derivatives" in (parent.name for parent in folder.parents)
    for name, known in parsed.items():
        stem = known.stem or own
        key = spelling.setdefault(stem.lower(), stem)
        if derived and known.kind != "seg" and layouts.is_bids(stem):
            # a pipeline's copy of an image; its segmentations may be on the grid of one of them
            search.leftovers.append(Leftover(files[name], "an image of a derivative", stem))
            continue
        by_subject.setdefault(key, {}).setdefault(known.kind, []).append(name)
    with_images = {key: kinds for key, kinds in by_subject.items() if kinds.keys() - {"seg"}}
    alone: list[tuple[str, Path]] = []
    for key, kinds in by_subject.items():
        if key not in with_images:
            names = kinds["seg"]
            if parsed[names[0]].detached:
                search.detached.setdefault(key.lower(), []).extend((parsed[name].source, files[name]) for name in names)
            else:
                alone.append((key, files[names[0]]))
    broken = [
        (known.stem or folder.name, folder / name)
        for name in files
        if (known := layouts.parse(layouts.when_finished(name))) is not None
    ]
    search.leftovers += subjects_without_images(with_images, alone, broken)
    taken: list[str] = []
    for key, kinds in with_images.items():
        notes: list[str] = []
        chosen = {kind: one_of(key, kind, _plain(names, parsed, notes), files, notes) for kind, names in kinds.items()}
        segmentation = chosen.pop("seg", None)
        if segmentation is None and len(with_images) == 1:
            odd = [name for name in files if name not in parsed and layouts.is_odd_segmentation(name, key)]
            if len(odd) == 1:
                segmentation = files[odd[0]]
                taken += odd
                notes.append(f"{shown(odd[0])} is used as the segmentation, although its name does not say so.")
        above = [folder.name, *(parent.name for parent in folder.parents)]
        row = layouts.layout_of(key)
        yield Subject(
            id=shown(key),
            images={name: ImageFile(chosen[name]) for name in MODALITIES if name in chosen},
            segmentation=segmentation,
            layout=row.name if row else layouts.UNKNOWN,
            convention=described_convention(key, layouts.convention_of(key, above), description),
            grade=next((name.upper() for name in above if name.upper() in layouts.GRADES), None),
            site=layouts.site_of(key),
            notes=tuple(notes),
        )
    mine = next((key for key in with_images if _is_own(key, folder)), None)
    if mine is not None:  # else `walk` does it
        understood = {*parsed, *taken}
        search.leftovers += other_files(folder, files, understood, list(with_images), (), mine)


def _plain(names: list[str], parsed: Mapping[str, layouts.FileName], notes: list[str]) -> list[str]:
    """Without UCSF-PDGM's copies of images that are there without the correction, too."""
    plain = [name for name in names if not parsed[name].corrected]
    if plain and len(plain) < len(names):
        notes.append(f"{', '.join(shown(name) for name in names if name not in plain)} is not read.")
    return plain or names


def _npz_subjects(files: Mapping[str, Path], description: Description | None) -> Iterator[Subject]:
    """A subject for each .npz file of the CVPR25 challenge: its image and its labels, if its name says the sequence."""
    for name in sorted(files):
        if layouts.NPZ.fullmatch(name) and (modality := layouts.modality_in(Path(name).stem)) is not None:
            key = name[: -len(".npz")]
            yield Subject(
                id=shown(key),
                images={modality: ImageFile(files[name])},
                segmentation=files[name],
                layout="npz",
                convention=described_convention(key, None, description),
            )


def described_convention(subject: str, named: str | None, description: Description | None) -> str | None:
    """The convention of a subject whose name says `named`. Raises DataError if dataset.json says another one."""
    stated = description.convention if description else None
    if description is None or stated is None or named is None:
        return named or stated
    if not dataset_json.agree(named, stated):
        raise DataError(
            f"{description.path}: labels are {stated}, expected {named} as the name of {shown(subject)} says; correct "
            "dataset.json, or move it elsewhere."
        )
    return named
