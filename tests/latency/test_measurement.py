"""Latency: equal machines only, medians with an interval, and no slow run that slips into the place of a fast one."""

from __future__ import annotations

import json

import pytest

from medsam_core.cli import main
from medsam_core.errors import GateError
from medsam_core.latency.measurement import (
    Measurement,
    accept_latency,
    compare_latency,
    find_accepted,
    read_measurement,
)
from medsam_core.outcome import Outcome

MACHINE = {"gpu": None, "cpu": "a CPU", "torch": "2.13.0", "checkpoint": "c" * 8}
STEADY = (10.0, 10.1, 10.2, 10.0, 10.1, 9.9)


def measured(name="now", machine=MACHINE, **stages):
    return Measurement(name, machine, {stage: tuple(rounds) for stage, rounds in stages.items()})


def written(path, machine=MACHINE, **stages):
    """What --benchmark-json writes, as far as it is read."""
    benchmarks = [
        {"name": f"test_{stage}", "stats": {"data": [ms / 1000 for ms in rounds]}} for stage, rounds in stages.items()
    ]
    path.write_text(json.dumps({"machine_info": {"node": "x", "medsam": machine}, "benchmarks": benchmarks}))
    return path


def test_the_same_measurement_passes_at_ratio_one():
    comparison = compare_latency(measured(encode=STEADY), measured(encode=STEADY))
    assert comparison.outcome is Outcome.PASS
    assert comparison.stages[0].ratio == 1.0
    assert comparison.stages[0].low <= 1.0 <= comparison.stages[0].high


def test_a_stage_twice_as_slow_is_fail_and_named():
    slow = [2 * ms for ms in STEADY]
    comparison = compare_latency(measured("main", encode=STEADY, load=STEADY), measured(encode=slow, load=STEADY))
    assert comparison.outcome is Outcome.FAIL
    head, encode, load = comparison.lines()
    assert head == "FAIL: latency against main"
    assert encode.startswith("  encode: 10.05 ms → 20.10 ms, × 2.000 [1.9")
    assert encode.endswith("6 and 6 rounds: FAIL (up to × 1.2)")
    assert load.endswith("PASS (up to × 1.2)")


def test_half_as_slow_again_passes_under_a_factor_of_two():
    slow = [1.5 * ms for ms in STEADY]
    assert compare_latency(measured(a=STEADY), measured(a=slow), factor=2).outcome is Outcome.PASS


def test_noise_that_hides_the_answer_is_inconclusive():
    noisy = (9.0, 15.0, 9.0, 15.0, 9.0, 15.0)
    assert compare_latency(measured(a=STEADY), measured(a=noisy)).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("key", ["gpu", "torch", "checkpoint"])
def test_another_machine_or_question_is_inconclusive_and_named(key):
    other = {**MACHINE, key: "other"}
    comparison = compare_latency(measured(a=STEADY), measured(a=STEADY, machine=other))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert f"another machine or question: {key} ({MACHINE[key]} there, other here)" in comparison.reasons[0]
    across = compare_latency(measured(a=STEADY), measured(a=STEADY, machine=other), across_checkpoints=True)
    assert (across.outcome is Outcome.PASS) == (key == "checkpoint")


def test_a_missing_stage_and_too_few_rounds_are_inconclusive():
    comparison = compare_latency(measured(a=STEADY, b=STEADY, c=STEADY), measured(a=STEADY, b=STEADY[:4]))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reasons == ("not measured: c", "b: 6 and 4 rounds, expected at least 5 of each")


def test_a_measurement_survives_being_accepted(tmp_path):
    now = read_measurement(written(tmp_path / "new.json", encode=STEADY, load=STEADY))
    assert now.stages_ms["encode"] == STEADY
    path, _ = accept_latency(now, "here", folder=tmp_path / "b")
    assert read_measurement(path) == Measurement("here", MACHINE, now.stages_ms)
    assert find_accepted(now, None, tmp_path / "b") == read_measurement(path)
    assert find_accepted(measured(machine={}), None, tmp_path / "b") is None


def test_a_slower_one_does_not_replace_a_faster_one(tmp_path):
    accept_latency(measured(a=STEADY), "here", folder=tmp_path)
    before = (tmp_path / "here.json").read_text()
    slow = measured(a=[2 * ms for ms in STEADY])
    with pytest.raises(GateError, match=r"now: is not accepted as here: FAIL: latency against here; a: .*add --force"):
        accept_latency(slow, "here", folder=tmp_path)
    assert (tmp_path / "here.json").read_text() == before
    accept_latency(slow, "here", folder=tmp_path, force=True)
    assert (tmp_path / "here.json").read_text() != before


def scaled(factor):
    return measured(a=[factor * ms for ms in STEADY])


def test_many_steps_of_a_tenth_are_not_accepted_one_by_one(tmp_path):
    for factor in (1, 1.1):
        path, _ = accept_latency(scaled(factor), "here", folder=tmp_path)
    before = path.read_text()
    with pytest.raises(GateError, match=r"FAIL: latency against the anchor of here; a: .*× 1\.33"):
        accept_latency(scaled(1.33), "here", folder=tmp_path)
    assert path.read_text() == before


def test_a_forced_measurement_is_the_next_anchor_and_says_why(tmp_path):
    accept_latency(scaled(1), "here", folder=tmp_path)
    path, overruled = accept_latency(scaled(2), "here", folder=tmp_path, force=True)
    found = read_measurement(path)
    assert (found.forced, found.objections, found.anchor_ms) == (True, overruled, None)
    assert overruled[0].startswith("FAIL: latency against here")
    path, _ = accept_latency(scaled(2.1), "here", folder=tmp_path)
    found = read_measurement(path)
    assert (found.forced, found.anchor_ms) == (False, scaled(2).stages_ms)


@pytest.mark.parametrize("slower", [1, 2])
def test_a_wide_factor_needs_force(tmp_path, slower):
    accept_latency(scaled(1), "here", folder=tmp_path)
    with pytest.raises(GateError, match=r"is not accepted as here: the factor 1000 is above 1\.2"):
        accept_latency(scaled(slower), "here", folder=tmp_path, factor=1000)


def test_a_measurement_accepted_by_an_older_version_is_its_own_anchor(tmp_path):
    old = {"schema": 1, "name": "here", "fingerprint": MACHINE, "stages_ms": {"a": STEADY}}
    (tmp_path / "here.json").write_text(json.dumps(old))
    path, _ = accept_latency(scaled(1.1), "here", folder=tmp_path)
    assert read_measurement(path).anchor_ms == {"a": STEADY}


def test_two_accepted_of_one_machine_need_a_name(tmp_path):
    for name in ("one", "two"):
        accept_latency(measured(a=STEADY), name, folder=tmp_path)
    with pytest.raises(GateError, match=r"has one, two of this machine, expected one; choose with --against NAME"):
        find_accepted(measured(a=STEADY), None, tmp_path)
    assert find_accepted(measured(a=STEADY), "two", tmp_path).name == "two"


@pytest.mark.parametrize("content", ["{", "{}", '{"machine_info": {}, "benchmarks": []}', "[]"])
def test_what_is_no_measurement_is_one_sentence(tmp_path, content):
    path = tmp_path / "new.json"
    path.write_text(content)
    with pytest.raises(GateError, match=r"new\.json: is no latency measurement: .*, expected what .*; measure again\."):
        read_measurement(path)


def test_the_command_compares_and_writes_only_when_accepting(tmp_path, capsys):
    folder = ["--baselines", str(tmp_path / "b")]
    new = str(written(tmp_path / "new.json", encode=STEADY))
    slow = str(written(tmp_path / "slow.json", encode=[2 * ms for ms in STEADY]))
    assert main(["latency", "compare", slow, *folder]) == 10
    assert "nothing accepted" in capsys.readouterr().out
    assert main(["latency", "accept", new, "--as", "here", *folder]) == 0
    for _ in range(2):  # the rerun of a slow run is as red as the first
        assert main(["latency", "compare", slow, *folder]) == 1
    assert main(["latency", "compare", new, *folder]) == 0
    assert main(["latency", "accept", slow, "--as", "here", *folder]) == 2
    assert main(["latency", "compare", slow, "--factor", "0.5", *folder]) == 2
    assert main(["latency", "compare", "nowhere.json", *folder]) == 2
    assert capsys.readouterr().err.count("medsam-core latency: ") == 3
