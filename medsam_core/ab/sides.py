"""One of the two that are compared: an ordinary run with its evaluator and its recorder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from medsam_core.ab.question import Question, judged
from medsam_core.cases import Case
from medsam_core.errors import MedsamError
from medsam_core.evaluation.subject import Prepared
from medsam_core.header import RunHeader
from medsam_core.plugin.evaluator import Evaluated, Evaluator
from medsam_core.plugin.recorder import Recorder
from medsam_core.runs import HEADER, check_same_question, read_run, stored_outcome

_SHARED = ("cohort", "content_marks", "loaded_gates")
"""Of a configuration: what is found once for both sides, because it depends on the cohort alone."""


class Side:
    """OLD or NEW.

    Making one reads the cohort and the weights but writes nothing; `open` begins or goes on with its run directory.
    """

    def __init__(self, name: str, question: Question) -> None:
        """Raises MedsamError if it cannot be scored, or if its directory holds a run that was asked something else."""
        self.name = name
        """old or new."""
        self.directory: Path = question.directory / name
        stored = (self.directory / HEADER).exists()
        self.configuration = replace(
            question.configuration,
            run_dir=self.directory,
            resume=stored,
            # which pictures stay is decided for both sides together, see `pictures`
            overlays=question.configuration.overlays and None,
            **judged(question.texts[name], question.configuration),
        )
        _ = self.configuration.predictor  # before the cohort is read: a wrong name or file costs seconds
        for known in _SHARED:
            vars(self.configuration)[known] = getattr(question.configuration, known)
        self.recorder = Recorder(self.configuration)
        self.header: RunHeader = self.recorder.header
        self.ended = False
        """Whether an earlier session has scored all of it and left a verdict: then nothing is written."""
        self.errors: dict[str, str] = {}
        """By subject, why it could not be scored."""
        if stored:
            run = read_run(self.directory)
            check_same_question(self.directory, run.header, self.header)
            scored = {record.id for record in run.records}
            self.ended = stored_outcome(self.directory) is not None and scored >= set(run.plan)
        self._evaluator: Evaluator | None = None

    def open(self, files: Callable[[tuple[Case, ...]], Prepared]) -> None:
        """Begin to score. files: what reads and prompts cases. Raises RunError if the directory cannot be written."""
        if not self.ended:
            self.recorder.open()
        self._evaluator = Evaluator(self.configuration, files=files)

    def score(self, cases: Iterable[Case], together: Iterable[Case]) -> list[Evaluated]:
        """Score and record the cases of one subject; those of an earlier session are taken from the disk.

        together: these cases and those to be scored next. A subject that cannot be scored is noted in `errors`, and its
        cases are left out. Raises RunError if a record cannot be written.
        """
        assert self._evaluator is not None
        found = []
        for case in cases:
            try:
                found.append(self._evaluator.evaluate(case, together))
            except MedsamError as error:
                self.errors[case.subject] = str(error)
        if not self.ended:
            self.recorder.add(*found)
        return found

    def finish(self) -> None:
        """Judge the run by its own gates and write its page, unless that was done. Raises MedsamError."""
        if not self.ended:
            notes = [f"{subject}: not scored: {error}" for subject, error in self.errors.items()]
            self.recorder.finish(notes=notes)

    def close(self) -> None:
        """Stop without a verdict; what was scored stays on the disk."""
        if self._evaluator is not None:
            self._evaluator.close()
        self.recorder.close()
