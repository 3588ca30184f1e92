"""A gate can demand that the model beats what needs no model."""

from __future__ import annotations

import math

import pytest

from medsam_core.errors import GateError
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.verdict import judge
from medsam_core.outcome import Outcome

CONTROLS = {"filled_box": {"brats2019/dice@volume": 0.5}, "otsu_in_box": {"brats2019/dice@volume": 0.625}}


@pytest.fixture
def gates(tmp_path):
    def load(body='metric = "dice"\nbeats_controls = true'):
        path = tmp_path / "gates.toml"
        path.write_text(f"version = 1\n[[gate]]\n{body}\n")
        return load_gates(path)

    return load


def verdict_on(records, gates):
    return judge([record.id for record in records], records, gates)


def test_a_model_that_beats_both_controls_in_every_case_passes(gates, make_record):
    verdict = verdict_on([make_record(f"S{i}", dice=0.7, controls=CONTROLS) for i in range(3)], gates())
    assert verdict.outcome is Outcome.PASS
    assert verdict.results[0].value == pytest.approx(0.7 - 0.625)


@pytest.mark.parametrize("dice", [0.625, 0.55])
def test_a_case_that_only_equals_or_misses_the_better_control_is_fail_and_named(gates, make_record, dice):
    some = [make_record("S1", dice=0.7, controls=CONTROLS), make_record("S2", dice=dice, controls=CONTROLS)]
    verdict = verdict_on(some, gates())
    assert verdict.outcome is Outcome.FAIL
    assert verdict.results[0].failing == ("S2/t1ce/WT/box",)
    assert "smallest margin of Dice over the controls" in verdict.lines()[1]
    sign = "=" if dice == 0.625 else "<"
    assert verdict.cases[1].texts == (
        f"Dice {dice:.3f} {sign} 0.625 of the control otsu_in_box (WT, box, key slice 95)",
    )


def test_a_score_that_is_not_a_number_is_fail(gates, make_record):
    verdict = verdict_on([make_record(dice=math.nan, controls=CONTROLS)], gates())
    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize("unknown", ["filled_box", "otsu_in_box"])
def test_a_control_that_is_not_a_number_is_not_beaten(gates, make_record, unknown):
    """Whichever comes first: the one that is unknown may be the better one."""
    key = "brats2019/dice@volume"
    controls = {name: {key: 0.1} for name in ("filled_box", "otsu_in_box")} | {unknown: {key: math.nan}}
    verdict = verdict_on([make_record(dice=0.9, controls=controls)], gates())
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no control scored in 1 case: S1/t1ce/WT/box" in verdict.reasons[0]


def test_a_run_without_controls_is_inconclusive(gates, make_record):
    verdict = verdict_on([make_record("S1", controls=CONTROLS), make_record("S2")], gates())
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("gate 1 (Dice): no control scored in 1 case: S2/t1ce/WT/box",)


def test_false_demands_nothing(gates, make_record):
    some = [make_record(dice=0.1, controls=CONTROLS)]
    body = 'metric = "dice"\ncase_minimum = 0.001\nbeats_controls = '
    assert verdict_on(some, gates(body + "false")).outcome is Outcome.PASS
    assert verdict_on(some, gates(body + "true")).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('metric = "dice"\nbeats_controls = 1', "beats_controls: got 1, expected true or false; set it to one of them"),
        ('metric = "dice"\nbeats_control = true', "did you mean 'beats_controls'?"),
        (
            'metric = "sensitivity"\nbeats_controls = true',
            "beats_controls: got sensitivity@volume, expected dice or iou over volume or key_slice",
        ),
        (
            'metric = "dice"\nscope = "region_slices"\nbeats_controls = true',
            "beats_controls: got dice@region_slices, expected dice or iou",
        ),
        ('metric = "dice"\nbeats_controls = false', "has no bound, expected at least one of"),
    ],
)
def test_what_cannot_be_meant_is_refused(gates, body, sentence):
    with pytest.raises(GateError) as caught:
        gates(body)
    assert sentence in str(caught.value)
