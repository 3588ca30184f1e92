"""The `Evaluator` scores the cases of a session.

Under xdist every worker has an Evaluator, and only the controller has a Recorder (`plugin/recorder.py`). One JSON
string per case goes from one to the other, so a run is the same with and without workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import MedsamError, RunError
from medsam_core.evaluation.diagnosis import explain
from medsam_core.evaluation.pipeline import Lookahead
from medsam_core.evaluation.saved_mask import check_saved_mask, digest
from medsam_core.evaluation.subject import Prepared, ScoredCase, Segmented, prepare, score_segmented, segment
from medsam_core.gates.gates_file import Gates
from medsam_core.inference.devices import resolve_device
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.viewer_files import ViewerFiles
from medsam_core.reports.overlay import write_overlay
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

    ahead: whether the next cases are read, and the last ones scored, while the device works (`Lookahead`). None: only
        on a GPU. On the CPU the model keeps every core busy, and reading and scoring are a twentieth of a subject's
        time (0.7 of 16 s for six cases of 155 slices on one core): threads would slow the model by what they save.
    """

    notes: Sequence[str] = ()
    """What a reader of the run should know of how its subjects were scored; here nothing."""
    placement = None
    """Where it scores: None for this process."""

    def __init__(self, configuration: Configuration, *, ahead: bool | None = None) -> None:
        self.configuration = configuration
        self.gates = configuration.loaded_gates
        self.subjects = {subject.id: subject for subject in configuration.cohort}
        _ = configuration.replay  # read by this thread, once
        self._subject: str | None = None
        self._results: dict[Case, Evaluated] = {}
        self._error: MedsamError | None = None
        self._stored = stored_records(configuration)
        self._viewer = ViewerFiles(configuration)
        if ahead is None:
            ahead = resolve_device(configuration.own_device).type != "cpu"
        self._lookahead = Lookahead(self._read, self._segment, self._score, ahead=ahead)

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
        self._lookahead.close()

    def _evaluate_subject(self, subject: str, together: Iterable[Case]) -> None:
        """Score a subject's cases; those of one modality share one reading and one encoding."""
        groups: dict[tuple[str, str], list[Case]] = {}
        for case in together:
            if case.id not in self._stored:
                groups.setdefault((case.subject, case.modality), []).append(case)
        parts = [tuple(cases) for cases in groups.values()]
        try:
            _ = self.configuration.predictor  # loaded by this thread, to which the device belongs
            for place, part in enumerate(parts):
                if part[0].subject == subject:
                    self._results |= self._lookahead.take(part, parts[place + 1 : place + 3])
        except MedsamError as error:
            self._error = error
            raise

    def _read(self, part: tuple[Case, ...]) -> Prepared:
        subject = self.subjects[part[0].subject]
        predictor, settings = self.configuration.predictor, self.configuration.scored
        return prepare(subject, part[0].modality, part, predictor, settings, replay=self.configuration.replay)

    def _segment(self, prepared: Prepared) -> Segmented:
        return segment(prepared, self.configuration.predictor)

    def _score(self, segmented: Segmented) -> dict[Case, Evaluated]:
        results = tuple(score_segmented(segmented, self.configuration.scored))
        finished = {result.record.case: self._finish(result) for result in results}
        self._viewer.write(results, {case for case, one in finished.items() if one.violations})
        return finished

    def _finish(self, result: ScoredCase) -> Evaluated:
        record, directory = result.record, self.configuration.run_dir
        name = record.id.replace("/", "__")
        broken = self.gates is not None and bool(self.gates.violations(record))
        if broken or self.configuration.overlays != 0:
            overlay = Path("overlays") / f"{name}.png"
            write_overlay(result, directory / overlay)
            record = replace(record, overlay=str(overlay))
        if self.configuration.save_masks:
            from medsam_core.data.volume import write_mask

            as_npz = self.subjects[record.case.subject].layout == "npz"  # its evaluators read the same format
            mask = Path("masks") / f"{name}.{'npz' if as_npz else 'nii.gz'}"
            write_mask(result.prediction, result.image, directory / mask)
            source = self.subjects[record.case.subject].images[record.case.modality].path
            check_saved_mask(directory / mask, result.prediction, result.image, source)
            record = replace(record, mask=str(mask), mask_sha256=digest(directory / mask))
        if broken:
            spacing_mm = result.image.spacing_mm
            label, sentence = explain(result.prediction, result.truth, result.prompts, spacing_mm=spacing_mm)
            record = replace(record, diagnosis=f"{label}: {sentence}")
        made = self.configuration.predictor_identity
        found, kind = judged(record, self.gates), self.configuration.kind
        return replace(found, checkpoint=made.sha256, predictor=f"{made.name} {made.version}", kind=kind)


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
