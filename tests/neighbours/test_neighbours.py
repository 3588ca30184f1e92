"""Other pytest plugins installed beside this one: suites start and end as without it, and the gate as without them.

`tox -e neighbours` installs them. Each session is a process, because plugins load themselves there as at a user's.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from medsam_core.runs import read_run

pytestmark = pytest.mark.neighbours

ROOT = Path(__file__).parents[2]
PATIENCE = 300
NEIGHBOURS = {
    "pytest_playwright": ("--device=iPhone 13", "--browser=chromium"),
    "pytest_randomly": ("-p", "randomly", "--randomly-seed=7"),
    "pytest_rerunfailures": ("--reruns=1",),
    "pytest_timeout": ("--timeout=200",),
    "pytest_html": ("--html=page.html", "--self-contained-html"),
    "pytest_cov": ("--cov=.", "--cov-report=term"),
}
ORDINARY = """
import pytest

def test_passes(pytestconfig):
    assert pytestconfig.rootpath.is_dir()

@pytest.mark.skip(reason="on purpose")
def test_is_skipped(): ...

@pytest.mark.xfail(strict=True)
def test_is_expected_to_fail(): assert False

def test_fails(): assert False
"""
GATE = "def test_it(medsam_case, medsam_evaluate, medsam_check):\n    medsam_check(medsam_evaluate(medsam_case))\n"
GATES = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = {floor}\nmean_minimum = {floor}\n'
SMALL = (
    "-p",
    "tests.plugin.box_filler",
    "--medsam-phantom-subjects=2",
    "--medsam-phantom-size=16,48,48",
    "--medsam-prompts=box",
    "--medsam-gates=gates.toml",
    "--medsam-run-dir=run",
)


@pytest.fixture(params=NEIGHBOURS)
def neighbour(request) -> tuple[str, ...]:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed; tox -e neighbours installs it")
    return NEIGHBOURS[request.param]


def session(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "pytest", "-q", *options),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.strip().splitlines()[-1].split(" in ")[0]


def test_an_ordinary_suite_starts_and_ends_as_without_this_plugin(tmp_path, neighbour):
    (tmp_path / "test_ordinary.py").write_text(ORDINARY, encoding="utf-8")
    without = session(tmp_path, *neighbour, "-p", "no:medsam_core.plugin.plugin")
    beside = session(tmp_path, *neighbour)
    assert without.returncode == 1, without.stdout + without.stderr
    assert (beside.returncode, last_line(beside), beside.stderr) == (1, last_line(without), without.stderr)
    assert "medsam" not in beside.stdout.lower()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_the_gate_ends_as_without_the_neighbour(tmp_path, neighbour, workers):
    (tmp_path / "test_gate.py").write_text(GATE, encoding="utf-8")
    for floor, code, outcome in ((0.001, 0, "PASS"), (0.99, 1, "FAIL")):
        (tmp_path / "gates.toml").write_text(GATES.format(floor=floor), encoding="utf-8")
        folder = tmp_path / "run"
        done = session(tmp_path, *SMALL, *neighbour, *workers)
        assert done.returncode == code, done.stdout + done.stderr
        run = read_run(folder)
        assert sorted(record.id for record in run.records) == sorted(run.plan)
        assert f"{outcome}: 6 of 6 cases scored" in done.stdout
        folder.rename(tmp_path / outcome)
