"""`medsam-core run`: its options become those of pytest, and the session's exit code is its own."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from medsam_core.cli import main, parser
from medsam_core.commands.run import gate_command
from medsam_core.plugin.options import OPTIONS

ROOT = Path(__file__).parents[2]
STRICT = 'version = 1\n[[gate]]\nmetric = "dice"\nregion = "WT"\ncase_minimum = 0.999\n'
STAND_IN = ("-p", "tests.plugin.box_filler", "-p", "no:hypothesispytest")


@pytest.fixture
def started(monkeypatch):
    """started(*words): the command that `medsam-core run` becomes."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or 0)

    def run(*words):
        main(["run", *words])
        return commands.pop()

    return run


def test_every_option_of_the_plugin_has_its_short_name(started):
    given, wanted = [], []
    for option in OPTIONS:
        given += [f"--{option.name}", "1"] if option.metavar else [f"--{option.name}"]
        wanted.append(f"{option.flag}=1" if option.metavar else option.flag)
    assert started(*given)[-len(wanted) :] == wanted


def test_nothing_is_handed_on_that_was_not_given(started):
    assert started() == gate_command(["-v"])
    assert started()[:3] == [sys.executable, "-m", "pytest"]


def test_workers_marks_and_what_follows_two_hyphens_reach_pytest(started):
    assert started("-n", "2", "-m", "gpu", "--limit=1", "--", "-x", "-k", "WT")[-9:] == [
        *("-v", "--medsam-limit=1", "-n", "2", "-m", "gpu", "-x", "-k", "WT")
    ]


def test_workers_without_xdist_are_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["run", "-n", "2"]) == 2
    assert "medsam-core run: -n 2: got no pytest-xdist, expected it to be installed" in capsys.readouterr().err


def test_an_unknown_option_and_an_abbreviated_one_are_refused(capsys):
    for word in ("--devise=cpu", "--check=x.pt"):
        with pytest.raises(SystemExit, match="2"):
            parser().parse_args(["run", word])
    assert "unrecognized arguments: --check" in capsys.readouterr().err


def test_help_shows_the_table(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    assert "--checkpoint PATH|NAME" in shown
    assert "--medsam-checkpoint" not in shown


@pytest.fixture
def session(tmp_path, small_cohort):
    """session(*options): `medsam-core run` in an empty folder, as a process, on the small cohort with a stand-in."""

    def run(*options, command=None, cwd=tmp_path, pytest_options=STAND_IN):
        chosen = ("--root", str(small_cohort), "--regions=WT", "--prompts=box", "--limit=1")
        words = command or [sys.executable, "-m", "medsam_core", "run", *chosen, *options, "--", *pytest_options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            words,
            cwd=cwd,
            env=environment,
            shell=isinstance(words, str),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def test_an_empty_folder_is_enough_and_the_exit_code_is_the_verdicts(session, tmp_path):
    done = session("--run-dir=run")
    assert done.returncode == 10, done.stdout + done.stderr
    assert "INCONCLUSIVE" in done.stdout
    assert "PASSED Dice" in done.stdout
    assert json.loads((tmp_path / "run" / "verdict.json").read_text())["outcome"] == "INCONCLUSIVE"
    assert session("--run-dir=run").returncode == 4, "a run is not written over"


@pytest.mark.parametrize(
    "options", [pytest.param((), id="alone"), pytest.param(("-n", "1"), id="xdist", marks=pytest.mark.slow)]
)
def test_the_rerun_line_of_a_failed_case_works_in_another_folder(session, tmp_path, options):
    (tmp_path / "strict.toml").write_text(STRICT)
    (tmp_path / "elsewhere").mkdir()
    done = session("--gates=strict.toml", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    line = re.search(r"Dice.*rerun: (.*)", done.stdout)[1]
    assert shlex.split(line)[0] == sys.executable
    again = session(command=line, cwd=tmp_path / "elsewhere")
    assert again.returncode == 1, again.stdout + again.stderr
    assert "1 failed" in again.stdout
    assert "rerun: " in again.stdout
    assert (tmp_path / "elsewhere" / "runs").is_dir()


def test_a_folders_pytest_configuration_counts_but_cannot_hide_the_gate(session, tmp_path):
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmedsam_overlays = 0\npython_files = check_*.py\npython_functions = check_*\ntestpaths = nowhere\n"
    )
    done = session("--run-dir=run")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "medsam_overlays = 0" in done.stdout
