"""Progress of a session: lines between its tests, and a bar while phantoms are drawn."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch  # noqa: F401 -- before pytester takes its snapshot of the modules

from medsam_core.plugin import progress
from medsam_core.plugin.configuration import PhantomCohort
from tests.plugin.test_plugin import LENIENT, PLUGIN, STAND_IN, SUITE

pytest_plugins = ["pytester"]

CHOICE = ("-m", "not gpu", "--medsam-regions=WT", "--medsam-run-dir=run")
LINE = r"1 of 2 subjects, \d+\.\d s each, \d\d:\d\d left"


@pytest.fixture
def session(pytester, small_cohort, monkeypatch):
    """session(*options): the suite on two subjects, in which every line is due at once."""
    monkeypatch.setattr("medsam_core.progress._FIRST_LINE", 0)
    pytester.makepyfile(test_gate=SUITE + "\ndef test_other():\n    pass\n")
    gates = pytester.makefile(".toml", gates=LENIENT)

    def run(*options):
        given = (f"--medsam-root={small_cohort}", f"--medsam-gates={gates}", *CHOICE, *options)
        return pytester.runpytest_inprocess(*STAND_IN, *PLUGIN, *given)

    return run


@pytest.mark.parametrize("options", [(), ("-v",), ("-n", "2")], ids=" ".join)
def test_there_is_a_line_after_a_subject_and_none_after_the_last(session, options):
    result = session("--medsam-progress=on", *options)
    assert result.ret == 0
    result.stdout.re_match_lines([f"^{LINE}$"])
    assert [line for line in result.outlines if line.startswith("2 of 2 subjects")] == []
    assert len([line for line in result.outlines if " subjects, " in line and " left" in line]) == 1


def test_the_lines_change_nothing_else(session):
    with_lines, without = session("--medsam-progress=on"), session("--medsam-progress=off", "--medsam-run-dir=other")
    assert without.ret == with_lines.ret == 0
    assert without.parseoutcomes() == with_lines.parseoutcomes()
    assert " s each, " not in without.stdout.str()


@pytest.mark.parametrize("options", [(), ("--medsam-progress=off",)], ids=["auto", "off"])
def test_a_session_without_a_terminal_has_no_line_unless_asked(session, options):
    assert " left" not in session(*options).stdout.str()


@pytest.mark.parametrize(("verbose", "lines"), [(0, 1), (1, 1), (-1, 0)])
def test_on_a_terminal_there_are_lines_unless_quiet(session, monkeypatch, verbose, lines):
    flags = {0: (), 1: ("-v",), -1: ("-q",)}[verbose]
    wanted = progress.SubjectProgress._wanted
    terminal = SimpleNamespace(isatty=True)
    monkeypatch.setattr(progress.SubjectProgress, "_wanted", lambda self, _: wanted(self, terminal))
    result = session(*flags)
    assert result.ret == 0
    assert result.stdout.str().count(" s each, ") == lines


def test_a_session_without_a_case_has_no_line(pytester, monkeypatch):
    monkeypatch.setattr("medsam_core.progress._FIRST_LINE", 0)
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('x', ['a/b/c/d', 'e/f/g/h'])\ndef test_it(x): pass")
    result = pytester.runpytest_inprocess(*PLUGIN, "--medsam-progress=on")
    result.assert_outcomes(passed=2)
    assert " left" not in result.stdout.str()


def test_an_unknown_word_ends_the_session_in_a_sentence(pytester):
    result = pytester.runpytest_inprocess(*PLUGIN, "--medsam-progress=yes")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--medsam-progress: got yes, expected one of auto, on, off; correct it." in result.stderr.str()


@pytest.mark.parametrize(("asked", "shown"), [("on", True), ("auto", False), ("off", False)])
def test_a_log_has_lines_about_phantoms_if_asked(pytester, monkeypatch, asked, shown):
    monkeypatch.setattr("medsam_core.progress._FIRST_LINE", 0)
    pytester.makepyfile(test_gate=SUITE)
    size = ("--medsam-phantom-subjects=2", "--medsam-phantom-size=16,40,40", "--medsam-phantom-dir=phantoms")
    result = pytester.runpytest_inprocess(
        *STAND_IN, *PLUGIN, "--collect-only", *size, f"--medsam-progress={asked}", "-m", "not gpu"
    )
    assert result.ret == 0
    assert ("1 of 2 phantoms, " in result.stderr.str()) is shown


@pytest.mark.parametrize(("asked", "verbose", "shown"), [("auto", 0, True), ("auto", -1, False), ("off", 0, False)])
def test_a_terminal_has_a_bar_while_phantoms_are_drawn(tmp_path, monkeypatch, asked, verbose, shown):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("medsam_core.progress.DELAY", 0)
    monkeypatch.setattr(progress, "progress_asked", lambda _: asked)
    plugins = SimpleNamespace(get_plugin=lambda _: None)
    config = SimpleNamespace(pluginmanager=plugins, option=SimpleNamespace(verbose=verbose))
    cohort = PhantomCohort(
        tmp_path, subjects=2, size=(16, 40, 40), progress=lambda: progress.progress_outside_tests(config, "phantoms")
    )
    cohort.write()
    assert ("phantoms: " in terminal.getvalue()) is shown
    assert ("2/2" in terminal.getvalue()) is shown
