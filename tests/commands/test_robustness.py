"""`medsam-core robustness`: its options become those of a session, and the report stands beside the run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.cli import main
from medsam_core.commands import robustness
from medsam_core.runs import read_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(monkeypatch):
    """started(*words): the options that the session is given."""
    commands = []
    monkeypatch.setattr(robustness, "_session", lambda command: commands.append(command) or 0)

    def run(*words):
        assert main(["robustness", *words]) == 0
        command = commands.pop()
        return command[command.index("-v") + 1 :]

    return run


def noisy_run(make_run, make_record):
    exact = make_record("S1", dice=0.9)
    moved = CaseRecord(Case("S1", "t1ce", "WT", "box", noise="jitter3-seed1"), make_record(dice=0.8).scores, (95,))
    return make_run([exact, moved])


def test_levels_and_seeds_become_the_noise_of_a_session(started, tmp_path):
    given = (
        "--jitter",
        "0,3",
        "--seeds",
        "2",
        "--expand",
        "0,5",
        "--side=10",
        "--limit=1",
        "-o",
        str(tmp_path / "run"),
    )
    assert started(*given) == [
        "--medsam-limit=1",
        "--medsam-noise=jitter3,side10,expand5",
        "--medsam-noise-seeds=2",
        f"--medsam-run-dir={tmp_path / 'run'}",
    ]


def test_without_levels_the_published_jitters_are_drawn_five_times(started):
    noise, seeds, place = started()
    assert noise == "--medsam-noise=jitter1,jitter2,jitter3,jitter5,jitter10"
    assert seeds == "--medsam-noise-seeds=5"
    assert place.startswith("--medsam-run-dir=runs/")


def test_a_run_that_is_resumed_keeps_its_place(started):
    assert started("--resume=old", "--jitter=3") == [
        "--medsam-resume=old",
        "--medsam-noise=jitter3",
        "--medsam-noise-seeds=5",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--jitter=-1"], "--jitter: got '-1', expected whole numbers from 0 on, such as 0,3,5; correct it."),
        (["--jitter=2.5"], "--jitter: got '2.5', expected whole numbers from 0 on"),
        (["--expand="], "--expand: got '', expected whole numbers from 0 on"),
        (["--side=ten"], "--side: got 'ten', expected whole numbers from 0 on"),
        (
            ["--jitter=0"],
            "noise: got only 0, which is the exact prompt, expected more, such as --jitter 0,3,5; add one.",
        ),
        (["--jitter=3,3"], "noise: got jitter3 twice, expected each once; remove it."),
        (["--seeds=0"], "--seeds: got '0', expected a whole number from 1 on; correct it."),
        (["--seeds=1.5"], "--seeds: got '1.5', expected a whole number from 1 on"),
        (["--resume=old", "-o", "new"], "-o new: got it with --resume, which writes to its own run; leave one out."),
        (
            ["old", "--jitter=3", "--root=x", "-n", "2"],
            "old: got a run to report on with --jitter, -n, --root, expected no option but -o, because nothing is",
        ),
        (["nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_a_sentence_before_anything_starts(words, sentence, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "_session", lambda _: pytest.fail("a session was started"))
    assert main(["robustness", *words]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"medsam-core robustness: {sentence}")
    assert shown.count("\n") == 1


def test_the_report_of_a_stored_run_is_drawn_again_elsewhere(make_run, make_record, tmp_path, capsys):
    run = noisy_run(make_run, make_record)
    assert main(["robustness", str(run.directory), "-o", str(tmp_path / "report")]) == 0
    assert "WT/box  jitter 3         1      1      0.800" in capsys.readouterr().out
    (curve,) = json.loads((tmp_path / "report" / "robustness.json").read_text())["curves"]
    assert curve["points"][1]["drop"] == pytest.approx(0.1)
    assert (tmp_path / "report" / "robustness.svg").exists()
    assert not (run.directory / "robustness.json").exists()
    assert main(["robustness", str(run.directory)]) == 0
    assert (run.directory / "robustness.json").exists()


def test_without_matplotlib_there_is_no_png_and_a_note(make_run, make_record, monkeypatch, capsys):
    monkeypatch.setattr("medsam_core.reports.robustness_plot.can_draw", lambda: False)
    run = noisy_run(make_run, make_record)
    assert main(["robustness", str(run.directory)]) == 0
    assert "note: no robustness.png, because matplotlib is not installed" in capsys.readouterr().out
    assert not (run.directory / "robustness.png").exists()


def test_a_run_without_noise_has_no_report(make_run, make_record, capsys):
    run = make_run([make_record()])
    assert main(["robustness", str(run.directory)]) == 2
    assert "has no prompted case with noise, expected some" in capsys.readouterr().err


@pytest.fixture
def session(tmp_path, small_cohort):
    """session(*options): the command in an empty folder, as a process, on one phantom with a stand-in for the model."""

    def run(*options):
        words = ("--root", str(small_cohort), "--regions=WT", "--limit=1", "--overlays=0", *options)
        plugins = "-p tests.plugin.box_filler -p no:hypothesispytest"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": plugins}
        return subprocess.run(
            [sys.executable, "-m", "medsam_core", "robustness", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def test_a_session_is_scored_judged_and_reported(session, tmp_path):
    (tmp_path / "gates.toml").write_text(
        'version = 1\n[[gate]]\nmetric = "dice"\nmean_minimum = 0.0001\n'
        '[[gate]]\nmetric = "dice"\nat_jitter = 3\ndrop_from_exact_maximum = 0.9\n'
    )
    done = session("--jitter=0,3", "--seeds=2", "--expand=5", "--gates=gates.toml", "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cases: 8 = " in done.stdout
    assert "each exact and, where it is moved, with jitter3, expand5 under 2 seeds" in done.stdout
    run = read_run(tmp_path / "run")
    kinds = [record.case.noise_level for record in run.records if record.case.prompt == "box"]
    assert kinds == ["", "jitter3", "jitter3", "expand5", "expand5"]
    assert len({json.dumps(record.prompts) for record in run.records if record.case.prompt == "box"}) > 3
    assert {path.name for path in run.directory.glob("robustness.*")} >= {"robustness.json", "robustness.svg"}
    assert "WT/point  jitter 3" in done.stdout
    again = session("--resume=run", "--jitter=0,3", "--seeds=1", "--expand=5", "--gates=gates.toml")
    assert again.returncode == 4, "other seeds are another question"


def test_a_mistake_that_only_the_session_sees_ends_without_a_report(session, tmp_path):
    done = session("--jitter=3", "--prompts=mask", "-o", "run")
    assert done.returncode == 4
    assert "noise: got jitter3 with the prompt modes mask, expected one with a box or a point" in done.stderr
    assert not (tmp_path / "run").exists()
