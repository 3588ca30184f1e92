"""Two sides timed in turn: the ratio, its interval over pairs, and what cannot be said."""

from __future__ import annotations

import math

import pytest

from medsam_core.latency.interleaved import FACTOR, MINIMUM_PAIRS, compare_rounds, order
from medsam_core.latency.measurement import Measurement
from medsam_core.outcome import Outcome

MACHINE = {"cpu": "a CPU", "threads": 2, "torch": "2.13.0", "checkpoint": "c" * 8, "cases": "t1ce/WT/box"}


def side(*rounds, machine=MACHINE, stage="encode"):
    return [Measurement("round", machine, {stage: tuple(one)}) for one in rounds]


def test_the_sides_take_turns_and_neither_is_always_first():
    assert order(5) == "ABBAABBAAB"
    assert order(1) == "AB"


def test_ratio_and_medians_are_those_of_all_rounds():
    there = side((10.0, 10.0, 10.0), (11.0, 11.0, 11.0), (12.0, 12.0, 12.0))
    here = side((5.0, 5.0, 5.0), (5.5, 5.5, 5.5), (6.0, 6.0, 6.0))
    comparison = compare_rounds("HEAD~1", there, here)
    (stage,) = comparison.stages
    assert (stage.before_ms, stage.now_ms, stage.ratio) == (11.0, 5.5, 0.5)
    assert stage.rounds == (9, 9)
    assert (stage.low, stage.high) == (0.5, 0.5)  # every pair says so, whatever the machine did meanwhile
    assert comparison.outcome is Outcome.PASS
    assert comparison.lines() == [
        "PASS: latency against HEAD~1",
        "  encode: 11.00 ms → 5.50 ms, × 0.500 [0.500, 0.500], 9 and 9 rounds: PASS (up to × 1.1)",
    ]


def test_a_machine_that_slows_down_meanwhile_does_not_show():
    pace = (1.0, 1.5, 2.0, 2.5, 3.0)
    there, here = (side(*([10 * p * side_] * 3 for p in pace)) for side_ in (1.0, 1.02))
    comparison = compare_rounds("x", there, here)
    assert comparison.outcome is Outcome.PASS
    assert comparison.stages[0].low == pytest.approx(1.02) == comparison.stages[0].high


def test_what_is_slower_in_every_pair_is_fail_and_what_may_be_is_inconclusive():
    there = side(*[(10.0, 10.1, 9.9)] * 5)
    slow = compare_rounds("x", there, side(*[(13.0, 12.9, 13.1)] * 5))
    assert slow.outcome is Outcome.FAIL
    assert slow.stages[0].low > FACTOR
    mixed = side(*[(9.0,) * 3, (13.0,) * 3, (9.0,) * 3, (13.0,) * 3, (9.0,) * 3])
    assert compare_rounds("x", there, mixed).outcome is Outcome.INCONCLUSIVE
    assert compare_rounds("x", there, side(*[(13.0, 12.9, 13.1)] * 5), factor=1.4).outcome is Outcome.PASS


def test_the_same_rounds_give_the_same_interval():
    there, here = side((10.0, 11.0), (10.5, 12.0), (9.0, 9.5)), side((10.2, 11.0), (12.5, 12.0), (9.1, 9.9))
    assert compare_rounds("x", there, here) == compare_rounds("x", there, here)


@pytest.mark.parametrize(("a", "b"), [(2, 2), (3, 2), (0, 0)])
def test_too_few_pairs_say_nothing(a, b):
    got = compare_rounds("x", side(*[(10.0,) * 3] * a), side(*[(10.0,) * 3] * b))
    assert got.outcome is Outcome.INCONCLUSIVE
    assert got.reasons == (f"{a} and {b} rounds, expected at least {MINIMUM_PAIRS} of each side",)


def test_sides_that_did_not_do_the_same_work_are_not_compared():
    rounds = [(10.0,) * 3] * 3
    got = compare_rounds("x", side(*rounds), side(*rounds, machine={**MACHINE, "cases": "t1ce/WT/point"}))
    assert got.outcome is Outcome.INCONCLUSIVE
    assert got.reasons == ("the sides did not do the same work: cases t1ce/WT/box or t1ce/WT/point",)
    other_weights = side(*rounds, machine={**MACHINE, "checkpoint": "d" * 8})
    assert compare_rounds("x", side(*rounds), other_weights).outcome is Outcome.PASS


def test_a_stage_of_one_side_alone_is_named_and_no_pass():
    rounds = [(10.0,) * 3] * 3
    got = compare_rounds("x", side(*rounds), side(*rounds, stage="decode"))
    assert got.outcome is Outcome.INCONCLUSIVE
    assert got.reasons == tuple(f"{one}: not timed in every round of both sides" for one in ("decode", "encode"))


def test_a_timing_that_is_no_number_is_no_pass():
    got = compare_rounds("x", side(*[(10.0,) * 3] * 3), side((math.nan,) * 3, (10.0,) * 3, (10.0,) * 3))
    assert got.outcome is Outcome.INCONCLUSIVE
