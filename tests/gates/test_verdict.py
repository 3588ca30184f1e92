"""The verdict: PASS needs everything, FAIL one broken bound, and the rest is INCONCLUSIVE with its reason."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsam_core.cases import Case, CaseRecord
from medsam_core.gates.bounds import BOUNDS, Bound, GatedCase, Reference, decide
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.verdict import NO_GATES, judge
from medsam_core.outcome import Outcome, worst


def record(subject, dice, region="WT", prompt="box", slices=(95,)):
    return CaseRecord(Case(subject, "t1ce", region, prompt), {"brats2019/dice@volume": dice}, slices)


def records(*scores, **more):
    return [record(f"S{i}", score, **more) for i, score in enumerate(scores)]


def ids(some):
    return [one.id for one in some]


@pytest.fixture
def gates(tmp_path):
    def load(*bodies):
        path = tmp_path / "gates.toml"
        path.write_text("version = 1\n" + "".join(f'[[gate]]\nmetric = "dice"\n{body}\n' for body in bodies))
        return load_gates(path)

    return load


def test_all_scored_and_all_held_is_pass(gates):
    some = records(0.9, 0.8, 0.85)
    verdict = judge(ids(some), some, gates("case_minimum = 0.8\nmean_minimum = 0.85"))
    assert verdict.outcome is Outcome.PASS
    assert verdict.outcome.exit_code == 0
    assert verdict.reasons == ()
    assert verdict.lines() == ["PASS: 3 of 3 cases scored, 2 of 2 bounds held"]
    assert [(r.value, r.n) for r in verdict.results] == [(0.8, 3), (0.85, 3)]
    assert verdict.counts == {
        "planned": 3,
        "scored": 3,
        "prompted": 3,
        "missing": 0,
        "gated": 3,
        "ungated": 0,
        "failing": 0,
        "bounds": 2,
        "broken": 0,
    }


def test_one_case_below_its_floor_is_fail_and_named(gates):
    some = records(0.9, 0.412, 0.85)
    verdict = judge(ids(some), some, gates("case_minimum = 0.7"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.outcome.exit_code == 1
    assert verdict.results[0].failing == ("S1/t1ce/WT/box",)
    assert verdict.lines() == [
        "FAIL: 3 of 3 cases scored, 0 of 1 bound held",
        "  FAIL gate 1 (Dice) case_minimum: worst Dice 0.412 < 0.700 over 3 cases, broken by S1/t1ce/WT/box",
    ]
    assert [(case.id, case.outcome, case.texts) for case in verdict.cases][1] == (
        "S1/t1ce/WT/box",
        Outcome.FAIL,
        ("Dice 0.412 < 0.700 (WT, box, key slice 95)",),
    )


def test_a_low_mean_is_fail_though_no_case_is(gates):
    some = records(0.7, 0.8)
    verdict = judge(ids(some), some, gates("case_minimum = 0.7\nmean_minimum = 0.8"))
    assert verdict.outcome is Outcome.FAIL
    assert [result.outcome for result in verdict.results] == [Outcome.PASS, Outcome.FAIL]
    assert {case.outcome for case in verdict.cases} == {Outcome.PASS}


def test_no_gates_is_inconclusive_and_says_how_to_get_some():
    some = records(0.9)
    verdict = judge(ids(some), some, None)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.outcome.exit_code == 10
    assert verdict.reasons == (NO_GATES,)
    assert NO_GATES.startswith("no gates for this cohort: give --gates FILE (in pytest --medsam-gates), or make one")


def test_a_planned_case_without_a_record_is_inconclusive(gates):
    some = records(0.9, 0.9)
    verdict = judge(ids(some), some[:1], gates("case_minimum = 0.7\nmean_minimum = 0.7"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("1 case planned but not scored: S1/t1ce/WT/box",)
    assert verdict.counts["missing"] == 1
    assert {result.outcome for result in verdict.results} == {Outcome.INCONCLUSIVE}
    assert verdict.cases[1].outcome is Outcome.INCONCLUSIVE


def test_reasons_name_a_few_cases_and_count_the_others(gates):
    some = records(*[0.9] * 9)
    verdict = judge(ids(some), some[:1], gates("case_minimum = 0.7"))
    assert verdict.reasons == (
        "8 cases planned but not scored: S1/t1ce/WT/box, S2/t1ce/WT/box, S3/t1ce/WT/box and 5 more",
    )


def test_a_broken_floor_is_fail_also_in_a_partial_run(gates):
    some = records(0.2, 0.9)
    verdict = judge(ids(some), some[:1], gates("case_minimum = 0.7"))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons
    assert verdict.results[0].text.endswith("of an incomplete run")


def test_a_mean_of_a_partial_run_is_neither_fail_nor_pass(gates):
    some = records(0.2, 0.9)
    for part in (some[:1], some[1:]):
        verdict = judge(ids(some), part, gates("mean_minimum = 0.7"))
        assert verdict.results[0].outcome is Outcome.INCONCLUSIVE
        assert verdict.outcome is Outcome.INCONCLUSIVE


def test_nothing_scored_and_nothing_planned_are_inconclusive(gates):
    read = gates("case_minimum = 0.7")
    assert judge(["S0/t1ce/WT/box"], [], read).outcome is Outcome.INCONCLUSIVE
    verdict = judge([], [], read)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons[0] == "no case was planned: give --medsam-root a folder with subjects"
    assert judge([], [], None).outcome is Outcome.INCONCLUSIVE


def test_unplanned_and_repeated_cases_are_inconclusive(gates):
    read, some = gates("case_minimum = 0.7"), records(0.9, 0.9)
    verdict = judge(ids(some[:1]), some, read)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("1 case scored but not planned: S1/t1ce/WT/box",)
    verdict = judge(ids(some), [*some, some[0]], read)
    assert verdict.reasons == ("1 case scored more than once: S0/t1ce/WT/box",)
    verdict = judge([*ids(some), some[0].id], some, read)
    assert verdict.reasons == ("1 case planned more than once: S0/t1ce/WT/box",)


def test_an_unplanned_record_breaks_no_bound(gates):
    some = records(0.9, 0.1)
    assert judge(ids(some[:1]), some, gates("case_minimum = 0.7")).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    "bound", ["case_minimum = 0.001", "case_maximum = 0.999\ncase_minimum = 0.001", "mean_minimum = 0.001"]
)
def test_nan_never_passes(gates, bound):
    some = records(0.9, math.nan)
    verdict = judge(ids(some), some, gates(bound))
    assert verdict.outcome is Outcome.FAIL
    assert "Dice is NaN in 1 case: S1/t1ce/WT/box" in verdict.lines()[1]
    assert verdict.cases[1].outcome is Outcome.FAIL
    json.dumps(verdict.to_json(), allow_nan=False)


def test_a_metric_that_the_run_did_not_compute_is_inconclusive(tmp_path):
    some = records(0.9, 0.9)
    (tmp_path / "iou.toml").write_text('version = 1\n[[gate]]\nmetric = "iou"\ncase_minimum = 0.5\n')
    verdict = judge(ids(some), some, load_gates(tmp_path / "iou.toml"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("gate 1 (IoU): no score IoU in 2 cases: S0/t1ce/WT/box, S1/t1ce/WT/box",)
    assert {case.outcome for case in verdict.cases} == {Outcome.INCONCLUSIVE}


def test_a_gate_that_matches_nothing_is_inconclusive(gates):
    some = records(0.9)
    verdict = judge(ids(some), some, gates("case_minimum = 0.7", 'region = "ET"\ncase_minimum = 0.7'))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("gate 2 (Dice; ET) evaluated nothing: it matches no case",)


def test_a_gate_on_an_absent_region_alone_evaluated_nothing(gates):
    some = [*records(0.9), *records(1.0, 1.0, region="ET", slices=())]
    verdict = judge(ids(some), some, gates('region = "WT"\ncase_minimum = 0.7', 'region = "ET"\nmean_minimum = 0.7'))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("gate 2 (Dice; ET) evaluated nothing: the region is absent in 2 matching cases",)
    assert verdict.results[1].value is None


def test_an_absent_region_does_not_lift_the_mean(gates):
    some = [*records(0.6), record("S9", 1.0, slices=())]
    verdict = judge(ids(some), some, gates("mean_minimum = 0.7"))
    assert verdict.outcome is Outcome.FAIL
    assert (verdict.results[0].value, verdict.results[0].n) == (0.6, 1)


def test_cases_under_no_gate_are_counted_in_the_first_line(gates):
    some = [*records(0.9), *records(0.1, region="ET"), *records(0.1, 0.2, region="TC", prompt="point")]
    verdict = judge(ids(some), some, gates('region = "WT"\ncase_minimum = 0.7'))
    assert verdict.outcome is Outcome.PASS
    assert verdict.lines() == ["PASS: 4 of 4 cases scored, 1 of 1 bound held, 3 cases under no gate: TC/point, ET/box"]
    assert (verdict.counts["ungated"], verdict.ungated) == (3, ("TC/point", "ET/box"))
    assert verdict.to_json()["ungated"] == ["TC/point", "ET/box"]


def test_an_absent_region_is_not_missed_by_a_gate(gates):
    some = [*records(0.9), *records(1.0, region="ET", slices=())]
    assert judge(ids(some), some, gates('region = "WT"\ncase_minimum = 0.7')).ungated == ()


def cases(scores, **references):
    return [GatedCase(record(f"S{i}", score), score, "dice", **references) for i, score in enumerate(scores)]


def test_statistics_by_hand():
    def value(name, scores):
        return decide(Bound(*BOUNDS[name], 0), cases(scores)).value

    scores = [0.1, 0.2, 0.6, 0.9]
    assert value("case_minimum", scores) == 0.1
    assert value("case_maximum", scores) == 0.9
    assert value("mean_minimum", scores) == pytest.approx(0.45)
    assert value("median_minimum", scores) == pytest.approx(0.4)
    assert value("worst_decile_minimum", scores) == 0.1
    eleven = [float(i) for i in range(11)]
    assert value("worst_decile_minimum", eleven) == 0.5  # two of eleven: 0 and 1
    assert value("worst_decile_maximum", eleven) == 9.5


@pytest.mark.parametrize("name", BOUNDS)
def test_no_bound_holds_for_nan_nor_without_the_reference_that_it_needs(name):
    bound = Bound(*BOUNDS[name], 1.0 if name.endswith("_maximum") else 0.0)
    references = {name: Reference(name, 0.5) for name in ("baseline", "control", "exact")}
    assert decide(bound, cases([0.6, 0.7], **references)).holds == (name != "mean_ratio_maximum")  # 0.65 / 0.5 > 1
    nan = decide(bound, cases([0.6, math.nan], **references))
    assert (nan.holds, [case.record.case.subject for case in nan.breaking]) == (False, ["S1"])
    bare = decide(bound, [*cases([0.6], **references), *cases([0.7, 0.8])])
    assert bare.holds == (bound.statistic.needs is None)


def test_equal_scores_on_the_floor_pass_by_their_mean(gates):
    some = records(*[0.9] * 30)
    assert judge(ids(some), some, gates("mean_minimum = 0.9\nmedian_minimum = 0.9")).outcome is Outcome.PASS


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_order_changes_nothing(tmp_path_factory, scores, shuffle: random.Random):
    path = tmp_path_factory.mktemp("gates") / "gates.toml"
    path.write_text(
        'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.3\nmean_minimum = 0.5\nworst_decile_minimum = 0.4\n'
    )
    read, some = load_gates(path), records(*scores)
    plan = ids(some)
    first = judge(plan, some, read).to_json()
    shuffle.shuffle(some)
    shuffle.shuffle(plan)
    assert judge(plan, some, read).to_json() == first


@given(
    st.lists(st.one_of(st.floats(0, 1), st.just(math.nan), st.none()), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_pass_only_if_everything_is_there_and_above(tmp_path_factory, scores, prompted):
    """An oracle in three lines: what may pass is complete, asked of the model at least once, and above the floor."""
    path = tmp_path_factory.mktemp("gates") / "gates.toml"
    path.write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\n')
    some = [
        record(f"S{i}", score, slices=(1,) if asked else ())
        for i, (score, asked) in enumerate(zip(scores, prompted, strict=False))
        if score is not None
    ]
    asked = [one.score("dice") for one in some if one.prompted]
    expected = None not in scores and bool(asked) and all(score >= 0.5 for score in asked)
    verdict = judge([f"S{i}/t1ce/WT/box" for i in range(len(scores))], some, load_gates(path))
    assert (verdict.outcome is Outcome.PASS) == expected
    assert (verdict.outcome is Outcome.FAIL) == any(not score >= 0.5 for score in asked)


def test_the_json_of_a_verdict_says_what_the_terminal_says(gates):
    some = records(0.9, 0.412)
    data = judge(ids(some), some, gates("case_minimum = 0.7")).to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["outcome"] == "FAIL"
    assert data["exit_code"] == 1
    assert data["results"][0]["failing"] == ["S1/t1ce/WT/box"]
    assert data["cases"] == {
        "S1/t1ce/WT/box": {"outcome": "FAIL", "texts": ["Dice 0.412 < 0.700 (WT, box, key slice 95)"]}
    }


def test_the_terminal_shows_a_dozen_broken_bounds_and_counts_the_rest(gates):
    some = records(0.1)
    lines = judge(ids(some), some, gates(*["case_minimum = 0.7"] * 20)).lines()
    assert len(lines) == 14
    assert lines[-1] == "  FAIL 8 bounds more, see verdict.json or judge --json"


def test_fail_outranks_inconclusive_outranks_pass():
    assert worst([Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]) is Outcome.FAIL
    assert worst([Outcome.PASS, Outcome.INCONCLUSIVE]) is Outcome.INCONCLUSIVE
    assert worst([]) is Outcome.PASS
    assert [outcome.exit_code for outcome in Outcome] == [0, 1, 10]
