"""Which file is scored against which: predictions and truths paired by their names."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from medsam_core.data.layouts import parse
from medsam_core.data.regions import REGIONS
from medsam_core.errors import DataError
from medsam_core.modalities import IMAGES
from medsam_core.text import counted, few

_ENDING = re.compile(r"([_-]seg)?(\.nii(\.gz)?)?\Z", re.IGNORECASE)
_SAVED = re.compile(
    rf"(?P<subject>.+)__(?P<modality>{'|'.join(map(re.escape, IMAGES))})__(?P<region>{'|'.join(REGIONS)})__(?P<how>.+)"
)


@dataclass(frozen=True)
class Pair:
    """A truth and its prediction."""

    case: str
    """What the table calls it."""
    prediction: Path | None
    """None if it is missing."""
    truth: Path
    region: str | None = None
    """The region whose mask the prediction is; None for a label map."""


def pairs_of(prediction: Path, truth: Path, *, region: str | None = None, may_miss: bool = False) -> list[Pair]:
    """Which prediction belongs to which truth, sorted by case.

    prediction, truth: both are files, or both are folders, which are searched with all their subfolders. If names in a
        folder end in seg, the other files count as images and are ignored, with a line on stderr; a prediction is taken
        under either name.
    region: what the predictions are masks of. Masks that a gate saved (--medsam-save-masks) say so in their names; then
        those of other regions are left out.
    may_miss: whether a truth without a prediction is given with None instead of being an error.
    Raises DataError if a file is missing.
    """
    for path in (prediction, truth):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder, expected a label map; check the path.")
    if prediction.is_dir() != truth.is_dir():
        raise DataError(
            f"{prediction} and {truth}: got a folder and a file, expected two of the same kind; change one."
        )
    if not truth.is_dir():
        saved = _SAVED.fullmatch(parts(prediction)[0])
        return [Pair(parts(truth)[0], prediction, truth, region or (saved["region"] if saved else None))]
    truths = _label_maps(truth)
    predictions = _label_maps(prediction, also=truths.keys())
    if any(_SAVED.fullmatch(name) for name in predictions):
        found = list(_of_saved_masks(prediction, predictions, truths, region))
    else:
        _name_spare(prediction, sorted(predictions.keys() - truths.keys()))
        found = [Pair(case, predictions.get(case), path, region) for case, path in sorted(truths.items())]
    missing = [pair.case if pair.region == region else f"{pair.case} {pair.region}" for pair in found
               if pair.prediction is None]  # fmt: skip
    if missing and not may_miss:
        raise DataError(
            f"{prediction}: no prediction for {len(missing)} of {len(found)} cases ({few(missing, 5)}), expected one "
            "for each truth; add them, an empty label map where nothing was found, or give --missing zero."
        )
    return found


def parts(path: Path) -> tuple[str, str]:
    """The case's name, and `_seg` or `-seg` if the file's name ends in it, else ""."""
    case, seg, *_ = _ENDING.split(path.name, maxsplit=1)
    return case, seg or ""


def _of_saved_masks(
    folder: Path, predictions: dict[str, Path], truths: dict[str, Path], region: str | None
) -> Iterator[Pair]:
    """A pair for every subject and every way in which any subject was prompted, as the masks' names say."""
    names = {name: match for name in predictions if (match := _SAVED.fullmatch(name)) is not None}
    _name_spare(
        folder, sorted(predictions.keys() - names.keys() | {n for n in names if names[n]["subject"] not in truths})
    )
    ways = sorted({(m["modality"], m["how"], REGIONS.index(m["region"])) for m in names.values()})
    for subject in sorted(truths):
        for modality, how, place in ways:
            if region in (None, REGIONS[place]):
                name = f"{subject}__{modality}__{REGIONS[place]}__{how}"
                case = f"{subject}/{modality}/{how.replace('__', '/')}"
                yield Pair(case, predictions.get(name), truths[subject], REGIONS[place])


def _name_spare(folder: Path, spare: list[str]) -> None:
    if spare:
        print(
            f"{folder}: ignored {counted(len(spare), 'prediction')} without a truth: {few(spare, 5)}", file=sys.stderr
        )


def _label_maps(folder: Path, also: Collection[str] = ()) -> dict[str, Path]:
    """The label maps of a folder by case: the files named seg, or all if there are none.

    also: cases that are wanted: one without a file named seg is taken from a file without, unless that is an image.
    """
    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith((".nii", ".nii.gz")))
    files = [path for path in files if path.is_file()]
    taken = [path for path in files if parts(path)[1]]
    others = [path for path in files if not parts(path)[1]]
    if taken and others:
        named = {parts(path)[0] for path in taken}
        more = [path for path in others if parts(path)[0] in also and parts(path)[0] not in named]
        others = [path for path in others if path not in more]
        taken += more
    if taken and others:
        # first those that may be label maps
        ignored = sorted((path.name for path in others), key=lambda name: (parse(name) is not None, name))
        count = counted(len(taken), "file")
        print(f"{folder}: took the {count} named seg, ignored {few(ignored, 5)}", file=sys.stderr)
    found: dict[str, Path] = {}
    for path in taken or others:
        case, _ = parts(path)
        if case in found:
            raise DataError(f"{folder}: {found[case]} and {path} are both {case}, expected one of each; remove one.")
        found[case] = path
    if not found:
        raise DataError(f"{folder}: holds no .nii or .nii.gz file, expected label maps; check the path.")
    return found
