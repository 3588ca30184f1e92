"""Files of subjects that were sent to this machine, for as long as they are needed."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medsam_core.errors import DataError
from medsam_core.files import fault_of, write_whole
from medsam_core.plugin.identity import content_mark
from medsam_core.plugin.streaming import Work, moved


class SentFiles:
    """Keeps files by the subject that they belong to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        self._kept: dict[str, tuple[Path, dict[Path, Path]]] = {}
        """Subject -> its folder here, and the session's folders -> those here."""

    def unpack(self, work: Work, files: Mapping[Path, Any]) -> Work:
        """The work on the files as they are here. files: the session's path -> bytes. Raises DataError."""
        subject = work.subject.id
        if subject not in self._kept:
            folder = self.folder / str(next(self._numbers))
            parents = sorted({path.parent for path in files})
            self._kept[subject] = folder, {parent: folder / str(index) for index, parent in enumerate(parents)}
            for path, content in files.items():
                place = self._kept[subject][1][path.parent]
                place.mkdir(parents=True, exist_ok=True)
                write_whole(place / path.name, bytes(content), error=DataError, fix="free space for temporary files")
        places = self._kept[subject][1]
        here = {path: places[path.parent] / path.name for path in files}
        return replace(
            work,
            subject=moved(work.subject, here),
            marks={here.get(path, path): mark for path, mark in work.marks.items()},
        )

    def original(self, work: Work, sentence: str) -> str:
        """A sentence about the work with the session's paths in place of those here."""
        for session, here in self._kept.get(work.subject.id, (Path(), {}))[1].items():
            sentence = sentence.replace(str(here), str(session))
        return sentence

    def drop(self, work: Work) -> None:
        """Delete what was sent for a subject."""
        folder, _ = self._kept.pop(work.subject.id, (None, {}))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def check_files(work: Work, node: str) -> None:
    """Raise DataError if a file that the work needs is not here, or is not the one that the session found."""
    for path, mark in work.marks.items():
        if fault_of(path) is not None:
            raise DataError(
                f"{path}: no such file on the Ray node {node}, expected the session's; mount the cohort at the same "
                "path on every node, or add --medsam-ship-data."
            )
        found = content_mark(path)
        if found != mark:
            raise DataError(
                f"{path}: on the Ray node {node} its content has the mark {found[:16]}, expected {mark[:16]} as when "
                "the session began; give every node the same files, or add --medsam-ship-data."
            )
