"""Progress of a session: a bar while phantoms are drawn, and a line between tests about the subjects that are done.

Lines are written by pytest's own reporter, so that they fit between its dots, names and those of xdist's workers. Only
the controller writes them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from medsam_core.errors import MedsamError, OptionError
from medsam_core.plugin.collecting import case_id, case_of
from medsam_core.plugin.options import value_of
from medsam_core.progress import Progress, ProgressLines, progress_bar

if TYPE_CHECKING:
    from medsam_core.plugin.configuration import Configuration

WORDS = ("auto", "on", "off")


def progress_asked(config: pytest.Config) -> str:
    """`--medsam-progress`. Raises OptionError for an unknown word."""
    word = str(value_of(config, "progress"))
    if word not in WORDS:
        raise OptionError(f"--medsam-progress: got {word}, expected one of {', '.join(WORDS)}; correct it.")
    return word


class SubjectProgress:
    """Counts the subjects whose tests have all ended, and writes a line now and then."""

    def __init__(self, config: pytest.Config, configuration: Configuration) -> None:
        self.config = config
        self.configuration = configuration
        self.subjects: dict[str, str] = {}
        """Test -> subject, of the tests that have not ended."""
        self.open: Counter[str] = Counter()
        """Subject -> how many these are."""
        self.total = 0
        """Subjects of this session."""
        self.lines: ProgressLines | None = None
        """Since the first test began."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist: the tests of this process."""
        self._begin({item.nodeid: case.subject for item in session.items if (case := case_of(item)) is not None})

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With xdist: the tests that every worker has; the first worker's are enough."""
        if self.total:
            return
        alike = {nodeid: case for nodeid in ids if (case := case_id(nodeid)).count("/") >= 3}
        try:
            subjects = {case.id: case.subject for case in self.configuration.plan} if alike else {}
        except MedsamError:  # the tests that need the plan report why there is none
            return
        self._begin({nodeid: subjects[case] for nodeid, case in alike.items() if case in subjects})

    def _begin(self, subjects: dict[str, str]) -> None:
        """subjects: of each test of a case."""
        self.subjects, self.open = dict(subjects), Counter(subjects.values())
        self.total = len(self.open)

    def pytest_runtest_logstart(self) -> None:
        """The clock starts with the first test, not with the collection."""
        self.lines = self.lines or ProgressLines("subjects")

    @pytest.hookimpl(trylast=True)  # after pytest has written what it writes about the test
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write a line if a subject has just ended and a line is due."""
        subject = self.subjects.pop(nodeid, None)
        if subject is None or self.lines is None:
            return
        self.open[subject] -= 1
        if self.open[subject]:
            return
        del self.open[subject]
        line = self.lines.line(self.total - len(self.open), self.total)
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if line is None or reporter is None or not self._wanted(reporter):
            return
        reporter.ensure_newline()
        if getattr(reporter._tw, "width_of_current_line", 0):  # dots of xdist's workers, of which it keeps no place
            reporter.write_line("")
        reporter.write_line(line)

    def _wanted(self, reporter: Any) -> bool:
        asked = progress_asked(self.config)
        return asked == "on" or (asked == "auto" and reporter.isatty and self.config.option.verbose >= 0)


@contextmanager
def progress_outside_tests(config: pytest.Config, what: str) -> Iterator[Progress]:
    """A bar on a terminal; with --medsam-progress=on, lines where there is none.

    what: the things in the plural, such as "phantoms". Under xdist the worker that draws phantoms shows it, on the
    terminal that it shares with the controller.
    """
    asked = progress_asked(config)
    capture: Any = config.pluginmanager.get_plugin("capturemanager")

    def uncaptured() -> Any:
        return nullcontext() if capture is None else capture.global_and_fixture_disabled()

    lines = ProgressLines(what)
    with ExitStack() as stack:
        shown: Progress | None = None
        with uncaptured():
            terminal = sys.stderr.isatty()
            if terminal and asked != "off" and (asked == "on" or config.option.verbose >= 0):
                shown = stack.enter_context(progress_bar(what, unit="subject"))

        def progress(done: int, total: int) -> None:
            if shown is None and asked != "on":
                return
            with uncaptured():
                if shown is not None:
                    shown(done, total)
                elif line := lines.line(done, total):
                    print(line, file=sys.stderr, flush=True)

        try:
            yield progress
        finally:
            with uncaptured():
                stack.close()
