"""The `Recorder` keeps the run of a session and judges it; only the controller has one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from medsam_core.cases import CaseRecord
from medsam_core.errors import RunError
from medsam_core.evaluation.saved_mask import lost_masks
from medsam_core.files import write_whole
from medsam_core.gates.baseline import identity_of
from medsam_core.gates.gates_file import IN_RUN
from medsam_core.gates.noise import check_gates, floor_of
from medsam_core.gates.reference import reference_of
from medsam_core.gates.verdict import Verdict, judge_run
from medsam_core.outcome import Outcome, worst
from medsam_core.page.page import write_page
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.evaluator import Evaluated
from medsam_core.plugin.events import SessionEvents
from medsam_core.plugin.placement import Placement
from medsam_core.plugin.streaming import Kept
from medsam_core.plugin.viewer_files import ViewerFiles
from medsam_core.prompts.manifest import write_manifest
from medsam_core.prompts.prompt import Prompt
from medsam_core.runs import CASES, HEADER, PROMPTS, VERDICT, Run, RunWriter, read_run
from medsam_core.slices import append_line
from medsam_core.text import counted, few
from medsam_core.viewer.selection import Selection
from medsam_core.viewer.writing import write_programs


class Recorder:
    """Keeps the run of a session and judges it."""

    def __init__(self, configuration: Configuration, placement: Placement | None = None) -> None:
        """placement: where the cases are scored; None for this process or workers on this machine."""
        self.configuration = configuration
        self.gates = configuration.loaded_gates
        self.header = configuration.header(placement)
        _ = configuration.replay  # prompts of another cohort are an error before anything is scored
        empty = Run(configuration.run_dir, self.header, ())
        self._kind = identity_of(empty).kind
        self.baseline = reference_of(empty, self.gates)
        check_gates(self.gates, floor_of(empty))
        self._writer: RunWriter | None = None
        self._resumed: set[str] = set()  # cases of an earlier session
        self._received: set[str] = set()  # cases whose result came before their test
        self._seen: set[str] = set()  # cases that a test of this session asked for
        self._shown = Selection(configuration.overlays, configuration.reference_dice)
        self._spare_overlays: dict[str, str] = {}  # of the cases that break no bound
        self._viewer = ViewerFiles(configuration)
        self.judged: tuple[CaseRecord, ...] = ()
        """What `finish` judged, as read from the disk."""

    @property
    def records(self) -> tuple[CaseRecord, ...]:
        """What has been scored so far."""
        return tuple(self.open().records.values()) if self._writer else ()

    def receive(self, scored: Sequence[Kept]) -> None:
        """Keep cases that were scored elsewhere, with the files that they name; their tests look at them later."""
        directory = self.open().directory
        for one in scored:
            for name, content in one.files.items():
                write_whole(directory / name, content, error=RunError, fix="make room", make_folder=True)
            self._received.add(one.evaluated.record.id)
        self._write([one.evaluated for one in scored])

    def add(self, *evaluated: Evaluated) -> None:
        """Keep cases that were asked for, and the overlays of failed cases and of the few worst others."""
        self._seen |= {one.record.id for one in evaluated}
        self._write(evaluated)

    def _write(self, scored: Sequence[Evaluated]) -> None:
        """Write what is new; it is flushed to the disk once for all."""
        writer = self.open()
        new = [one for one in scored if one.record.id not in writer.records]
        for one in new:
            self._check(one)
        writer.append(*(one.record for one in new))
        for one in new:
            self._after_writing(one)

    def _check(self, evaluated: Evaluated) -> None:
        """Raise RunError if something else scored the case than what the header names."""
        record = evaluated.record
        expected = self.header.checkpoint.sha256
        if evaluated.checkpoint not in ("", expected):
            raise RunError(
                f"{record.id}: scored with the weights {evaluated.checkpoint[:12]}, expected {expected[:12]} as in "
                "run.json: the checkpoint's file has changed since the session began; use a copy that does not change."
            )
        if evaluated.predictor not in ("", str(self.header.predictor)):
            raise RunError(
                f"{record.id}: scored by the predictor {evaluated.predictor}, expected {self.header.predictor} as in "
                "run.json: the session's processes chose differently; name the predictor with --medsam-predictor."
            )
        if evaluated.kind not in ("", self._kind):
            raise RunError(
                f"{record.id}: scored on {evaluated.kind}, expected {self._kind} as in run.json: the session's workers "
                "have different devices; give them devices of one model, or name one with --medsam-device."
            )

    def _after_writing(self, evaluated: Evaluated) -> None:
        """Write the case's counts by slice, and drop the overlays and the viewer's files that are needed no more."""
        record, directory = evaluated.record, self.open().directory
        broken, recorded = bool(evaluated.violations), self.open().records
        self._viewer.settle(record, broken=broken, recorded=recorded, directory=directory)
        if evaluated.slices:
            append_line(directory, evaluated.slices)
        if record.overlay and not broken:
            self._spare_overlays[record.id] = record.overlay
            for case in self._shown.offer(record.id, record.score("dice")):
                (directory / self._spare_overlays.pop(case)).unlink(missing_ok=True)

    def finish(self, events: SessionEvents | None = None, stopped: str = "", notes: Sequence[str] = ()) -> Verdict:
        """Judge what is on the disk, and write prompts, page and, last of all, the verdict.

        events: what happened to the tests of the cases; None for nothing worth naming.
        stopped: how a session ended that did not run all its tests.
        notes: what else a reader of the verdict should know.
        Raises MedsamError if the run cannot be read or something cannot be written: then there is no verdict.
        """
        writer, events = self.open(), events or SessionEvents()
        run = read_run(writer.directory)
        self.judged = run.records
        verdict = judge_run(run, self.gates, baseline=self.baseline)
        reasons = self._objections(run, events)
        if events.failed and (verdict.outcome is Outcome.PASS or verdict.awaits_merge):
            few_failed = few(sorted(events.failed))
            reasons.append(f"{counted(len(events.failed), 'case')} broke no bound, but the test failed: {few_failed}")
        if stopped:
            scored = len({record.id for record in run.records} & set(run.plan))
            reasons.append(f"the session {stopped}: {scored} of {counted(len(run.plan), 'planned case')} scored")
        verdict = replace(verdict, notes=(*verdict.notes, *notes))
        if reasons:
            outcome = worst([verdict.outcome, Outcome.INCONCLUSIVE])
            verdict = replace(verdict, outcome=outcome, reasons=(*verdict.reasons, *reasons))
        prompts = {record.id: tuple(map(Prompt.from_json, record.prompts)) for record in run.records}
        write_manifest(writer.directory / PROMPTS, prompts, cohort=self.header.cohort.fingerprint)
        write_programs(writer.directory)
        write_page(run, verdict, writer.directory / "page.html", self.baseline)
        writer.write(VERDICT, verdict.to_json())
        writer.close()
        return verdict

    def _objections(self, run: Run, events: SessionEvents) -> list[str]:
        """What keeps a run from a PASS that no bound is about.

        run: as read again. It is compared with what this session wrote: files may be gone, or be of another run.
        """
        scored = {record.id: record for record in run.records}
        written = self.open().records
        gone = sorted(written.keys() - scored.keys())
        other = sorted(case for case, record in written.items() if case in scored and not _same(record, scored[case]))
        unseen = sorted(self._resumed - self._seen)
        found = {
            f"no longer in {CASES}, though this session wrote it": gone,
            f"not in {CASES} as this session wrote it": other,
            "scored by an earlier session, and no test of this one looked at it": unseen,
            "scored, and no test looked at it": sorted(self._received - self._seen),
        }
        found["its saved mask is gone or not what was scored"] = lost_masks(run.directory, run.records)
        found |= {what: sorted(cases & scored.keys()) for what, cases in events.objections().items()}
        reasons = [f"{counted(len(cases), 'case')}: {what}: {few(cases)}" for what, cases in found.items() if cases]
        if run.header != self.open().stored:
            reasons.append(f"{HEADER} is not what this session wrote")
        return reasons

    def open(self) -> RunWriter:
        """The run's directory, opened on first use. Raises RunError if it does not fit the session."""
        if self._writer is None:
            self._writer = RunWriter(self.configuration.run_dir, self.header, resume=self.configuration.resume)
            self._resumed = set(self._writer.records)
            self._settle_resumed(self._writer)
            if self.gates is not None:  # so that the run can be judged again wherever it is moved
                self._writer.write(IN_RUN, self.gates.path.read_bytes())
        return self._writer

    def _settle_resumed(self, writer: RunWriter) -> None:
        """Count the cases of an earlier session among the worst."""
        for record in writer.records.values():
            broken = self.gates is not None and bool(self.gates.violations(record))
            self._viewer.settle(record, broken=broken, recorded=writer.records, directory=writer.directory)

    def close(self) -> None:
        """Close the run's files without a verdict: the session was interrupted."""
        if self._writer is not None:
            self._writer.close()


def _same(one: CaseRecord, other: CaseRecord) -> bool:
    """Whether two records say the same; NaN equals NaN."""
    return json.dumps(one.to_json(), sort_keys=True) == json.dumps(other.to_json(), sort_keys=True)
