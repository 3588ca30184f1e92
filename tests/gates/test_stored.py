"""A stored run is judged again by the gates it had, or by others, without inference."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from medsam_core.errors import GateError, RunError
from medsam_core.gates.baseline import Baseline, refuse_itself, write_baseline
from medsam_core.gates.gates_file import gates_of

GATES = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.7\n'


def named(text):
    return {"file": "mine.toml", "sha256": hashlib.sha256(text.encode()).hexdigest()}


def test_the_gates_are_found_by_name_and_hash(make_record, make_run, tmp_path):
    run = make_run([make_record()], gates=named(GATES))
    folders = (tmp_path / "nowhere", tmp_path / "gates")
    folders[1].mkdir()
    (folders[1] / "mine.toml").write_text(GATES)
    assert gates_of(run, folders=folders).path == folders[1] / "mine.toml"
    (folders[1] / "mine.toml").write_text(GATES + "# edited\n")
    with pytest.raises(GateError, match=r"was judged by mine\.toml .* or has changed since; give --gates FILE"):
        gates_of(run, folders=folders)
    (run.directory / "gates.toml").write_text(GATES)
    assert gates_of(run, folders=folders).path == run.directory / "gates.toml"


def test_a_run_without_gates_has_none(make_record, make_run):
    assert gates_of(make_run([make_record()])) is None


@pytest.mark.parametrize(("dice", "code", "word"), [(0.9, 0, "PASS"), (0.4, 1, "FAIL")])
def test_the_command_prints_the_verdict_and_returns_its_code(
    make_record, make_run, tmp_path, command, capsys, dice, code, word
):
    run = make_run([make_record(dice=dice)])
    (tmp_path / "gates.toml").write_text(GATES)
    before = sorted(path.name for path in run.directory.iterdir())
    assert command("judge", run.directory, "--gates", tmp_path / "gates.toml") == code
    assert capsys.readouterr().out.startswith(f"{word}: 1 of 1 case scored")
    assert command("judge", run.directory, "--gates", tmp_path / "gates.toml", "--json") == code
    assert json.loads(capsys.readouterr().out)["outcome"] == word
    assert sorted(path.name for path in run.directory.iterdir()) == before


def test_the_baseline_that_the_session_was_given_is_found_again(make_record, make_run, tmp_path, command, capsys):
    run = make_run([make_record(dice=0.8)], baseline="main")
    write_baseline(Baseline.of(make_run([make_record(dice=0.9)], name="old"), "main"), tmp_path / "b")
    write_baseline(Baseline.of(make_run([make_record(dice=0.8)], name="even"), "even"), tmp_path / "b")
    (tmp_path / "gates.toml").write_text(GATES.replace("case_minimum = 0.7", "case_drop_maximum = 0.05"))
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baselines", tmp_path / "b")
    assert command(*given) == 1
    assert "largest drop of Dice 0.100 > 0.050 over 1 case against main" in capsys.readouterr().out
    assert command(*given, "--baseline", "even") == 0
    with pytest.raises(GateError, match="main: neither a run, a baseline file nor a name"):
        command(*given[:-1], tmp_path / "empty")


def test_a_run_is_not_judged_against_itself(make_record, make_run, tmp_path, command, monkeypatch):
    run = make_run([make_record(dice=0.4)])
    gates = tmp_path / "gates.toml"
    gates.write_text(GATES.replace("case_minimum = 0.7", "case_drop_maximum = 0.05"))
    (tmp_path / "link").symlink_to(run.directory)
    shutil.copytree(run.directory, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    for judged, named in (
        (run.directory, run.directory),
        (run.directory, "run/../run/"),
        (run.directory, "link"),
        ("link", run.directory),
        (run.directory, "copy"),
        (f"file://{run.directory}", run.directory),
    ):
        with pytest.raises(
            GateError, match=r"^baseline .*: is the run .* itself, expected another, .*; give --baseline"
        ):
            command("judge", judged, "--gates", gates, "--baseline", named)
    other = make_run([make_record(dice=0.5)], name="other")
    assert command("judge", run.directory, "--gates", gates, "--baseline", other.directory) == 1


def test_a_name_that_a_runs_folder_has_too_is_no_reference_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_itself("main", tmp_path / "main")  # before the session has written anything


def test_a_run_whose_session_was_given_what_is_now_itself_is_refused(make_record, make_run, tmp_path, command):
    run = make_run([make_record()], baseline=str(tmp_path / "run"))
    (tmp_path / "gates.toml").write_text(GATES)
    with pytest.raises(GateError, match="itself, expected another"):
        command("judge", run.directory, "--gates", tmp_path / "gates.toml")


RELATIVE = GATES.replace("case_minimum = 0.7", "case_drop_maximum = 0.05")


@pytest.mark.parametrize(
    ("verdict", "gates", "note"),
    [
        ('{"outcome": "PASS"}', RELATIVE, None),
        ('{"outcome": "FAIL"}', RELATIVE, "baseline old: ended as FAIL itself"),
        ('{"outcome": "INCONCLUSIVE"}', RELATIVE, "baseline old: ended as INCONCLUSIVE itself"),
        (None, RELATIVE, "baseline old: has no verdict itself"),
        ('{"outcome": "PASS"}', GATES, "baseline old: no gate compares with it"),
        (None, GATES, "baseline old: no gate compares with it"),
    ],
)
def test_a_reference_that_is_no_pass_or_that_no_gate_uses_is_noted(
    make_record, make_run, tmp_path, command, capsys, verdict, gates, note
):
    run, old = make_run([make_record(dice=0.8)]), make_run([make_record(dice=0.81)], name="old")
    if verdict is not None:
        (old.directory / "verdict.json").write_text(verdict)
    (tmp_path / "gates.toml").write_text(gates)
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baseline", old.directory)
    assert command(*given) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ([] if note is None else [f"  note: {note}"])
    command(*given, "--json")
    assert json.loads(capsys.readouterr().out)["notes"] == ([] if note is None else [note])


def test_a_reference_whose_verdict_is_damaged_is_refused(make_record, make_run, command):
    run, old = make_run([make_record()]), make_run([make_record()], name="old")
    (old.directory / "verdict.json").write_text("{")
    with pytest.raises(RunError, match=r"old/verdict\.json: got text that is not JSON .*, expected a verdict; delete"):
        command("compare", old.directory, run.directory)


@pytest.mark.parametrize(
    ("identity", "note"),
    [
        ({"outcome": "PASS", "forced": False}, None),
        ({"outcome": "PASS", "forced": True}, "baseline main: was accepted with --force, against what its file says"),
        ({"outcome": "FAIL", "forced": True}, "baseline main: was accepted with --force, against what its file says"),
        ({"outcome": "FAIL"}, "baseline main: ended as FAIL itself"),
        ({}, None),
    ],
)
@pytest.mark.parametrize("named", [(), ("--baseline", "main")])
def test_a_baseline_that_was_forced_is_noted(make_record, make_run, tmp_path, command, capsys, identity, note, named):
    run = make_run([make_record(dice=0.8)])
    write_baseline(Baseline.of(make_run([make_record(dice=0.81)], name="old"), "main", **identity), tmp_path / "b")
    (tmp_path / "gates.toml").write_text(RELATIVE.replace("[[gate]]", 'baseline = "main"\n[[gate]]'))
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baselines", tmp_path / "b")
    assert command(*given, *named) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ([] if note is None else [f"  note: {note}"])


def test_without_gates_the_command_is_inconclusive(make_record, make_run, command, capsys):
    assert command("judge", make_run([make_record()]).directory) == 10
    assert "no gates for this cohort" in capsys.readouterr().out


def test_no_run_is_an_error(tmp_path, command):
    with pytest.raises(
        RunError,
        match=r"run\.json: no such file, expected a run",
    ):
        command("judge", tmp_path / "none")
