"""What pytest may do to the tests of cases: none of it turns a run into a PASS, and each of it leaves a verdict."""

import json
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest

from medsam_core.runs import CASES, HEADER, RunWriter, read_run
from tests.plugin.test_plugin import LENIENT, gate, outcome_of, said

__all__ = ["gate"]  # the fixture

pytest_plugins = ["pytester"]
STRICT = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.999\n'
SHORT = ("--medsam-prompts", "box", "--medsam-overlays", "0")

SKIP = """
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
    if medsam_case.region == "ET":
        import pytest
        pytest.skip("later")
"""
XFAIL = """
import pytest

@pytest.mark.xfail
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
    assert medsam_case.region != "ET"
"""
XFAIL_LATE = """
import pytest

def test_case(medsam_case, medsam_evaluate):
    medsam_evaluate(medsam_case)
    if medsam_case.region == "ET":
        pytest.xfail("known")
"""
FLAKY = """
ran = set()

def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
    first = medsam_case not in ran
    ran.add(medsam_case)
    assert not (first and medsam_case.region == "ET")
"""
# what pytest-rerunfailures does: the same item again, and a report of the first with another outcome
RERUN = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        if item.config.getini("announced"):
            for report in reports:
                report.outcome = "rerun"
                item.ihook.pytest_runtest_logreport(report=report)
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True

def pytest_addoption(parser):
    parser.addini("announced", "", type="bool", default={announced})

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
@pytest.mark.parametrize(
    ("suite", "reason"),
    [
        (SKIP, "2 cases: a test was skipped: "),
        (XFAIL, "6 cases: a test was marked xfail, so a failure does not show: "),
        (XFAIL_LATE, "2 cases: a test was marked xfail, so a failure does not show: "),
    ],
    ids=["skip", "xfail mark", "xfail call"],
)
def test_a_scored_case_whose_test_was_set_aside_is_inconclusive(gate, pytester, suite, reason, workers):
    pytester.makepyfile(test_gate=suite)
    result = gate(*SHORT, *workers)
    assert result.ret == 10, said(result)
    result.stdout.fnmatch_lines(["INCONCLUSIVE: 6 of 6 cases scored*", f"*INCONCLUSIVE {reason}*"])
    assert outcome_of(pytester.path / "run") == "INCONCLUSIVE"


@pytest.mark.parametrize("announced", [True, False])
def test_a_rerun_that_passes_at_last_is_inconclusive(gate, pytester, announced):
    pytester.makepyfile(test_gate=FLAKY)
    pytester.makeconftest(RERUN.format(announced=announced))
    result = gate(*SHORT)
    assert result.ret == 10, said(result)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE 2 cases: a test was run more than once, so a failure may have *"])


STOPS = [("-x",), ("--maxfail=1",), ("--sw",), ("-n", "2", "--maxfail=1")]


@pytest.mark.parametrize("how", STOPS, ids=" ".join)
def test_a_session_that_stops_at_a_broken_bound_is_a_fail_with_verdict_and_page(gate, pytester, how):
    result = gate(*SHORT, *how, gates=STRICT)
    assert result.ret == 1, said(result)
    assert outcome_of(pytester.path / "run") == "FAIL"
    assert (pytester.path / "run" / "page.html").is_file()
    result.stdout.re_match_lines(
        [r"FAIL: [1-5] of 6 cases scored, .*", r".*the session was stopped \(.*\): \d of 6 p.*"]
    )


INTERRUPTS = {
    "ctrl-c": "raise KeyboardInterrupt",
    "pytest.exit": "pytest.exit('enough')",
    "own failure": "assert False",
}


@pytest.mark.parametrize("how", INTERRUPTS)
def test_a_session_that_is_interrupted_before_a_bound_is_broken_is_inconclusive(gate, pytester, how):
    pytester.makepyfile(
        test_gate="import pytest\n"
        "def test_case(medsam_case, medsam_evaluate):\n"
        f"    if medsam_case.region == 'ET':\n        {INTERRUPTS[how]}\n"
        "    medsam_evaluate(medsam_case)\n"
    )
    result = gate(*SHORT, "-x")
    assert result.ret == 10, said(result)
    verdict = json.loads((pytester.path / "run" / "verdict.json").read_text())
    assert (verdict["outcome"], verdict["counts"]["planned"], verdict["counts"]["scored"]) == ("INCONCLUSIVE", 6, 2)
    assert any("2 of 6 planned cases scored" in reason for reason in verdict["reasons"])
    assert (pytester.path / "run" / "page.html").is_file()


FAILS_ONCE = """
def test_case(medsam_case, medsam_evaluate):
    medsam_evaluate(medsam_case)
    assert medsam_case.id != "Phantom_s11_0000/t1ce/TC/box"
"""


def test_a_stopped_run_goes_on_and_a_failed_test_is_not_left_behind(gate, pytester):
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(test_gate=FAILS_ONCE)
    assert gate(*SHORT, "-x").ret == 10
    failed = "Phantom_s11_0000/t1ce/TC/box"
    result = gate(*SHORT, "--medsam-resume", "run", "--deselect", f"test_gate.py::test_case[{failed}]", run_dir=None)
    assert result.ret == 10
    result.stdout.fnmatch_lines(["INCONCLUSIVE: 6 of 6 cases scored*"])
    result.stdout.fnmatch_lines([f"*INCONCLUSIVE 1 case: scored by an earlier session, and no test *: {failed}"])


def test_a_stopped_run_that_goes_on_passes_at_its_end(gate, pytester):
    suite = pytester.makepyfile(test_gate=FAILS_ONCE)
    assert gate(*SHORT, "-x").ret == 10
    suite.write_text(FAILS_ONCE.replace("assert", "#"))
    assert gate(*SHORT, "--medsam-resume", "run", run_dir=None).ret == 0
    assert outcome_of(pytester.path / "run") == "PASS"


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
@pytest.mark.parametrize("how", [("-k", "smoke"), ("--deselect", "test_gate.py")], ids=" ".join)
def test_a_session_whose_cases_were_all_deselected_says_that_the_gate_did_not_run(gate, pytester, how, workers):
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(test_smoke="def test_smoke():\n    pass\n")
    result = gate(*SHORT, *how, *workers, mark="")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["note: the gate did not run: 6 cases collected, none selected"])


def junit(path):
    return ElementTree.parse(path).getroot().find("testsuite")


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
@pytest.mark.parametrize(
    ("options", "gates", "element", "text"),
    [
        ((), LENIENT, None, "PASS: 6 of 6"),
        ((), 'version = 1\n[[gate]]\nmetric = "dice"\nmean_minimum = 0.999\n', "failure", "FAIL: 6 of 6"),
        (("-k", "WT"), LENIENT, "error", "INCONCLUSIVE: 2 of 6"),
    ],
    ids=["pass", "fail", "inconclusive"],
)
def test_pytests_junit_holds_the_verdict_and_no_record(gate, pytester, options, gates, element, text, workers):
    gate(*SHORT, *options, *workers, "--junitxml=out.xml", "-o", "junit_logging=all", gates=gates)
    suite = junit(pytester.path / "out.xml")
    (verdict,) = [case for case in suite if (case.get("classname"), case.get("name")) == ("medsam-core", "verdict")]
    assert text in ElementTree.tostring(verdict, encoding="unicode")
    assert [child.tag for child in verdict if child.tag in ("failure", "error")] == [element] * bool(element)
    assert int(suite.get("failures")) + int(suite.get("errors")) == bool(element)
    assert int(suite.get("tests")) == len([case for case in suite if case.tag == "testcase"])
    content = (pytester.path / "out.xml").read_text()
    assert "brats2019/dice@volume" not in content
    assert content.count('name="medsam_case"') == len(suite) - 1


LOSS = {
    "the records": "(run / 'cases.jsonl').unlink()",
    "some records": "p = run / 'cases.jsonl'; p.write_text(p.read_text().split('\\n', 1)[1])",
    "the header": "(run / 'run.json').unlink()",
    "everything": "shutil.rmtree(run)",
    "changed scores": "p = run / 'cases.jsonl'; p.write_text(p.read_text().replace('null', '\"x\"', 1))",
    "another header": "p = run / 'run.json'; p.write_text(p.read_text().replace('fp32', 'bf16'))",
}


@pytest.mark.parametrize("loss", LOSS)
def test_a_run_that_is_gone_from_the_disk_is_no_pass(gate, pytester, loss):
    pytester.makepyfile(
        test_gate="import shutil\n"
        "from pathlib import Path\n"
        "count = 0\n"
        "def test_case(medsam_case, medsam_evaluate):\n"
        "    global count\n    count += 1\n"
        f"    run = Path({str(pytester.path / 'run')!r})\n"
        f"    if count == 3:\n        {LOSS[loss]}\n"
        "    medsam_evaluate(medsam_case)\n"
    )
    result = gate(*SHORT)
    assert result.ret == 10, said(result)
    assert "INCONCLUSIVE" in said(result)
    assert "Traceback" not in said(result)
    assert "INTERNALERROR" not in said(result)


def test_a_second_session_does_not_resume_beside_the_first(gate, pytester):
    gate(*SHORT, "-k", "WT")
    run = read_run(pytester.path / "run")
    other = RunWriter(run.directory, run.header, resume=True)
    before = (run.directory / CASES).read_bytes(), (run.directory / HEADER).read_bytes()
    result = gate(*SHORT, "--medsam-resume", "run", run_dir=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "another session writes to it" in said(result)
    assert ((run.directory / CASES).read_bytes(), (run.directory / HEADER).read_bytes()) == before
    other.close()
    assert gate(*SHORT, "--medsam-resume", "run", run_dir=None).ret == 0


def test_broken_code_is_not_hidden_by_stored_scores(gate, pytester, monkeypatch):
    """Neither before the verdict, because the source differs, nor after it, because there is nothing to resume."""
    assert gate(*SHORT).ret == 0
    verdict = pytester.path / "run" / "verdict.json"
    result = gate(*SHORT, "--medsam-resume", "run", run_dir=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "medsam-core judge" in said(result)
    assert verdict.exists()
    verdict.unlink()
    monkeypatch.setattr("medsam_core.plugin.identity.package_source", lambda: "e" * 64)
    result = gate(*SHORT, "--medsam-resume", "run", run_dir=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "the run to resume differs in its source" in said(result)


MASKS = (*SHORT, "--medsam-save-masks", "--medsam-regions", "WT")


def test_a_mask_that_is_not_saved_as_it_was_scored_is_no_pass(gate, monkeypatch):
    from medsam_core.data import volume

    write_mask = volume.write_mask
    assert gate(*MASKS, run_dir="sound").ret == 0
    monkeypatch.setattr(volume, "write_mask", lambda mask, like, path: write_mask(mask[:, :, ::-1], like, path))
    result = gate(*MASKS)
    assert result.ret == 10
    assert "read back, it differs from the scored mask in" in said(result)


@pytest.mark.parametrize("loss", ["path.unlink()", "path.write_bytes(b'other')"])
def test_a_saved_mask_that_is_gone_at_the_end_is_no_pass(gate, pytester, loss):
    pytester.makepyfile(
        test_gate="from pathlib import Path\n"
        "def test_case(medsam_case, medsam_evaluate):\n"
        "    medsam_evaluate(medsam_case)\n"
        "def test_zzz():\n"
        f"    path = sorted(Path({str(pytester.path / 'run' / 'masks')!r}).iterdir())[0]\n    {loss}\n"
    )
    result = gate(*MASKS)
    assert result.ret == 10, said(result)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE 1 case: its saved mask is gone or not what was scored: *"])


def test_a_mask_that_changes_between_a_session_and_its_continuation_is_no_pass(gate, pytester):
    directory = pytester.path / "run"
    assert gate(*MASKS, run_dir="run").ret == 0
    (directory / "verdict.json").unlink()
    assert gate(*MASKS, "--medsam-resume", "run", run_dir=None).ret == 0
    (directory / "verdict.json").unlink()
    path = sorted((directory / "masks").iterdir())[0]
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine, image.header), path)
    result = gate(*MASKS, "--medsam-resume", "run", run_dir=None)
    assert result.ret == 10, said(result)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE 1 case: its saved mask is gone or not what was scored: *"])


def test_a_metric_that_computes_wrongly_is_no_pass(gate, monkeypatch):
    from medsam_core.metrics.mask_pair import MaskPair

    monkeypatch.setattr(MaskPair, "millilitres", lambda _, voxels: float(voxels))
    result = gate(*SHORT)
    assert result.ret == 10
    assert "volume_ml over volume is not what the counted voxels give in 6 cases" in said(result)


def test_a_region_that_loses_its_prompt_is_no_pass(gate, monkeypatch):
    from medsam_core.evaluation import subject

    simulate = subject.simulate
    monkeypatch.setattr(
        subject, "simulate", lambda truth, *a, **k: () if "ET" in k["key"] else simulate(truth, *a, **k)
    )
    result = gate(*SHORT)
    assert result.ret == 10
    assert "nothing was prompted although the truth has the region in 2 cases" in said(result)
