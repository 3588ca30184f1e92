"""Which cases are shown as pictures, and where the files of a case are: its overlay and what the viewer shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from medsam_core.cases import CaseRecord, score_key
from medsam_core.page.case_data import UNGATED, in_order
from medsam_core.page.change import VISIBLE, Change
from medsam_core.page.inlining import small_picture
from medsam_core.runs import Run
from medsam_core.text import signed
from medsam_core.viewer.names import viewer_script

_PICTURES = 3
"""How many of the worst, and of the most fallen cases, are shown as pictures at once."""


@dataclass(frozen=True)
class Tile:
    """A case as a picture with a line below it."""

    id: str
    score: str
    """Dice, and the change if it is known."""
    group: str
    outcome: str
    cause: str
    picture: str | None
    """A data URL, or None if the run kept no picture of the case."""


def tiles(run: Run, outcome: Mapping[str, str], change: Change) -> tuple[list[Tile], list[Tile]]:
    """The worst cases and those that fell most; more of the worst where none fell.

    outcome: as `case_data.outcomes` gives.
    """
    by_id = {record.id: record for record in run.records}
    fallen = [by_id[case] for case in change.fallen[:_PICTURES]]
    asked = [record for record in in_order(run, dict.fromkeys(by_id, UNGATED)) if record.prompted]
    worst = asked[: _PICTURES if fallen else _PICTURES + 1]
    found = {record.id: _tile(run, record, outcome[record.id], change) for record in (*worst, *fallen)}
    return [found[record.id] for record in worst], [found[record.id] for record in fallen]


def _tile(run: Run, record: CaseRecord, outcome: str, change: Change) -> Tile:
    key = score_key(run.header.settings.profile, "dice", "volume")
    score = record.scores.get(key)
    text = "no Dice" if score is None else f"Dice {score:.3f}"
    moved = (change.by_case or {}).get(record.id)
    if moved is not None and abs(moved) >= VISIBLE:
        text += f" ({signed(moved)})"
    path = _overlay(run, record)
    return Tile(
        id=record.id,
        score=text,
        group=f"{record.case.region} {record.case.prompt}",
        outcome=outcome,
        cause=(record.diagnosis or "").partition(":")[0],
        picture=None if path is None else small_picture(path),
    )


def _overlay(run: Run, record: CaseRecord) -> Path | None:
    """The overlay of a case, None if the run has none or names one that is not in its own directory."""
    if not record.overlay:
        return None
    here = run.directory.resolve()
    path = (here / record.overlay).resolve()
    return path if path.is_relative_to(here) and path.is_file() else None


def overlay_link(run: Run, links_from: Path) -> Callable[[CaseRecord], str | None]:
    """From a record to the address of its overlay, relative to the page's folder."""

    def link(record: CaseRecord) -> str | None:
        path = _overlay(run, record)
        return None if path is None else address(path, links_from)

    return link


def viewer_link(run: Run, links_from: Path) -> Callable[[CaseRecord], str | None]:
    """From a record to the address of what the viewer shows of it, None where the run has nothing."""

    def link(record: CaseRecord) -> str | None:
        name = viewer_script(run.directory, record)
        return None if name is None else address(run.directory / name, links_from)

    return link


def address(path: Path, links_from: Path) -> str:
    """A file's address relative to the page's folder."""
    return quote(Path(os.path.relpath(path.resolve(), links_from.resolve())).as_posix())
