"""The rerun line of a failed case: pasted into a shell in another folder, it scores that case again."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401 - pytester forgets what a session imports, and torch cannot be imported twice

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))

@pytest.mark.nightly
def test_case_at_night(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
STRICT = 'version = 1\n[[gate]]\nmetric = "dice"\nregion = "WT"\ncase_minimum = 0.999\n'
INI = "[pytest]\nmarkers = nightly\naddopts = -m 'not nightly'\n"
PLUGINS = ("-p", "medsam_core.plugin.plugin", "-p", "tests.plugin.box_filler", "-p", "no:hypothesispytest")


@pytest.fixture
def failed(pytester, small_cohort, monkeypatch):
    """failed(*options): the rerun lines of a session, in a folder whose name has to be quoted, given relative paths."""
    folder = pytester.mkdir("it's a folder")
    (folder / "test_gate.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(INI)
    (folder / "strict.toml").write_text(STRICT)
    (folder / "cohort").symlink_to(small_cohort)
    monkeypatch.chdir(folder)

    def run(*options):
        chosen = ("root=cohort", "gates=strict.toml", "limit=1", "regions=WT", "prompts=box", "run-dir=run")
        result = pytester.runpytest_inprocess(*PLUGINS, *(f"--medsam-{one}" for one in chosen), *options)
        assert result.ret == 1, result.stdout.str() + result.stderr.str()
        return [line.partition("rerun: ")[2] for line in result.stdout.lines if re.match(r".*Dice.*rerun: ", line)]

    return run


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="plain"),
        pytest.param(("-m", "nightly"), id="marked"),
        pytest.param(("-n", "1"), id="xdist", marks=pytest.mark.slow),
    ],
)
def test_the_line_scores_the_case_again_from_another_folder(failed, options, tmp_path):
    (line,) = failed(*options)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "FAIL" in done.stdout
    assert len(list(tmp_path.glob("runs/*/verdict.json"))) == 1


def test_the_line_names_the_interpreter_and_full_paths_and_keeps_names(failed):
    (line,) = failed("--medsam-baseline=phantom")
    words = shlex.split(line)
    folder = Path.cwd()
    assert words[:3] == [sys.executable, "-m", "pytest"]
    assert words[3].startswith(f"{folder}/test_gate.py::test_case[")
    assert f"--medsam-gates={folder}/strict.toml" in words
    assert "--medsam-baseline=phantom" in words
    assert "no:hypothesispytest" not in words
    assert not [word for word in words if "run-dir" in word]
