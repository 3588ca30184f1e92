"""Runs that are killed: a worker of xdist, and the whole session again and again. No scored case is lost, none passes.

pytest tests/faults/test_interruptions.py -m faults --kills=20
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medsam_core.runs import read_run

pytestmark = pytest.mark.faults

SUITE = """
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
DYING_SUITE = """
import os

def test_case(medsam_case, medsam_evaluate, medsam_check):
    if medsam_case.region == "TC" and medsam_case.subject.endswith("{subject}"):
        os._exit(9)
    medsam_check(medsam_evaluate(medsam_case))
"""
GATES = 'version = 1\n[[gate]]\nmetric = "volume_ml"\ncase_maximum = 100000\nmean_maximum = 100000\n'
REPOSITORY = Path(__file__).parents[2]
PATIENCE = 600  # seconds that one session may take on a busy machine


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    from medsam_core.phantoms.cohort import write_cohort

    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, subjects=4, size=(20, 64, 64), seed=12)
    return root


@pytest.fixture
def command(cohort, small_checkpoint, tmp_path):
    """`command(suite, *options)`: the session's command line, in tmp_path."""

    def make(suite, *options):
        (tmp_path / "test_gate.py").write_text(suite)
        (tmp_path / "gates.toml").write_text(GATES)
        chosen = (
            f"--medsam-root={cohort}",
            f"--medsam-checkpoint={small_checkpoint}",
            "--medsam-gates=gates.toml",
            "--medsam-regions=WT,TC",
            "--medsam-prompts=box",
            "--medsam-overlays=0",
        )
        return [sys.executable, "-m", "pytest", "-p", "medsam_core.plugin.plugin", "test_gate.py", *chosen, *options]

    return make


def start(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def whole_lines(run: Path) -> list[str]:
    """The records that are on the disk; a torn last line is none."""
    path = run / "cases.jsonl"
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def kill_at(session, run: Path, target: int, delay: float) -> bool:
    """Kill -9 once the run has `target` records and `delay` seconds have gone by; False if the session ended before."""
    deadline = time.monotonic() + PATIENCE
    while session.poll() is None and not (run.is_dir() and len(whole_lines(run)) >= target):
        assert time.monotonic() < deadline, "the session hangs"
        time.sleep(0.002)
    time.sleep(delay)
    killed = session.poll() is None
    session.kill()
    session.communicate()
    return killed


def test_a_run_that_is_killed_again_and_again_loses_no_case_and_comes_to_the_same_verdict(
    command, tmp_path, pytestconfig
):
    out, _ = (undisturbed := start(command(SUITE, "--medsam-run-dir=undisturbed"), tmp_path)).communicate(
        timeout=PATIENCE
    )
    assert undisturbed.returncode == 0, out
    chance, run, kills = random.Random(7), tmp_path / "run", 0
    for _ in range(pytestconfig.getoption("--kills", 3)):
        before = whole_lines(run)
        option = "--medsam-resume=run" if (run / "run.json").exists() else "--medsam-run-dir=run"
        target = min(len(before) + chance.randint(0, 2), 7)
        kills += kill_at(start(command(SUITE, option), tmp_path), run, target, chance.uniform(0, 0.5))
        assert whole_lines(run)[: len(before)] == before, "a scored case was lost or changed"
    assert kills, "every session ended before it was killed"
    before = whole_lines(run)
    option = "--medsam-resume=run" if (run / "run.json").exists() else "--medsam-run-dir=run"
    out, _ = (last := start(command(SUITE, option), tmp_path)).communicate(timeout=PATIENCE)
    assert last.returncode == 0, out
    assert whole_lines(run)[: len(before)] == before
    ids = [json.loads(line)["id"] for line in whole_lines(run)]
    assert len(ids) == len(set(ids)) == 8, "a case was scored twice"
    resumed, whole = read_run(run), read_run(tmp_path / "undisturbed")
    assert {r.id: r.scores for r in resumed.records} == {r.id: r.scores for r in whole.records}
    assert json.loads((run / "verdict.json").read_text()) == json.loads(
        (tmp_path / "undisturbed" / "verdict.json").read_text()
    )


def test_a_worker_that_dies_is_named_and_the_run_is_not_green(command, tmp_path, cohort):
    subject = sorted(folder.name for folder in cohort.iterdir() if folder.is_dir())[1]
    suite = DYING_SUITE.format(subject=subject)
    session = start(command(suite, "--medsam-run-dir=run", "-n", "2"), tmp_path)
    out, _ = session.communicate(timeout=PATIENCE)
    assert session.returncode in (1, 10), out
    case = f"{subject}/t1ce/TC/box"
    assert "crashed while running" in out
    assert case in out
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert verdict["outcome"] == "INCONCLUSIVE"
    assert any("planned but not scored" in reason and case in reason for reason in verdict["reasons"])
    # everyone else's cases were scored all the same, also the dead worker's other subjects
    assert verdict["counts"]["missing"] == 1
