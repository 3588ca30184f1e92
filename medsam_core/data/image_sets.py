"""Subjects whose images and labels are in folders of their own: imagesTr and labelsTr, and LUMIERE's weeks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.data.dataset_json import Description
from medsam_core.data.listing import listing, one_of
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.data.unassigned import Leftover, subjects_without_images
from medsam_core.errors import DataError
from medsam_core.modalities import MODALITIES
from medsam_core.text import counted, few, shown

_FOLDERS = ("imagestr", "imagests", "labelstr", "labelsts")
_CHANNEL = re.compile(r"(?P<stem>.+)_(?P<channel>\d{4})\.nii(\.gz)?", re.IGNORECASE)
_IMAGE = re.compile(r"(?P<stem>.+?)\.nii(\.gz)?", re.IGNORECASE)
_OTHER_TASK = re.compile(r"Task(?!01)\d\d_\w+")


def is_image_set(folder: Path) -> bool:
    """Whether it is imagesTr, or another folder next to one: its files are not named like subjects."""
    return folder.name.lower() in _FOLDERS and (
        folder.name.lower() == "imagestr" or (folder.parent / "imagesTr").is_dir()
    )


def image_set(
    folder: Path, files: Mapping[str, Path], description: Description | None, leftovers: list[Leftover]
) -> Iterator[Subject]:
    """The subjects of the decathlon's or nnU-Net's imagesTr; test images have no labels and are left out, with a note.

    description: dataset.json, which says what the channels and the labels are. Without it, only the decathlon's Task01
    is known, by its names. leftovers: gets labels without an image, and images that nothing describes.
    Raises DataError where dataset.json names no channel that is known, or fewer than there are files.
    """
    if folder.name.lower() != "imagestr":
        tests = [name for name in files if layouts.NIFTI.fullmatch(name)]
        if folder.name.lower() == "imagests" and tests:
            leftovers.append(Leftover(folder, f"{counted(len(tests), 'test image')} without labels", harmless=True))
        return
    labels = folder.parent / "labelsTr"
    segmentations = listing(labels)[0] if labels.is_dir() else {}
    described = description is not None and bool(description.channels)
    stems, unknown = _by_stem(files, described=described)
    if description is not None and described and stems and not description.modalities:
        if _OTHER_TASK.fullmatch(folder.parent.name):
            unknown, stems = [*unknown, *files], {}
        else:
            raise DataError(
                f"{description.path}: the channels {few([shown(one) for one in description.channels], 5)}, expected "
                "T1, T1ce, T2 or FLAIR among them; correct their names, or give a root without this folder."
            )
    images = [name for name in unknown if not layouts.DOCUMENT.fullmatch(name) and not layouts.when_finished(name)]
    if images:
        what = f"{counted(len(images), 'image')} of unknown channels, such as {shown(images[0])}"
        other = bool(_OTHER_TASK.fullmatch(folder.parent.name))
        leftovers.append(Leftover(folder, what, harmless=other, fix="add a dataset.json that names the channels"))
    broken = [
        (match["stem"], folder / name)
        for name in files
        if (match := (_CHANNEL if described else _IMAGE).fullmatch(layouts.when_finished(name)))
    ]
    alone = [(match["stem"], labels / name) for name in segmentations if (match := _IMAGE.fullmatch(name))]
    if stems:
        leftovers += subjects_without_images(stems, alone, broken)
    for stem, names in stems.items():
        notes: list[str] = []
        own_images, layout = _images(stem, names, files, description, notes)
        masks = [name for name in (f"{stem}.nii", f"{stem}.nii.gz") if name in segmentations]
        convention = description.convention if description else "msd"
        if description is not None and description.unclear:
            notes.append(f"dataset.json has the label {shown(description.unclear)}, which is not understood.")
        yield Subject(
            id=shown(stem),
            images={name: own_images[name] for name in MODALITIES if name in own_images},
            segmentation=one_of(stem, "seg", masks, segmentations, notes) if masks else None,
            layout=layout,
            convention=convention,
            notes=tuple(notes),
        )


def _by_stem(files: Mapping[str, Path], *, described: bool) -> tuple[dict[str, list[str]], list[str]]:
    """Case -> its files, and the names that are no case's."""
    stems: dict[str, list[str]] = {}
    unknown = []
    for name in sorted(files):
        match = (_CHANNEL.fullmatch(name) or _IMAGE.fullmatch(name)) if described else None
        if not described and layouts.MSD_IMAGE.fullmatch(name):
            match = _IMAGE.fullmatch(name)
        if match is None:
            unknown.append(name)
        else:
            stems.setdefault(match["stem"], []).append(name)
    return stems, unknown


def _images(
    stem: str, names: list[str], files: Mapping[str, Path], description: Description | None, notes: list[str]
) -> tuple[dict[str, ImageFile], str]:
    """The image of each modality of one case, and the layout: a file per channel (nnU-Net) or one for all (decathlon).

    Raises DataError if there are files of channels that dataset.json does not name.
    """
    if description is None:
        path = one_of(stem, "image", names, files, notes)
        notes.append("there is no dataset.json: its channels are taken as FLAIR, T1w, T1gd, T2w as in Task01.")
        return {name: ImageFile(path, place, len(layouts.MSD_CHANNELS)) for name, place in _msd()}, "msd"
    other = description.other_channels
    if other:
        notes.append(f"the channels {few([shown(one) for one in other])} of dataset.json are not read.")
    by_channel: dict[int, list[str]] = {}
    for name in names:
        match = _CHANNEL.fullmatch(name)
        by_channel.setdefault(int(match["channel"]) if match else -1, []).append(name)
    if -1 in by_channel:
        path = one_of(stem, "image", names, files, notes)
        count = len(description.channels)
        return {name: ImageFile(path, place, count) for name, place in description.modalities.items()}, "msd"
    beyond = [place for place in by_channel if place >= len(description.channels)]
    if beyond:
        raise DataError(
            f"{description.path}: {counted(len(description.channels), 'channel')}, expected one for each file of "
            f"{shown(stem)}, which has {by_channel[beyond[0]][0]}; correct dataset.json."
        )
    chosen = {
        name: ImageFile(one_of(stem, name, by_channel[place], files, notes))
        for name, place in description.modalities.items()
        if place in by_channel
    }
    return chosen, "nnunet"


def _msd() -> list[tuple[str, int]]:
    return list(layouts.MSD_CHANNELS.items())


_WEEK, _PATIENT = re.compile(r"week-\d+(-\d+)?", re.IGNORECASE), re.compile(r"patient-\d+", re.IGNORECASE)
_NAMES = {"t1ce": "ct1", "t1": "t1", "t2": "t2", "flair": "flair"}
_DEEP, _GLIO = "DeepBraTumIA-segmentation", "HD-GLIO-AUTO-segmentation"
_SEGMENTED = {
    # source: segmentation, images on its grid (else those of the week), label convention
    None: (f"{_DEEP}/atlas/segmentation/seg_mask.nii.gz", f"{_DEEP}/atlas/skull_strip/{{}}_skull_strip.nii.gz", None),
    layouts.HD_GLIO: (
        f"{_GLIO}/registered/segmentation.nii.gz", f"{_GLIO}/registered/{{}}_r2s_bet_reg.nii.gz", "hd-glio",
    ),
}  # fmt: skip


def lumiere_subject(
    folder: Path, files: Mapping[str, Path], folders: Sequence[str], source: str | None
) -> Subject | None:
    """The subject of one of LUMIERE's weeks (Imaging/Patient-001/week-000-1), or None for any other folder.

    source: layouts.HD_GLIO for that segmentation; otherwise DeepBraTumIA's, whose labels are not documented.
    """
    if not _WEEK.fullmatch(folder.name) or not _PATIENT.fullmatch(folder.parent.name):
        return None
    by_name = {name.lower(): path for name, path in files.items()}
    week = {kind: path for kind, name in _NAMES.items() if (path := by_name.get(f"{name}.nii.gz"))}
    mask, pattern, convention = _SEGMENTED[source if source in _SEGMENTED else None]
    segmentation = folder / mask if (folder / mask).is_file() else None
    registered = {
        kind: path
        for kind, name in _NAMES.items()
        for spelling in (name, name.upper())
        if (path := folder / pattern.format(spelling)).is_file()
    }
    images = registered if segmentation is not None and registered else week
    if not images:
        return None
    notes = [f"{name} is not read." for name in folders if name in (_DEEP, _GLIO) and not mask.startswith(name)]
    if images is registered:
        notes.append(f"the images are those of {Path(pattern).parent}, on the grid of the segmentation.")
    return Subject(
        id=f"{folder.parent.name}_{folder.name}",
        images={name: ImageFile(images[name]) for name in MODALITIES if name in images},
        segmentation=segmentation,
        layout="lumiere",
        convention=convention,
        notes=tuple(notes),
    )
