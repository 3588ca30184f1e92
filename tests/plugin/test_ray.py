"""Subjects scored by actors of a Ray on this machine: the same records as in one process, whatever dies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medsam_core.data.cohort import find_subjects, load
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.plugin import ray_crew
from medsam_core.runs import read_run
from tests.plugin.ray_predictors import mark_of
from tests.plugin.test_plugin import LENIENT, PLUGIN, SUITE, said

ray = pytest.importorskip("ray", reason="needs medsam-core[ray]; tox -e ray has it")
pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
SUBJECTS = 5
PATIENCE = 300  # seconds that a session may take on a busy machine
on_two_cpus = pytest.mark.usefixtures("two_cpus")
STUB = "--medsam-predictor=tests.plugin.ray_predictors:make"


@pytest.fixture(scope="module")
def two_cpus():
    """A Ray with two CPUs, which the sessions of this process join."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, subjects=SUBJECTS, size=(16, 40, 40), seed=5)
    return root


@pytest.fixture
def gate(pytester, cohort):
    """gate(*options): a session over the cohort in this process, with a predictor that fills boxes."""
    pytester.makepyfile(test_gate=SUITE)
    gates = str(pytester.makefile(".toml", gates=LENIENT))

    def run(*options, root=cohort, run_dir="run", predictor=STUB):
        chosen = ["-m", "not gpu", f"--medsam-gates={gates}", f"--medsam-root={root}", predictor]
        chosen += [f"--medsam-run-dir={run_dir}"] if run_dir else []
        return pytester.runpytest_inprocess(*PLUGIN, *chosen, *options)

    run.folder = pytester.path
    return run


def records(run: Path) -> dict[str, dict]:
    """What a run holds of each case, but for the time that it took."""
    return {record.id: record.to_json() | {"seconds": None} for record in read_run(run).records}


def verdict(run: Path) -> dict:
    return json.loads((run / "verdict.json").read_text())


def pictures(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.glob("*/*") if path.suffix in (".png", ".gz")}


def deadly(cohort: Path, folder: Path, times: int) -> str:
    """The option by which the actor that scores the third subject dies, so many times."""
    mark = mark_of(load(find_subjects(cohort)[2], "t1ce").image)
    return f"--medsam-predictor-options=mark={mark},times={times},folder={folder}"


@on_two_cpus
@pytest.mark.parametrize("data", [(), ("--medsam-ship-data",)], ids=["paths", "shipped"])
def test_two_actors_come_to_what_one_process_comes_to(gate, data):
    chosen = ("--medsam-modality=t1ce,flair", "--medsam-regions=WT,TC", "--medsam-save-masks")
    assert gate(*chosen, run_dir="alone").ret == 0
    result = gate(*chosen, "--medsam-ray", *data, run_dir="together")
    assert result.ret == 0, said(result)
    result.assert_outcomes(passed=SUBJECTS * 8, deselected=SUBJECTS * 8)
    result.stdout.fnmatch_lines(["precision *, threads 1 in each of 2 Ray actors"])
    alone, together = gate.folder / "alone", gate.folder / "together"
    assert len(records(alone)) == SUBJECTS * 8
    assert records(together) == records(alone)
    assert verdict(together) == verdict(alone)
    assert (together / "prompts.json").read_bytes() == (alone / "prompts.json").read_bytes()
    assert pictures(together) == pictures(alone)
    assert len(pictures(together)) == SUBJECTS * 8 + 4


@on_two_cpus
def test_a_dead_actor_costs_its_subject_a_second_try(gate, cohort, tmp_path):
    assert gate(run_dir="alone").ret == 0
    result = gate("--medsam-ray", deadly(cohort, tmp_path, times=1))
    assert (tmp_path / "death-0").exists()
    assert result.ret == 0, said(result)
    assert records(gate.folder / "run") == records(gate.folder / "alone")
    subject = find_subjects(cohort)[2].id
    note = f"{subject}: scored at the second try; the Ray actor of the first one died"
    assert verdict(gate.folder / "run")["notes"] == [note]
    result.stdout.fnmatch_lines([f"*note: {note}"])


@on_two_cpus
def test_a_subject_under_which_two_actors_die_is_named_and_the_run_goes_on_later(gate, cohort, tmp_path):
    result = gate("--medsam-ray", deadly(cohort, tmp_path, times=2))
    assert (tmp_path / "death-1").exists()
    assert result.ret == 10
    subject, run = find_subjects(cohort)[2].id, gate.folder / "run"
    result.assert_outcomes(passed=(SUBJECTS - 1) * 6, failed=6, deselected=SUBJECTS * 6)
    result.stdout.fnmatch_lines(
        [f"{subject}: two Ray actors died while they scored it *continue with --medsam-resume."]
    )
    assert verdict(run)["outcome"] == "INCONCLUSIVE"
    missing = {case for case in read_run(run).plan if case.startswith(f"{subject}/")}
    assert {
        case for case, found in verdict(run)["cases"].items() if "planned but not scored" in found["texts"]
    } == missing
    kept = records(run)
    assert set(kept) == set(read_run(run).plan) - missing
    assert gate("--medsam-ray", f"--medsam-resume={run}", run_dir=None).ret == 0
    assert gate(run_dir="alone").ret == 0
    assert records(run) == records(gate.folder / "alone")
    assert list(records(run))[: len(kept)] == list(kept), "what was scored stays"


@on_two_cpus
def test_a_bad_file_is_named_in_the_same_sentence_as_in_one_process(gate, cohort, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(cohort, root)
    image = sorted(root.glob("*/*_t1ce.nii.gz"))[1]
    image.write_bytes(image.read_bytes()[:500])
    sentences = []
    for options in ((), ("--medsam-ray",), ("--medsam-ray", "--medsam-ship-data")):
        result = gate(*options, root=root, run_dir=f"run{len(sentences)}")
        assert result.ret == 10, said(result)
        sentences.append([line for line in result.outlines if image.name in line and "expected" in line])
    assert len(sentences[0]) >= 6
    assert sentences == [sentences[0]] * 3


@on_two_cpus
def test_an_actor_with_another_source_is_refused(gate, monkeypatch):
    code = {**ray_crew.code_of_this_process(), "medsam_core's source": "0123456789ab"}
    monkeypatch.setattr(ray_crew, "code_of_this_process", lambda: code)
    result = gate("--medsam-ray")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "expected 0123456789ab as in the session; install the same environment on every node." in said(result)
    assert not (gate.folder / "run" / "run.json").exists()


@on_two_cpus
def test_a_predictor_that_cannot_be_made_there_ends_the_session_in_a_sentence(gate):
    result = gate("--medsam-ray", predictor="--medsam-predictor=tests.plugin.ray_predictors:nothing")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: Ray node *: predictor *has no nothing*"])


@on_two_cpus
def test_a_case_that_no_test_looks_at_keeps_the_run_from_a_pass(gate, pytester):
    pytester.makepyfile(
        test_gate="""
        def test_case(medsam_case, medsam_evaluate):
            if medsam_case.region != "TC":
                medsam_evaluate(medsam_case)
        """
    )
    assert gate("--medsam-ray", "--medsam-regions=WT,TC").ret == 10
    reasons = verdict(gate.folder / "run")["reasons"]
    assert any("10 cases: scored, and no test looked at it" in reason for reason in reasons)


@on_two_cpus
def test_a_test_may_ask_for_a_case_of_another_subject(gate, pytester):
    pytester.makepyfile(
        test_gate="""
        from dataclasses import replace

        def test_case(medsam_case, medsam_evaluate, medsam_cohort):
            medsam_evaluate(medsam_case)
            other = replace(medsam_case, subject=medsam_cohort[-1].id, prompt="mask")
            assert medsam_evaluate(other).case == other
        """
    )
    gate("--medsam-ray", "--medsam-regions=WT", "--medsam-prompts=box").assert_outcomes(passed=SUBJECTS)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


@pytest.fixture
def start(cohort, tmp_path):
    """start(*options): a session as a process of its own, over the cohort."""
    (tmp_path / "test_gate.py").write_text(SUITE)
    (tmp_path / "gates.toml").write_text(LENIENT)

    def started(*options):
        chosen = (*PLUGIN, "-m", "not gpu", f"--medsam-root={cohort}", "--medsam-gates=gates.toml", "-W", "error")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            (sys.executable, "-m", "pytest", *chosen, *options),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return started


def test_the_engine_in_two_actors_of_a_ray_that_the_session_starts(start, tmp_path, small_checkpoint):
    chosen = (f"--medsam-checkpoint={small_checkpoint}", "--medsam-regions=WT", "--medsam-prompts=box")
    out, _ = (alone := start(*chosen, "--medsam-run-dir=alone")).communicate(timeout=PATIENCE)
    assert alone.returncode == 0, out
    session = start(*chosen, "--medsam-run-dir=together", "--medsam-ray", "--medsam-ray-actors=2", "--medsam-ship-data")
    out, _ = session.communicate(timeout=PATIENCE)
    assert session.returncode == 0, out
    assert "2 Ray actors" in out
    assert records(tmp_path / "together") == records(tmp_path / "alone")
    one, other = (read_run(tmp_path / name).header for name in ("alone", "together"))
    assert (one.checkpoint, one.predictor, one.device) == (other.checkpoint, other.predictor, other.device)


def test_an_interrupt_ends_the_session_and_every_process_that_it_started(start, tmp_path):
    session = start(STUB, "--medsam-predictor-options=seconds=1", "--medsam-run-dir=run", "--medsam-ray")
    cases, deadline = tmp_path / "run" / "cases.jsonl", time.monotonic() + PATIENCE
    while not (cases.exists() and cases.read_text().count("\n") >= 6):
        assert session.poll() is None, session.communicate()[0]
        assert time.monotonic() < deadline, "no subject was scored"
        time.sleep(0.05)
    begun = descendants(session.pid)
    assert any("raylet" in Path(f"/proc/{pid}/cmdline").read_text() for pid in begun)
    os.killpg(session.pid, signal.SIGINT)  # as the terminal does
    out, _ = session.communicate(timeout=PATIENCE)
    assert session.returncode == 10, out
    assert "Traceback" not in out
    assert verdict(tmp_path / "run")["outcome"] == "INCONCLUSIVE"
    deadline = time.monotonic() + 20
    while left := [pid for pid in begun if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
        time.sleep(0.1)
