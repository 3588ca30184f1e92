"""The state of one pytest session: which cases were selected, their records, and the verdict.

`plugin.py` registers it as a plugin, on the controller and on every xdist worker. Workers score; only the controller
records and judges, from the reports of the workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from medsam_core.errors import MedsamError
from medsam_core.outcome import Outcome
from medsam_core.plugin.collecting import Collecting, case_id, case_of, has_gpu
from medsam_core.plugin.events import RERUN, SessionEvents
from medsam_core.plugin.junit import add_verdict
from medsam_core.plugin.options import OPTIONS, UNREAD_INI, ini_unread, ini_values
from medsam_core.text import counted

if TYPE_CHECKING:
    from medsam_core.cases import Case
    from medsam_core.gates.verdict import Verdict
    from medsam_core.plugin.configuration import Configuration
    from medsam_core.plugin.evaluator import Evaluated, Evaluator
    from medsam_core.plugin.recorder import Recorder
    from medsam_core.plugin.streaming import Kept, StreamedEvaluator

RECORDS = "medsam_records"
"""The attribute of a report that holds what its test scored, each an `Evaluated` as one JSON string."""
STOPPED = {2: "was stopped", 3: "ended with an internal error of pytest"}
"""How a session ended that did not run all its tests, by pytest's exit code."""
NO_CASE = (
    "note: no test asks for medsam_case, so nothing was scored; `medsam-core run` is the gate without a test file "
    "(its options are the same without medsam-), or write one, e.g. test_gate.py:\n"
    "    def test_case(medsam_case, medsam_evaluate, medsam_check):\n"
    "        medsam_check(medsam_evaluate(medsam_case))"
)


class MedsamSession(Collecting):
    """The state of one pytest session and its hooks: for collecting, then for scoring, then for recording."""

    def __init__(self, config: pytest.Config, configuration: Configuration) -> None:
        super().__init__(config, configuration)
        self.events = SessionEvents()
        self.lost = ""  # why a record could not be kept
        self.recorder: Recorder | None = None
        self.verdict: Verdict | None = None
        self._evaluator: Evaluator | StreamedEvaluator | None = None
        self._records: dict[str, list[str]] = {}  # of tests in this process, by id: what their next report carries
        self._ran: set[str] = set()  # ids of tests in this process
        self._places: dict[Any, int] = {}  # of the workers that are alive, from 0

    @pytest.hookimpl(tryfirst=True)  # before the terminal wants the header lines
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Open the run as soon as it is known that cases will be scored."""
        if self.is_worker or session.config.option.collectonly:
            return
        cases = [item for item in session.items if case_of(item) is not None]
        if self.collected and not all(item.get_closest_marker("skip") for item in cases):
            self._begin()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """The same under xdist, where only the workers collect."""
        self.in_use |= bool(ids)
        may_skip_all = self.configuration.allow_no_gpu and not has_gpu()
        if self.recorder or may_skip_all or self.config.option.collectonly:
            return
        # the plan may draw the phantom cohort, so it is only made if a test's id looks like a case
        alike = {case for case in map(case_id, ids) if case.count("/") >= 3}
        try:
            scored = bool(alike) and not alike.isdisjoint(case.id for case in self.configuration.plan)
        except MedsamError:  # then no worker has a case; the tests that need one report why
            return
        if scored:
            self._begin()
            self._write_header()

    def _begin(self) -> None:
        """Open the run; a mistake ends the session before anything is scored."""
        try:
            recorder = self._open_recorder()
            if self.configuration.resume:
                recorder.open()
        except MedsamError as error:
            raise pytest.UsageError(str(error)) from None

    def pytest_report_collectionfinish(self) -> list[str]:
        """The effective configuration, above the first test."""
        return self._header_lines() if self.recorder else []

    def evaluate(self, case: Case, item: pytest.Item) -> Evaluated:
        """Score a case and attach the record to its test's report."""
        if self.error:
            pytest.fail(self.error, pytrace=False)
        try:
            evaluated = self.evaluator.evaluate(case, self._coming(case, item.session))
        except MedsamError as error:
            sentence = str(error)
        else:
            self._records.setdefault(item.nodeid, []).append(evaluated.to_wire())
            return evaluated
        # outside of the except clause: otherwise pytest shows the error too and keeps its frames with their volumes
        pytest.fail(sentence, pytrace=False)

    def _coming(self, case: Case, session: pytest.Session) -> list[Case]:
        """The cases that this process will score, in order: all, or of a worker its case's subject and those it has."""
        if not self.is_worker:
            return self.collected
        from medsam_core.plugin.scheduling import waiting_items

        waiting = filter(None, map(case_of, waiting_items(session)))
        subjects = dict.fromkeys([case.subject, *(one.subject for one in waiting)])
        return [one for subject in subjects for one in self.collected if one.subject == subject]

    @property
    def evaluator(self) -> Evaluator | StreamedEvaluator:
        """Made on first use, so that a session without cases never loads a model."""
        if self._evaluator is None and self.configuration.ray is not None:
            from medsam_core.plugin.ray_pool import evaluator_on_ray

            self._evaluator = evaluator_on_ray(self.configuration, self.configuration.ray, self._receive)
        if self._evaluator is None:
            from medsam_core.plugin.evaluator import Evaluator

            if self.is_worker:  # otherwise each worker would start a thread on every core
                import torch

                from medsam_core.inference.devices import threads_for, use_device

                torch.set_num_threads(threads_for(self.configuration.workers)[0])
                use_device(self.configuration.own_device)
            self._evaluator = Evaluator(self.configuration)
        return self._evaluator

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where the run is, what the configuration file said, and its place among the workers."""
        place = next(number for number in itertools.count() if number not in self._places.values())
        self._places[node] = place  # one that replaces a dead worker gets its place, and so its GPU
        node.workerinput["medsam_worker"] = place
        node.workerinput["medsam_run_dir"] = str(self.configuration.run_dir)
        node.workerinput["medsam_ini"] = ini_values(self.config)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep the cases of a subject on one worker, so that its slices are encoded once."""
        if config.getoption("dist") != "load":
            return None
        from medsam_core.plugin.scheduling import SubjectScheduling

        return SubjectScheduling(config, log, ahead=self._reads_ahead)

    def _reads_ahead(self) -> bool:
        """Whether the workers read their next subjects while they score one, as the Evaluator does."""
        reading = self.configuration.reading
        on_gpu = self.recorder is not None and self.recorder.header.device != "cpu"
        return on_gpu if reading == "auto" else reading != "here"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[Any]:
        """Let the report carry the records: not as properties, which JUnit files would repeat in full."""
        report = yield
        if case_of(item) is not None:
            setattr(report, RECORDS, self._records.pop(item.nodeid, []))
            if call.when == "call":
                setattr(report, RERUN, item.nodeid in self._ran)
                self._ran.add(item.nodeid)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather records from the reports of tests, in whichever process they ran."""
        if self.is_worker:
            return
        self.events.note(report, self.recorder.header.plan if self.recorder else ())
        for wire in getattr(report, RECORDS, ()):  # a test may score several
            self._keep(str(wire), on_gpu="gpu" in report.keywords)

    def _keep(self, wire: str, *, on_gpu: bool) -> None:
        """Keep a record; if that fails, the summary says why, and the session goes on."""
        from medsam_core.plugin.evaluator import Evaluated

        try:
            if self.recorder is None:
                if on_gpu:
                    self.use_gpu()
                self._open_recorder()
                self._write_header()
            self._open_recorder().add(Evaluated.from_wire(wire))
        except MedsamError as error:
            self.lost = self.lost or str(error)

    def _receive(self, scored: Sequence[Kept]) -> None:
        """Keep results from another machine at once; their tests report them later."""
        try:
            if self.recorder is None:
                self._open_recorder()
                self._write_header()
            self._open_recorder().receive(scored)
        except MedsamError as error:
            self.lost = self.lost or str(error)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that could not be collected is a failure of the session."""
        self.events.other_failures |= report.failed

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """With -v, show the Dice of a case next to its outcome."""
        wires = getattr(report, RECORDS, ())
        if not wires or report.when != "call" or not (report.passed or report.failed):
            return None
        from medsam_core.plugin.evaluator import Evaluated

        record = Evaluated.from_wire(str(wires[-1])).record
        dice = next((value for key, value in record.scores.items() if key.endswith("/dice@volume")), float("nan"))
        said = f"Dice {dice:.3f}" if record.prompted else "absent"  # nothing was prompted, so nothing was achieved
        return report.outcome, "." if report.passed else "F", f"{report.outcome.upper()} {said}"

    @pytest.hookimpl(tryfirst=True)  # before the JUnit file is written
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the run; the exit code is 0 only for PASS."""
        if self._evaluator is not None:
            self._evaluator.close()
        if self.is_worker:
            self.config.workeroutput["medsam_deselected"] = self.deselected  # type: ignore[attr-defined]
            return
        if self.recorder is not None and (exitstatus in (0, 1) or (exitstatus in STOPPED and self.recorder.records)):
            self._judge(session, exitstatus)
        elif self.recorder is not None:
            self.recorder.close()
        else:
            on_request = self.configuration.allow_no_gpu and self.events.seen == self.events.gpu_missing
            unscored = self.events.seen and not on_request and exitstatus == 0
            if exitstatus in (0, 1) and (self.lost or unscored):
                session.exitstatus = 10
        if self.events.seen or self.recorder is not None:
            outcome = self.verdict.outcome if self.verdict and not self.lost else Outcome.INCONCLUSIVE
            add_verdict(self.config, outcome, "\n".join(self._verdict_lines()))

    def _judge(self, session: pytest.Session, exitstatus: int) -> None:
        assert self.recorder is not None
        stopped = STOPPED.get(exitstatus, "")
        if not stopped and (session.shouldfail or session.shouldstop):
            stopped = STOPPED[2]
        if stopped and (why := session.shouldfail or session.shouldstop):
            stopped += f" ({why})"
        try:
            notes = self._evaluator.notes if self._evaluator is not None else ()
            self.verdict = self.recorder.finish(self.events, stopped, notes)
        except MedsamError as error:
            self.lost = self.lost or str(error)
            self.recorder.close()
        code = self.verdict.exit_code if self.verdict and not self.lost else 10
        if code and not self.events.other_failures:
            session.exitstatus = code

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker ended, or died. Under xdist only the workers know what was not selected."""
        self._places.pop(node, None)
        output = getattr(node, "workeroutput", None) or {}
        self.deselected = max(self.deselected, output.get("medsam_deselected", 0))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table, the verdict with its reasons, and the run's directory."""
        if self.is_worker:
            return
        write = terminalreporter.write_line
        if not self.events.seen and self.recorder is None:
            if ini_unread(self.config) and (self.configuration.brats_root or self.configuration.checkpoint):
                write(UNREAD_INI)
            if not self.in_use and any(self.config.getoption(option.key) is not None for option in OPTIONS):
                write(NO_CASE)
            if self.deselected:
                write(f"note: the gate did not run: {counted(self.deselected, 'case')} collected, none selected")
            return
        terminalreporter.section("MedSAM-2 gate")
        if self.recorder is None or self.verdict is None:
            for line in self._verdict_lines():
                write(line)
            return
        if self.lost:
            write(f"INCONCLUSIVE: {self.lost}")
        from medsam_core.plugin.terminal import result_lines

        for line in result_lines(self.recorder.judged, self.verdict, self.configuration.settings.profile):
            write(line)
        write(f"run: {self.configuration.run_dir} (page.html shows it)")

    def _verdict_lines(self) -> list[str]:
        """The verdict with its reasons; that there is none is said, too."""
        lost = [f"INCONCLUSIVE: {self.lost}"] if self.lost else []
        if self.verdict is not None:
            return [*lost, *self.verdict.lines()]
        scored = len(self.recorder.records) if self.recorder else 0
        planned = f" ({len(self.recorder.header.plan)} planned)" if self.recorder else ""
        return [
            *lost,
            f"no verdict: {scored} of {len(self.events.seen)} selected cases were scored{planned}, "
            f"{len(self.events.skipped)} skipped; this is not a PASS",
        ]

    def _open_recorder(self) -> Recorder:
        from medsam_core.plugin.recorder import Recorder

        if self.recorder is None:
            self.recorder = Recorder(self.configuration, self.evaluator.placement if self.configuration.ray else None)
        return self.recorder

    def _header_lines(self) -> list[str]:
        from medsam_core.plugin.terminal import describe

        assert self.recorder is not None
        return describe(self.recorder.header) + ([UNREAD_INI] if ini_unread(self.config) else [])

    def _write_header(self) -> None:
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        for line in self._header_lines():
            reporter.ensure_newline()
            reporter.write_line(line)
