"""`slices.jsonl` of a run: the voxels of every case slice by slice, a line per case, for the curve on the run's page.

It is no part of the record: no score and no verdict depends on it, and a run without the file is as good as one with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from medsam_core.decoding import Malformed, parse, shape
from medsam_core.errors import MedsamError
from medsam_core.files import read_input
from medsam_core.prompts.truth import slice_areas

SLICES = "slices.jsonl"
_LARGEST = 256 * 1024**2
"""Bytes; 15,012 cases of 100 slices are some 18 MB."""


@dataclass(frozen=True)
class SliceCounts:
    """The voxels of one case on every axial slice from the first with truth or prediction to the last."""

    id: str
    """Of the case."""
    first: int
    """The number of the first slice; 0 if there is neither truth nor prediction."""
    both: tuple[int, ...]
    """Voxels of truth and prediction together, by slice."""
    prediction: tuple[int, ...]
    """Voxels of the prediction, by slice."""
    truth: tuple[int, ...]
    """Voxels of the truth, by slice."""

    @property
    def dice(self) -> tuple[float | None, ...]:
        """Dice of every slice, None on a slice with neither truth nor prediction."""
        counts = zip(self.both, self.prediction, self.truth, strict=True)
        return tuple(2 * both / (found + true) if found + true else None for both, found, true in counts)

    def line(self) -> str:
        """The case's line of the file."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def count_slices(case: str, prediction: np.ndarray, truth: np.ndarray) -> SliceCounts:
    """Count a case's voxels by slice. prediction, truth: (D, H, W) bool, same shape."""
    found, true = slice_areas(prediction), slice_areas(truth)
    used = np.flatnonzero((found > 0) | (true > 0))
    if not used.size:
        return SliceCounts(case, 0, (), (), ())
    window = slice(int(used[0]), int(used[-1]) + 1)
    both = [
        int(np.count_nonzero(prediction[number] & truth[number])) if found[number] and true[number] else 0
        for number in range(window.start, window.stop)
    ]
    return SliceCounts(case, window.start, tuple(both), tuple(found[window].tolist()), tuple(true[window].tolist()))


def append_line(directory: Path, line: str) -> None:
    """Add a case's line to the file in a run's directory. A disk that takes no more costs a curve, not the run."""
    with suppress(OSError), (directory / SLICES).open("a", encoding="utf-8") as stream:
        stream.write(line)


def read_slices(directory: Path) -> dict[str, SliceCounts]:
    """What the file in a run's directory says, by case id, the last line of a case; {} if there is no file.

    A line that cannot be read is left out: a killed session leaves one, and a page is not worth an error.
    """
    try:
        content = read_input(directory / SLICES, largest=_LARGEST, what="counts by slice", error=MedsamError)
    except MedsamError:
        return {}
    return {one.id: one for one in _readable(content.split(b"\n"))}


def _readable(lines: Iterable[bytes]) -> Iterable[SliceCounts]:
    for line in lines:
        try:
            counts = shape(parse(line), SliceCounts)
        except Malformed:
            continue
        if len(counts.both) == len(counts.prediction) == len(counts.truth):
            yield counts
