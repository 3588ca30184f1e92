"""The `Recorder` keeps the run of a session and judges it; only the controller has one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from medsam_core.cases import CaseRecord
from medsam_core.errors import RunError
from medsam_core.gates.gates_file import IN_RUN
from medsam_core.gates.noise import check_gates, floor_of
from medsam_core.gates.reference import reference_of
from medsam_core.gates.verdict import Verdict, judge_run
from medsam_core.outcome import Outcome
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.evaluator import Evaluated
from medsam_core.prompts.manifest import write_manifest
from medsam_core.prompts.prompt import Prompt
from medsam_core.reports.page import write_page
from medsam_core.runs import PROMPTS, VERDICT, Run, RunWriter
from medsam_core.text import counted, few


class Recorder:
    """Keeps the run of a session and judges it."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.gates = configuration.loaded_gates
        self.header = configuration.header()
        _ = configuration.replay  # prompts of another cohort are an error before anything is scored
        empty = Run(configuration.run_dir, self.header, ())
        self.baseline = reference_of(empty, self.gates)
        check_gates(self.gates, floor_of(empty))
        self._writer: RunWriter | None = None
        self._spare_overlays: dict[str, tuple[float, str]] = {}

    @property
    def records(self) -> tuple[CaseRecord, ...]:
        """What has been scored so far."""
        return tuple(self.open().records.values()) if self._writer else ()

    def add(self, evaluated: Evaluated) -> None:
        """Keep one case, and the overlays of failed cases and of the few worst others."""
        writer = self.open()
        record = evaluated.record
        if record.id in writer.records:
            return
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
        writer.append(record)
        keep = self.configuration.overlays
        if record.overlay and not evaluated.violations and keep is not None:
            self._spare_overlays[record.id] = (record.score("dice"), record.overlay)
            if len(self._spare_overlays) > keep:
                best = max(self._spare_overlays, key=lambda case: (self._spare_overlays[case][0], case))
                (writer.directory / self._spare_overlays.pop(best)[1]).unlink(missing_ok=True)

    def finish(self, failed: Collection[str] = ()) -> Verdict:
        """Judge what was recorded, and write prompts, page and, last of all, the verdict.

        failed: the cases whose tests failed. If no bound is broken, they make the run INCONCLUSIVE.
        Raises MedsamError if something cannot be written: then there is no verdict.
        """
        writer = self.open()
        verdict = judge_run(writer.run(), self.gates, baseline=self.baseline)
        if failed and verdict.outcome is Outcome.PASS:
            reason = f"{counted(len(failed), 'case')} broke no bound, but the test failed: {few(sorted(failed))}"
            verdict = replace(verdict, outcome=Outcome.INCONCLUSIVE, reasons=(*verdict.reasons, reason))
        prompts = {record.id: tuple(map(Prompt.from_json, record.prompts)) for record in self.records}
        write_manifest(writer.directory / PROMPTS, prompts, cohort=self.header.cohort.fingerprint)
        writer.close()
        write_page(writer.run(), verdict, writer.directory / "page.html")
        writer.write(VERDICT, verdict.to_json())
        return verdict

    def open(self) -> RunWriter:
        """The run's directory, opened on first use. Raises RunError if it does not fit the session."""
        if self._writer is None:
            self._writer = RunWriter(self.configuration.run_dir, self.header, resume=self.configuration.resume)
            if self.gates is not None:  # so that the run can be judged again wherever it is moved
                self._writer.write(IN_RUN, self.gates.path.read_bytes())
        return self._writer

    def close(self) -> None:
        """Close the run's files without a verdict: the session was interrupted."""
        if self._writer is not None:
            self._writer.close()
