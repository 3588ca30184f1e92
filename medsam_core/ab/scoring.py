"""Both sides on the same volumes: a subject is read and prompted once, OLD segments it, then NEW."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from medsam_core.ab.pictures import Pictures
from medsam_core.ab.question import Question
from medsam_core.ab.sides import Side
from medsam_core.cases import Case
from medsam_core.evaluation.subject import Prepared, read_cases
from medsam_core.plugin.configuration import Configuration
from medsam_core.progress import Progress

_AHEAD = 2
"""Subjects that an evaluator may begin while it works on one."""


class SharedFiles:
    """Reads and prompts the cases of a subject once for two evaluators.

    The first that needs them has them read; the second takes what the first left. The evaluators' own threads may ask
    at the same time.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._settings, self._replay = configuration.scored, configuration.replay
        self._subjects = {subject.id: subject for subject in configuration.part}
        self._kept: dict[tuple[Case, ...], Prepared] = {}
        self._lock = threading.Lock()

    def __call__(self, part: tuple[Case, ...]) -> Prepared:
        """Cases of one subject in one modality with their files and prompts. Raises MedsamError as the reading does."""
        with self._lock:
            if part in self._kept:
                return self._kept.pop(part)
            subject = self._subjects[part[0].subject]
            found = read_cases(subject, part[0].modality, part, self._settings, replay=self._replay)
            self._kept[part] = found
            return found

    def forget(self, subject: str) -> None:
        """Drop what only one side needed, because an earlier session had scored the cases for the other."""
        with self._lock:
            self._kept = {part: kept for part, kept in self._kept.items() if part[0].subject != subject}


def score_both(sides: Sequence[Side], question: Question, progress: Progress) -> None:
    """Score what is missing of both runs, and judge each run by its own gates. Raises MedsamError.

    At any time a killed process has lost at most the subject that it was working on.
    progress: counts the subjects.
    """
    configuration = sides[0].configuration
    files = SharedFiles(configuration)
    pictures = Pictures(question)
    subjects = [list(configuration.settings.cases(subject.id)) for subject in configuration.part]
    try:
        for side in sides:
            side.open(files)
        for place, cases in enumerate(subjects):
            together = [case for some in subjects[place : place + 1 + _AHEAD] for case in some]
            scored = [side.score(cases, together) for side in sides]
            files.forget(cases[0].subject)
            pictures.choose(*scored)
            progress(place + 1, len(subjects))
        for side in sides:
            side.finish()
    finally:
        for side in sides:
            side.close()
