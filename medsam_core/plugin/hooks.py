"""The state of one pytest session: which cases were selected, what came out, and the verdict.

Registered as a plugin of its own by `pytest_plugin`, on the controller and on every xdist worker. Workers score;
the controller alone records and judges, from the reports that reach it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from medsam_core.errors import MedsamError

if TYPE_CHECKING:
    from medsam_core.cases import Case
    from medsam_core.gates.verdict import Verdict
    from medsam_core.plugin.configuration import Configuration
    from medsam_core.plugin.evaluator import Evaluated, Evaluator
    from medsam_core.plugin.recorder import Recorder

CASE_PROPERTY, RECORD_PROPERTY = "medsam_case", "medsam_record"
INI_FILES = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")
UNREAD_INI = (
    "note: pytest read no configuration file, because it takes a path after a space for a test path; "
    "write --brats-root=DIR and --checkpoint=FILE with an equals sign"
)
SKIPPED_GPU = "no CUDA device (--allow-no-gpu)"
NO_GPU = "-m gpu: no CUDA device was found, expected one; run on a machine with a GPU, or pass --allow-no-gpu to skip"


class MedsamSession:
    """The state of one pytest session and the hooks that need it."""

    def __init__(self, config: pytest.Config, configuration: Configuration) -> None:
        self.config = config
        self.configuration = configuration
        self.is_worker = hasattr(config, "workerinput")
        self.cases_seen: set[str] = set()
        self.cases_skipped: set[str] = set()
        self.cases_failed: set[str] = set()
        self.gpu_missing: set[str] = set()  # of those skipped
        self.other_failures = False
        self.lost = ""  # why a record could not be kept
        self.recorder: Recorder | None = None
        self.verdict: Verdict | None = None
        self.error: str | None = None
        self._evaluator: Evaluator | None = None
        self._collected: list[Case] = []

    # --- collection ---------------------------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per case, all cases of a subject in a row."""
        if "medsam_case" in metafunc.fixturenames:
            try:
                plan = self.configuration.plan
            except MedsamError as error:
                raise pytest.Collector.CollectError(str(error)) from None  # shown without a traceback
            metafunc.parametrize("medsam_case", plan, ids=[case.id for case in plan])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember the cases that were selected; decide about the GPU."""
        cases = [item for item in items if _case_of(item) is not None]
        on_gpu = [item for item in cases if item.get_closest_marker("gpu")]
        for item in cases:
            item.user_properties.append((CASE_PROPERTY, _case_of(item).id))  # type: ignore[union-attr]
        self._collected = [case for case in map(_case_of, cases) if case is not None]
        if on_gpu and len(on_gpu) < len(cases):
            self._refuse("the selected tests score cases on CUDA and elsewhere; choose one with -m gpu or -m 'not gpu'")
        if on_gpu:
            self._require_gpu(on_gpu)

    def _require_gpu(self, items: list[pytest.Item]) -> None:
        import torch

        if not self.configuration.device.startswith(("auto", "cuda")):
            self._refuse(f"-m gpu: got --device {self.configuration.device}, expected cuda or cuda:N; leave it out")
        if torch.cuda.is_available():
            self._use_gpu()
        elif self.configuration.allow_no_gpu:
            for item in items:
                item.add_marker(pytest.mark.skip(reason=SKIPPED_GPU))
        else:
            self._refuse(NO_GPU)

    def _use_gpu(self) -> None:
        if self.configuration.device == "auto":
            self.configuration = replace(self.configuration, device="cuda")

    def _refuse(self, sentence: str) -> None:
        if not self.is_worker:
            raise pytest.UsageError(sentence)
        self.error = sentence  # a worker cannot end the session: each of its cases says why it was not scored

    @pytest.hookimpl(tryfirst=True)  # before the terminal asks for the header lines
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Open the run as soon as it is known that cases will be scored."""
        if self._collected and not self.is_worker and not session.config.option.collectonly:
            if all(item.get_closest_marker("skip") for item in session.items if _case_of(item) is not None):
                return
            self._begin()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """The same under xdist, where only the workers collect."""
        if self.recorder or self._may_skip_all() or self.config.option.collectonly:
            return
        alike = {case for case in map(_case_id, ids) if case.count("/") >= 3}
        if alike and not alike.isdisjoint(self._planned()):
            self._begin()
            self._write_lines(self._header_lines())

    def _planned(self) -> set[str]:
        """The ids of all cases. Asked for only where a test's id looks like one: it may draw the phantom cohort."""
        try:
            return {case.id for case in self.configuration.plan}
        except MedsamError:  # then no worker has a case: those who asked for one say why
            return set()

    def _begin(self) -> None:
        """Open the run; a mistake ends the session before anything is scored."""
        try:
            recorder = self._open_recorder()
            if self.configuration.resume:
                recorder.begin()
        except MedsamError as error:
            raise pytest.UsageError(str(error)) from None

    def _may_skip_all(self) -> bool:
        if not self.configuration.allow_no_gpu:
            return False
        import torch

        return not torch.cuda.is_available()

    def pytest_report_collectionfinish(self) -> list[str]:
        """The effective configuration, above the first test."""
        return self._header_lines() if self.recorder else []

    # --- scoring (workers, or the only process) -----------------------------------------------------------------

    def evaluate(self, case: Case, item: pytest.Item) -> Evaluated:
        """Score a case and attach what came out to its test's report."""
        if self.error:
            pytest.fail(self.error, pytrace=False)
        try:
            evaluated = self.evaluator.evaluate(case, self._collected)
        except MedsamError as error:
            sentence = str(error)
        else:
            item.user_properties.append((RECORD_PROPERTY, evaluated.to_wire()))
            return evaluated
        # not within the except: the error would be shown too, and pytest would keep its frames with their volumes
        pytest.fail(sentence, pytrace=False)

    @property
    def evaluator(self) -> Evaluator:
        """Made on first use, so that a session without cases never loads a model."""
        if self._evaluator is None:
            from medsam_core.plugin.evaluator import Evaluator

            self._share_cores()
            # which subject comes next to a worker is decided when it has nearly done this one; workers beside one
            # another keep the device busy without looking ahead
            self._evaluator = Evaluator(self.configuration, ahead=False if self.is_worker else None)
        return self._evaluator

    def _share_cores(self) -> None:
        """Workers beside each other divide the cores; without this each would start a thread on every core."""
        if self.is_worker:
            import torch

            from medsam_core.inference.devices import threads_for

            torch.set_num_threads(threads_for(self.configuration.workers)[0])

    # --- recording (controller, or the only process) ------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where the run is."""
        node.workerinput["medsam_run_dir"] = str(self.configuration.run_dir)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep the cases of a subject on one worker, so that its slices are encoded once."""
        if config.getoption("dist") != "load":
            return None
        from medsam_core.plugin.scheduling import SubjectScheduling

        return SubjectScheduling(config, log)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather records from the reports of tests, wherever they ran."""
        if self.is_worker:
            return
        case = dict(report.user_properties).get(CASE_PROPERTY)
        if case is None and self.recorder and _case_id(report.nodeid) in self.recorder.header.plan:
            case = _case_id(report.nodeid)  # of a worker that died: xdist writes the report
        if case is None:
            self.other_failures |= report.failed
            return
        self.cases_seen.add(str(case))
        if report.failed:
            self.cases_failed.add(str(case))
        if report.skipped:
            self.cases_skipped.add(str(case))
            if SKIPPED_GPU in str(report.longrepr):
                self.gpu_missing.add(str(case))
        if report.when == "call":
            for name, value in report.user_properties:  # a test may score several
                if name == RECORD_PROPERTY:
                    self._keep(str(value), on_gpu="gpu" in report.keywords)

    def _keep(self, wire: str, *, on_gpu: bool) -> None:
        """Keep a record; if that fails, say why at the end, where nothing of the session is lost with it."""
        from medsam_core.plugin.evaluator import Evaluated

        try:
            if self.recorder is None:
                if on_gpu:
                    self._use_gpu()
                self._open_recorder()
                self._write_lines(self._header_lines())
            self._open_recorder().add(Evaluated.from_wire(wire))
        except MedsamError as error:
            self.lost = self.lost or str(error)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that could not be collected keeps the session from ending well."""
        self.other_failures |= report.failed

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """With -v, the Dice of a case stands beside its outcome."""
        properties = dict(getattr(report, "user_properties", ()))
        if report.when != "call" or RECORD_PROPERTY not in properties or not (report.passed or report.failed):
            return None
        from medsam_core.plugin.evaluator import Evaluated

        record = Evaluated.from_wire(str(properties[RECORD_PROPERTY])).record
        dice = next((value for key, value in record.scores.items() if key.endswith("/dice@volume")), float("nan"))
        letter = "." if report.passed else "F"
        return report.outcome, letter, f"{report.outcome.upper()} Dice {dice:.3f}"

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the run; the exit code is 0 only for PASS."""
        if self._evaluator is not None:
            self._evaluator.close()
        if self.is_worker:
            return
        if exitstatus not in (0, 1):
            if self.recorder is not None:
                self.recorder.close()
            return
        if self.recorder is None:
            on_request = self.configuration.allow_no_gpu and self.cases_seen == self.gpu_missing
            if self.lost or (self.cases_seen and not on_request and exitstatus == 0):
                session.exitstatus = 10
            return
        try:
            self.verdict = self.recorder.finish(self.cases_failed)
        except MedsamError as error:
            self.lost = self.lost or str(error)
            self.recorder.close()
        code = self.verdict.outcome.exit_code if self.verdict and not self.lost else 10
        if code and not self.other_failures:
            session.exitstatus = code

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table, the verdict with its reasons, and where the run lies."""
        if self.is_worker:
            return
        if not self.cases_seen and self.recorder is None:
            if self._ini_unread() and (self.configuration.brats_root or self.configuration.checkpoint):
                terminalreporter.write_line(UNREAD_INI)
            return
        terminalreporter.section("MedSAM-2 gate")
        if self.lost:
            terminalreporter.write_line(f"INCONCLUSIVE: {self.lost}")
        if self.recorder is None or self.verdict is None:
            terminalreporter.write_line(
                f"no verdict: {len(self.recorder.records) if self.recorder else 0} of {len(self.cases_seen)} selected "
                f"cases were scored, {len(self.cases_skipped)} skipped; this is not a PASS"
            )
            return
        from medsam_core.plugin.terminal import note_lines
        from medsam_core.reports.tables import control_lines, summary_lines

        records, profile = self.recorder.records, self.configuration.settings.profile
        for line in (*summary_lines(records, profile=profile), *control_lines(records, profile=profile)):
            terminalreporter.write_line(line)
        for line in (*self.verdict.lines(), *note_lines(records)):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"run: {self.configuration.run_dir} (page.html shows it)")

    def _open_recorder(self) -> Recorder:
        from medsam_core.plugin.recorder import Recorder

        if self.recorder is None:
            self.recorder = Recorder(self.configuration)
        return self.recorder

    def _header_lines(self) -> list[str]:
        from medsam_core.plugin.terminal import describe

        assert self.recorder is not None
        lines = describe(self.recorder.header)
        if self._ini_unread():
            lines.append(UNREAD_INI)
        return lines

    def _ini_unread(self) -> bool:
        directory = self.config.invocation_params.dir
        return self.config.inipath is None and any((directory / name).exists() for name in INI_FILES)

    def _write_lines(self, lines: list[str]) -> None:
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        for line in lines:
            reporter.ensure_newline()
            reporter.write_line(line)


def _case_id(nodeid: str) -> str:
    """What stands in the brackets of a test's id: a case's id, if it is the test of one."""
    return nodeid.partition("[")[2].removesuffix("]")


def _case_of(item: pytest.Item) -> Case | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("medsam_case") if callspec is not None else None
