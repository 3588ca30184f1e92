"""A stored run is judged again by the gates it had, or by others, without inference."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from medsam_core.errors import GateError, RunError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import write_baseline
from medsam_core.gates.gates_file import gates_of
from medsam_core.gates.reference import refuse_itself

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


def test_the_command_writes_the_page_of_the_verdict_that_it_prints(make_record, make_run, tmp_path, command):
    run = make_run([make_record(dice=0.6)])
    write_baseline(Baseline.of(make_run([make_record(dice=0.9)], name="old"), "main"), tmp_path / "b")
    (tmp_path / "gates.toml").write_text(GATES)
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baselines", tmp_path / "b")
    assert command(*given, "--baseline", "main", "--page", tmp_path / "page.html") == 1
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>FAIL: run</title>" in text
    assert "Change against main" in text
    assert not (run.directory / "page.html").exists()
    with pytest.raises(RunError, match=r"cannot be written \(.*\); choose another --page\.$"):
        command(*given, "--page", tmp_path / "gates.toml" / "page.html")


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
    (other.directory / "verdict.json").write_text('{"outcome": "PASS"}')
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


NO_GATES = '{"outcome": "INCONCLUSIVE", "reasons": ["no gates for this cohort: give --gates FILE"]}'


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        ('{"outcome": "PASS"}', None),
        (NO_GATES, None),
        ('{"outcome": "FAIL"}', "ended as FAIL"),
        ('{"outcome": "INCONCLUSIVE"}', "ended as INCONCLUSIVE"),
        (NO_GATES.replace("[", '["a test failed", '), "ended as INCONCLUSIVE"),
        (None, "has no verdict, so its session did not end"),
    ],
)
def test_a_run_that_is_no_pass_is_no_reference(make_record, make_run, tmp_path, command, capsys, verdict, why):
    """But one that only had no gates is: so a first reference comes about."""
    run, old = make_run([make_record(dice=0.8)]), make_run([make_record(dice=0.81)], name="old")
    if verdict is not None:
        (old.directory / "verdict.json").write_text(verdict)
    (tmp_path / "gates.toml").write_text(RELATIVE)
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baseline", old.directory)
    assert command(*given) == (10 if why else 0)
    reason = f"  INCONCLUSIVE old {why}, so nothing is compared with it"
    assert (reason in capsys.readouterr().out.splitlines()) == (why is not None)


def test_a_reference_that_is_incomplete_or_breaks_its_gates_is_none(make_record, make_run, tmp_path, command, capsys):
    """Whatever its verdict.json says."""
    run = make_run([make_record("S1", dice=0.5), make_record("S2", dice=0.8)])
    ids = [record.id for record in run.records]
    (tmp_path / "gates.toml").write_text(RELATIVE)
    part = make_run([make_record("S1", dice=0.5)], plan=ids, name="part")
    low = make_run(run.records, name="low", gates=named(GATES), created="2025-01-01T00:00:00+00:00")
    (low.directory / "gates.toml").write_text(GATES)
    for old, why in (
        (part, "part 1 case planned but not scored: S2/t1ce/WT/box"),
        (low, "low is a FAIL by its own gates, although its session ended otherwise"),
    ):
        (old.directory / "verdict.json").write_text('{"outcome": "PASS"}')
        assert command("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baseline", old.directory) == 10
        assert f"INCONCLUSIVE {why}, so nothing is compared with it" in capsys.readouterr().out


def test_a_case_that_breaks_a_floor_is_fail_whatever_the_reference(make_record, make_run, tmp_path, command):
    run, old = make_run([make_record(dice=0.4)]), make_run([make_record(dice=0.41)], name="old")
    (old.directory / "verdict.json").write_text('{"outcome": "FAIL"}')
    (tmp_path / "gates.toml").write_text(GATES + "case_drop_maximum = 0.05\n")
    assert command("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baseline", old.directory) == 1


def test_a_reference_that_no_gate_uses_is_noted(make_record, make_run, tmp_path, command, capsys):
    run, old = make_run([make_record(dice=0.8)]), make_run([make_record(dice=0.81)], name="old")
    (tmp_path / "gates.toml").write_text(GATES)
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baseline", old.directory)
    assert command(*given) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  note: baseline old: no gate compares with it"]
    command(*given, "--json")
    assert json.loads(capsys.readouterr().out)["notes"] == ["baseline old: no gate compares with it"]


def test_compare_shows_a_run_against_a_failed_one_and_says_so(make_record, make_run, command, capsys):
    run, old = make_run([make_record(dice=0.8)]), make_run([make_record(dice=0.8)], name="old")
    (old.directory / "verdict.json").write_text('{"outcome": "FAIL"}')
    assert command("compare", old.directory, run.directory) == 0
    assert "  note: old ended as FAIL" in capsys.readouterr().out.splitlines()


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


def test_a_baseline_that_is_no_pass_is_no_reference(make_record, make_run, tmp_path, command, capsys):
    run = make_run([make_record(dice=0.8)])
    write_baseline(Baseline.of(make_run([make_record(dice=0.81)], name="old"), "main", outcome="FAIL"), tmp_path / "b")
    (tmp_path / "gates.toml").write_text(RELATIVE)
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baselines", tmp_path / "b")
    assert command(*given, "--baseline", "main") == 10
    assert "INCONCLUSIVE main ended as FAIL, so nothing is compared with it" in capsys.readouterr().out


def test_a_run_of_a_kind_that_the_baseline_lacks_is_compared_with_another_and_says_so(
    make_record, make_run, tmp_path, command, capsys
):
    run = make_run([make_record(dice=0.8)], device="cuda:0", precision="bf16")
    write_baseline(Baseline.of(make_run([make_record(dice=0.81)], name="old"), "main"), tmp_path / "b")
    same = '\n[[gate]]\nmetric = "dice"\nsame = ["device", "precision"]\ncase_change_maximum = 0.001\n'
    (tmp_path / "gates.toml").write_text(RELATIVE + same)
    given = ("judge", run.directory, "--gates", tmp_path / "gates.toml", "--baselines", tmp_path / "b")
    assert command(*given, "--baseline", "main") == 0
    said = capsys.readouterr().out
    assert (
        "note: baseline main: has no scores of cuda, bf16; those of cpu, fp32 are used, without the bounds for the "
        "same kind" in said
    )
    assert "gate 2 (Dice) is for the baseline's own device, precision: here device cuda, there cpu" in said


def test_without_gates_the_command_is_inconclusive(make_record, make_run, command, capsys):
    assert command("judge", make_run([make_record()]).directory) == 10
    assert "no gates for this cohort" in capsys.readouterr().out


def test_no_run_is_an_error(tmp_path, command):
    with pytest.raises(
        RunError,
        match=r"run\.json: no such file, expected a run",
    ):
        command("judge", tmp_path / "none")
