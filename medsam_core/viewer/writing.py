"""Writes the viewer's files into a run, and removes the images that no case shows any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import RunError
from medsam_core.files import write_whole
from medsam_core.viewer.encoding import case_text, image_text
from medsam_core.viewer.names import FOLDER, case_script, image_script

if TYPE_CHECKING:
    from medsam_core.evaluation.subject import ScoredCase

VIEWER, LIBRARY = "viewer.js", "niivue.js"
"""What a page loads, and what that loads."""
_HERE = Path(__file__).parent
_PARTS = ("decoding", "contours", "surfaces", "pane", "viewer")
_FIX = "choose another --medsam-run-dir"


def write_cases(results: Sequence[ScoredCase], directory: Path) -> None:
    """Write the files of scored cases of one subject in one modality, and their image's.

    results: at least one. directory: the run's. Raises RunError if a file cannot be written.
    """
    image = image_script(results[0].record.case)
    write_script(directory / image, image_text(results[0].image, _regions(results)))
    for result in results:
        text = case_text(result.record.id, Path(image).name, result.truth, result.prediction, result.prompts)
        write_script(directory / case_script(result.record.id), text)


def write_script(path: Path, text: str) -> None:
    """Write a script, whole or not at all. Raises RunError."""
    write_whole(path, text, error=RunError, fix=_FIX, make_folder=True)


def write_programs(directory: Path) -> None:
    """Write viewer.js and niivue.js into a run that has files of cases. Raises RunError."""
    folder = directory / FOLDER
    if folder.is_dir() and any(folder.iterdir()):
        write_script(folder / VIEWER, viewer_program())
        write_whole(folder / LIBRARY, library(), error=RunError, fix=_FIX)


@cache
def viewer_program() -> str:
    """The text of viewer.js: its parts, in one scope."""
    parts = [(_HERE / "browser" / f"{part}.js").read_text(encoding="utf-8") for part in _PARTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


def library() -> bytes:
    """NiiVue, as its package has it."""
    return (_HERE / "assets" / LIBRARY).read_bytes()


def files_of(record: CaseRecord, directory: Path) -> tuple[str, ...]:
    """The files of a case and of its image that a run has, relative to it."""
    return tuple(name for name in (case_script(record.id), image_script(record.case)) if (directory / name).is_file())


def remove_unused_image(directory: Path, cases: Iterable[Case]) -> None:
    """Remove the image of cases of one subject in one modality, if none of them has a file."""
    cases = list(cases)
    if cases and not any((directory / case_script(case.id)).exists() for case in cases):
        (directory / image_script(cases[0])).unlink(missing_ok=True)


def _regions(results: Sequence[ScoredCase]) -> list:
    by_region = {result.record.case.region: result.truth for result in results}
    return list(by_region.values())
