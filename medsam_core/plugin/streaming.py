"""Subjects scored elsewhere: an executor gives their results in order of completion, `StreamedEvaluator` keeps them.

plan ─Work→ Executor ─Answer, whichever is ready first→ StreamedEvaluator ─keep→ Recorder
                                                        └ evaluate(case) → the test of that case
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from medsam_core.cases import Case
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.errors import MedsamError
from medsam_core.modalities import sequences_of
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.evaluator import Evaluated, judged, stored_records
from medsam_core.plugin.placement import Placement


@dataclass(frozen=True)
class Work:
    """One subject to score."""

    subject: Subject
    cases: tuple[Case, ...]
    """At least one, all of the subject."""
    marks: Mapping[Path, str] = field(default_factory=dict)
    """The content marks of the files that it needs; whoever reads other contents must refuse them."""


@dataclass(frozen=True)
class Kept:
    """One scored case, with the files that its record names."""

    evaluated: Evaluated
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Path inside the run directory -> content."""


@dataclass(frozen=True)
class Answer:
    """What became of one subject."""

    work: Work
    kept: tuple[Kept, ...] = ()
    """In the order of the work's cases; () after an error."""
    error: str = ""
    """Why no case could be scored, in a sentence; "" if all were."""


class Executor(Protocol):
    """Scores subjects; an iterator over their answers, in order of completion."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the run should know, such as a subject that was scored at the second try."""

    @property
    def placement(self) -> Placement:
        """Where it scores, for the run's header."""

    def add(self, work: Work, *, first: bool = False) -> None:
        """Queue a subject. first: before those that wait."""

    def __next__(self) -> Answer:
        """The next answer, waiting for it; StopIteration if nothing is queued or under way."""

    def close(self) -> None:
        """Drop what is queued or under way and end what was started."""


class StreamedEvaluator:
    """Stands in for `Evaluator` where an executor scores: the same calls, the same results."""

    def __init__(
        self, configuration: Configuration, executor: Executor, keep: Callable[[Sequence[Kept]], None]
    ) -> None:
        """keep: is called with the results of a subject as soon as they come, in whatever order."""
        self.configuration = configuration
        self.gates = configuration.loaded_gates
        self.executor = executor
        self._keep = keep
        self._subjects = {subject.id: subject for subject in configuration.cohort}
        self._stored = stored_records(configuration)
        self._begun = False
        self._subject = ""
        self._unasked: dict[str, set[Case]] = {}  # of queued subjects: cases that no test has asked for yet
        self._results: dict[str, dict[Case, Evaluated | str]] = {}  # of queued subjects: the result, or the error

    @property
    def notes(self) -> list[str]:
        """The executor's."""
        return self.executor.notes

    @property
    def placement(self) -> Placement:
        """The executor's."""
        return self.executor.placement

    def evaluate(self, case: Case, together: Iterable[Case]) -> Evaluated:
        """As `Evaluator.evaluate`. Results of other subjects are kept on the way."""
        if case.id in self._stored:
            return judged(self._stored[case.id], self.gates)
        if case.subject != self._subject:
            self._forget(self._subject)
            self._subject = case.subject
        if not self._begun:
            self._queue(dict.fromkeys([*together, case]))
        elif case not in self._unasked.get(case.subject, ()) and case not in self._results.get(case.subject, ()):
            self._queue([case], first=True)  # nobody announced it, and its test waits for it
        self._begun = True
        self._unasked[case.subject].discard(case)
        while case not in self._results.get(case.subject, ()):
            self._take(next(self.executor))
        result = self._results[case.subject][case]
        if isinstance(result, str):
            raise MedsamError(result)
        return result

    def close(self) -> None:
        """End the executor."""
        self.executor.close()

    def _forget(self, subject: str) -> None:
        """Drop the results of a subject, unless tests will ask for more of them."""
        if not self._unasked.get(subject):
            self._unasked.pop(subject, None)
            self._results.pop(subject, None)

    def _queue(self, cases: Iterable[Case], *, first: bool = False) -> None:
        by_subject: dict[str, list[Case]] = {}
        for case in cases:
            if case.id not in self._stored:
                by_subject.setdefault(case.subject, []).append(case)
        for name, own in by_subject.items():
            self._unasked.setdefault(name, set()).update(own)
            self.executor.add(work_of(self._subjects[name], own, self.configuration.content_marks), first=first)

    def _take(self, answer: Answer) -> None:
        results = self._results.setdefault(answer.work.subject.id, {})
        for kept in answer.kept:
            results[kept.evaluated.record.case] = kept.evaluated
        self._keep(answer.kept)
        if answer.error:
            results |= dict.fromkeys(answer.work.cases, answer.error)


def work_of(subject: Subject, cases: Iterable[Case], marks: Mapping[Path, str]) -> Work:
    """The work on a subject's cases, with the marks of the files that they need."""
    cases = tuple(cases)
    sequences = {name for case in cases for name in sequences_of(case.modality)}
    needed = {subject.images[name].path for name in sequences} | {subject.segmentation or Path()} - {Path()}
    return Work(subject, cases, {path: marks[path] for path in sorted(needed)})


def moved(subject: Subject, places: Mapping[Path, Path]) -> Subject:
    """The subject with files at other places. places: old -> new; a file that it lacks stays where it is."""
    images: dict[str, ImageFile] = {
        name: replace(image, path=places.get(image.path, image.path)) for name, image in subject.images.items()
    }
    segmentation = subject.segmentation
    return replace(subject, images=images, segmentation=segmentation and places.get(segmentation, segmentation))
