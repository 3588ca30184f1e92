"""The `Evaluator` scores the cases of a session.

Under xdist every worker has an Evaluator, and only the controller has a Recorder (`plugin/recorder.py`). One JSON
string per case goes from one to the other, so a run is the same with and without workers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import MedsamError, RunError
from medsam_core.evaluation.pipeline import Lookahead
from medsam_core.evaluation.subject import Prepared, Segmented, encode, segment
from medsam_core.gates.gates_file import Gates
from medsam_core.inference.devices import resolve_device
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.finishing import Finishing
from medsam_core.plugin.reading_processes import Held, ReadingProcesses
from medsam_core.plugin.reading_worker import Part
from medsam_core.plugin.viewer_files import selection_of
from medsam_core.runs import read_run


@dataclass(frozen=True)
class Evaluated:
    """What a test is given for its case."""

    record: CaseRecord
    violations: tuple[str, ...]
    """The case bounds of the gates that it breaks."""
    checkpoint: str = ""
    """SHA-256 of the weights that this process scored it with, "" if it is a stored record."""
    predictor: str = ""
    """Name and version of the predictor, likewise."""
    kind: str = ""
    """The model of the device and the precision, likewise."""
    slices: str = ""
    """The line of `slices.jsonl` about the case, likewise."""

    def to_wire(self) -> str:
        """One JSON string: what a test report carries from a worker to the controller."""
        return json.dumps(vars(self) | {"record": self.record.to_json()})

    @classmethod
    def from_wire(cls, text: str) -> Evaluated:
        """The inverse of `to_wire`."""
        data = json.loads(text)
        given = {"record": CaseRecord.from_json(data["record"]), "violations": tuple(data["violations"])}
        return cls(**(data | given))


class Evaluator:
    """Scores cases on demand; the first case of a subject scores all of that subject's cases, a batch per modality.

    files: what reads and prompts cases of one subject in one modality; None: this evaluator or its processes.
    """

    notes: Sequence[str] = ()
    """What a reader of the run should know of how its subjects were scored; here nothing."""
    placement = None
    """Where it scores: None for this process."""

    def __init__(
        self, configuration: Configuration, *, files: Callable[[tuple[Case, ...]], Prepared] | None = None
    ) -> None:
        self.configuration = configuration
        self._files = files
        self.gates = configuration.loaded_gates
        self.subjects = {subject.id: subject for subject in configuration.cohort}
        _ = configuration.replay  # read by this thread, once
        self._subject: str | None = None
        self._results: dict[Case, Evaluated] = {}
        self._error: MedsamError | None = None
        self._stored = stored_records(configuration)
        where = configuration.reading
        if where == "auto":
            where = "here" if resolve_device(configuration.own_device).type == "cpu" else "processes"
        self._processes = ReadingProcesses() if where == "processes" and files is None else None
        self._finishing = Finishing(
            configuration.run_dir.absolute(),
            self.gates,
            configuration.overlays,
            configuration.save_masks,
            selection_of(configuration),
        )
        self._lookahead = Lookahead(self._read, self._segment, self._score, ahead=where != "here")

    def evaluate(self, case: Case, together: Iterable[Case]) -> Evaluated:
        """Score one case. together: the cases that this process will need, in order; a subject's are scored together.

        Raises MedsamError, the same for every case of a subject whose files cannot be used.
        """
        if case.id in self._stored:
            return judged(self._stored[case.id], self.gates)
        if case.subject != self._subject:
            self._subject, self._results, self._error = case.subject, {}, None
        if self._error is not None:
            raise self._error
        if case not in self._results:
            self._evaluate_subject(case.subject, dict.fromkeys([*together, case]))
        return self._results[case]

    def forget(self, subject: str) -> None:
        """Drop a subject and its results; a case of it cannot be scored again."""
        self.subjects.pop(subject, None)
        if subject == self._subject:
            self._subject, self._results, self._error = None, {}, None

    def close(self) -> None:
        """Drop the work on cases that will not be needed."""
        if self._processes is not None:
            self._processes.close()  # first: threads wait for what they do
        self._lookahead.close()

    def _evaluate_subject(self, subject: str, together: Iterable[Case]) -> None:
        """Score a subject's cases; those of one modality share one reading and one encoding."""
        groups: dict[tuple[str, str], list[Case]] = {}
        for case in together:
            if case.id not in self._stored:
                groups.setdefault((case.subject, case.modality), []).append(case)
        parts = [tuple(cases) for cases in groups.values()]
        if self._processes is not None:
            self._processes.start()
        try:
            _ = self.configuration.predictor  # loaded by this thread, to which the device belongs
            for place, part in enumerate(parts):
                if part[0].subject == subject:
                    self._results |= self._lookahead.take(part, parts[place + 1 : place + 3])
        except MedsamError as error:
            self._error = error
            raise

    def _read(self, cases: tuple[Case, ...]) -> tuple[_Work, Prepared]:
        replay = self.configuration.replay
        own = None if replay is None else {case.id: replay[case.id] for case in cases if case.id in replay}
        part = Part(self.subjects[cases[0].subject], cases, self.configuration.scored, own)
        if self._processes is not None:
            held, prepared = self._processes.read(part)
        else:
            held, prepared = None, part.read() if self._files is None else self._files(cases)
        return _Work(part, held), encode(prepared, self.configuration.predictor)

    def _segment(self, read: tuple[_Work, Prepared]) -> tuple[_Work, Segmented]:
        work, prepared = read
        return work, segment(prepared, self.configuration.predictor)

    def _score(self, done: tuple[_Work, Segmented]) -> dict[Case, Evaluated]:
        work, segmented = done
        if self._processes is not None and work.held is not None:
            finished = self._processes.score(work.held, segmented, self._finishing)
        else:
            finished = work.part.score(segmented, self._finishing)
        made, kind = self.configuration.predictor_identity, self.configuration.kind
        predictor = f"{made.name} {made.version}"
        return {
            one.record.case: replace(
                judged(one.record, self.gates),
                checkpoint=made.sha256,
                predictor=predictor,
                kind=kind,
                slices=one.slices,
            )
            for one in finished
        }


@dataclass(frozen=True)
class _Work:
    """Cases on their way through the stages."""

    part: Part
    held: Held | None
    """Where a process keeps what was read; None if this one does."""


def judged(record: CaseRecord, gates: Gates | None) -> Evaluated:
    """The record with the case bounds that it breaks."""
    return Evaluated(record, tuple(violation.text for violation in gates.violations(record)) if gates else ())


def stored_records(configuration: Configuration) -> Mapping[str, CaseRecord]:
    """What an earlier session scored of the run that this one resumes, by case id; {} if it resumes none."""
    if not configuration.resume:
        return {}
    try:
        return {record.id: record for record in read_run(configuration.run_dir).records}
    except RunError:  # the Recorder reports what is wrong with the run
        return {}
