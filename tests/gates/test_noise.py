"""The noise floor: measured on true repeats only, and no limit may be below it."""

from __future__ import annotations

import math
import sys

import pytest

from medsam_core.errors import GateError, RunError
from medsam_core.gates.baseline import identity_of
from medsam_core.gates.comparison import Rule
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.noise import (
    NoiseFloor,
    Spread,
    check_gates,
    check_rule,
    measure,
    read_floors,
    tolerance,
    write_floor,
)


def floor(case=0.004, mean=0.001, machine="cpu, a CPU, fp32"):
    return NoiseFloor("c" * 64, 3, 6, {"dice@volume": Spread(case, mean)}, machine)


def test_the_spread_by_hand(make_record, recall):
    repeats = [
        recall([make_record("S1", dice=a), make_record("S2", dice=b), make_record("S1", "TC", dice=0.5)])
        for a, b in ((0.80, 0.60), (0.81, 0.60), (0.80, 0.58))
    ]
    got = measure(repeats)
    # S2 moved by 0.02; the means of WT are 0.700, 0.705 and 0.690
    assert got.spreads["dice@volume"] == Spread(case=0.02, mean=0.015)
    assert (got.machine, got.repeats, got.cases) == ("cpu, a CPU, fp32", 3, 3)
    assert "truth_volume_ml@volume" not in got.spreads
    assert got.lines()[1].startswith(
        "  dice@key_slice: a case moved by up to 0.020000, a mean by up to 0.015000; case_d"
    )


def test_exact_repeats_have_no_noise(make_record, recall):
    got = measure([recall([make_record(), make_record("S2", slices=())])] * 2)
    assert set(got.spreads.values()) == {Spread(0.0, 0.0)}
    assert got.cases == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "bf16"}, "another machine: cpu, a CPU, fp32 in run, cpu, a CPU, bf16 now"),
        ({"checkpoint": {"name": "other", "sha256": "d"}}, "another checkpoint: c"),
        ({"settings": {"profile": "monai"}}, "another profile"),
        ({"plan": ["S1/t1ce/WT/box", "S2/t1ce/WT/box"]}, "1 case planned but not scored"),
    ],
)
def test_what_is_no_repeat_is_refused(make_record, recall, change, message):
    with pytest.raises(GateError, match=f"is no repeat of run: {message}"):
        measure([recall([make_record()]), recall([make_record()], **change)])


def test_one_run_and_a_score_that_comes_and_goes_are_refused(make_record, recall):
    with pytest.raises(GateError, match="repeats: got 1, expected at least 2"):
        measure([recall([make_record()])])
    with pytest.raises(GateError, match="finite in some repeats only"):
        measure([recall([make_record()]), recall([make_record(dice=math.nan)])])


def test_the_gpu_names_the_machine_on_cuda(make_record, recall):
    environment = {"gpu": "NVIDIA H200", "cpu": "a CPU"}
    run = recall([make_record()], device="cuda:1", precision="bf16", environment=environment)
    assert identity_of(run).machine == "cuda, NVIDIA H200, bf16"


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 0.0), (0.001, 0.003), (0.0011, 0.004), (0.1, 0.3)])
def test_tolerances_are_three_times_the_spread_rounded_up(spread, expected):
    assert tolerance(spread) == expected


def test_floors_of_several_machines_share_a_file(tmp_path):
    path = tmp_path / "new" / "floor.json"
    assert read_floors(path) == {}
    write_floor(floor(), path)
    write_floor(floor(0.1, machine="cuda, NVIDIA H200, bf16"), path)
    write_floor(floor(0.2), path)
    assert {machine: one.spreads["dice@volume"].case for machine, one in read_floors(path).items()} == {
        "cpu, a CPU, fp32": 0.2,
        "cuda, NVIDIA H200, bf16": 0.1,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "got text that is not JSON .* expected noise floors; restore"),
        ('{"schema": 1}', "lacks the field floors"),
        ('{"schema": 2}', "has schema 2, this version"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, content, message):
    (tmp_path / "floor.json").write_text(content)
    with pytest.raises(GateError, match=message):
        read_floors(tmp_path / "floor.json")


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GateError, match=r"cannot be written \(.*\); choose another --output\."):
        write_floor(floor(), tmp_path / "file" / "floor.json")


def test_the_commands_refuse_what_is_below_the_floor(make_record, make_run, tmp_path, command, monkeypatch):
    run = make_run([make_record()])
    monkeypatch.chdir(tmp_path)
    assert command("compare", run.directory, run.directory, "--margin", 0) == 0
    write_floor(floor(), tmp_path / "benchmarks" / "noise-floor.json")
    with pytest.raises(GateError, match="--margin: got 0, which is below the noise floor"):
        command("compare", run.directory, run.directory, "--margin", 0)
    (tmp_path / "gates.toml").write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_drop_maximum = 0\n')
    judged = ("judge", run.directory, "--gates", tmp_path / "gates.toml")
    with pytest.raises(GateError, match="case_drop_maximum: got 0, which is below the noise floor"):
        command(*judged)
    write_floor(floor(0.0, 0.0), tmp_path / "benchmarks" / "noise-floor.json")
    assert command("compare", run.directory, run.directory, "--margin", 0) == 0
    earlier = make_run([make_record()], name="earlier", created="2026-01-01T00:00:00+00:00")
    (earlier.directory / "verdict.json").write_text('{"outcome": "PASS"}')
    assert command(*judged, "--baseline", earlier.directory) == 0


def test_gates_below_the_floor_are_refused(tmp_path):
    def load(bound, metric="dice"):
        (tmp_path / "gates.toml").write_text(f'version = 1\n[[gate]]\nmetric = "{metric}"\n{bound}\n')
        return load_gates(tmp_path / "gates.toml")

    with pytest.raises(GateError, match=r"gate 1: case_drop_maximum: got 0\.003, .* set it to 0\.012 or more\."):
        check_gates(load("case_drop_maximum = 0.003"), floor())
    with pytest.raises(
        GateError, match=r"mean_drop_maximum: got 0, which is below the noise floor 0\.001 of cpu, a CPU"
    ):
        check_gates(load("mean_drop_maximum = 0"), floor())
    check_gates(load("case_minimum = 0.1", "dice"), floor())  # no bound against a baseline
    check_gates(load("case_drop_maximum = 0.004\nmean_drop_maximum = 0.001\ncase_minimum = 0.1"), floor())
    check_gates(load("case_drop_maximum = 0", "iou"), floor())


def test_a_rule_below_the_floor_is_refused():
    with pytest.raises(GateError, match=r"--margin: got 0\.0005, which is below the noise floor 0\.001"):
        check_rule(Rule(margin=0.0005), floor())
    with pytest.raises(GateError, match=r"--case-drop-maximum: got 0\.003"):
        check_rule(Rule(case_drop_maximum=0.003), floor())
    check_rule(Rule(case_drop_maximum=None), floor())
    check_rule(Rule(metric="iou", margin=0), floor())


def test_the_command_takes_stored_repeats(make_record, make_run, tmp_path, command, capsys):
    for name, dice in (("a", 0.8), ("b", 0.805)):
        make_run([make_record(dice=dice)], name=name)
    output = tmp_path / "floor.json"
    assert command("calibrate", tmp_path / "a", tmp_path / "b", "-o", output) == 0
    assert capsys.readouterr().out.startswith("cpu, a CPU, fp32: 2 repeats of 1 case, checkpoint cccccccccccc\n")
    assert read_floors(output)["cpu, a CPU, fp32"].spreads["dice@volume"].case == 0.005
    with pytest.raises(GateError, match="repeats: got 1"):
        command("calibrate", tmp_path / "a", "-o", output)


def test_one_run_given_twice_is_no_repeat(make_record, make_run, tmp_path, command, monkeypatch):
    for name, dice in (("a", 0.8), ("b", 0.805)):
        make_run([make_record(dice=dice)], name=name)
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    for again in ("a", "b/../a", tmp_path / "a", "link"):
        with pytest.raises(GateError) as caught:
            command("calibrate", "a", "b", again, "-o", "floor.json")
        assert str(caught.value) == (
            f"{again}: the same run as a, expected every repeat once; name the directories of different runs."
        )
    assert not (tmp_path / "floor.json").exists()


def test_the_command_runs_the_suite_k_times(make_record, make_run, tmp_path, command, monkeypatch):
    """The suite is a stand-in that copies a stored run to the named folder."""
    run = make_run([make_record()])
    monkeypatch.setattr("subprocess.run", copying(run.directory, 0))
    output = tmp_path / "floor.json"
    assert (
        command("calibrate", "--repeats", 3, "--keep", tmp_path / "kept", "-o", output, "--", "--medsam-device=cpu")
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["repeat-1", "repeat-2", "repeat-3"]
    assert read_floors(output)["cpu, a CPU, fp32"].repeats == 3
    with pytest.raises(GateError, match="--repeats: got 1, expected at least 2"):
        command("calibrate", "--repeats", 1, "-o", output)
    monkeypatch.setattr("subprocess.run", copying(run.directory, 4))
    with pytest.raises(
        RunError, match=r"a repeat ended with exit code 4 \(ERROR: no such option\); correct the options"
    ):
        command("calibrate", "--repeats", 2, "-o", output)


def copying(source, code):
    """What stands in for `subprocess.run`."""
    import shutil
    import subprocess

    def fake(arguments, **_):
        assert arguments[:3] == [sys.executable, "-m", "pytest"]
        assert "medsam_core.suite.test_accuracy" in arguments, "the gate of `medsam-core run`"
        (directory,) = [one.partition("=")[2] for one in arguments if one.startswith("--medsam-run-dir=")]
        if code == 0:
            assert arguments[-1] == "--medsam-device=cpu"
            shutil.copytree(source, directory)
        return subprocess.CompletedProcess(arguments, code, "", "usage: pytest\nERROR: no such option\n")

    return fake
