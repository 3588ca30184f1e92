"""Paired comparison: what is PASS, what is FAIL, and why the rest is INCONCLUSIVE."""

from __future__ import annotations

import html
import json
import math
import random
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from medsam_core.errors import GateError, OptionError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.comparison import Rule, compare
from medsam_core.gates.verdict import Outcome
from medsam_core.reports.comparison import junit, markdown

OTHER = {"name": "other", "sha256": "d"}
OTHER_COHORT = {"root": "there", "subjects": [], "fingerprint": "e" * 64, "labels": ["brats2019"]}


@pytest.fixture
def against(recall):
    """`against(old, new)`: the baseline of one list of records, and a run of another."""

    def make(old, new, *, plan=None, **new_header):
        return Baseline.of(recall(old, name="old")), recall(new, plan=plan, name="new", **new_header)

    return make


@pytest.fixture
def two(make_record, against):
    """`two(before, after)`: a baseline and a run of WT/box with those Dice scores, by subject."""

    def make(before, after, **changes):
        sides = ([make_record(f"S{i:02d}", dice=float(dice)) for i, dice in enumerate(one)] for one in (before, after))
        return against(*sides, **changes)

    return make


def spread(n, sd=0.02, seed=0):
    """n numbers with mean 0 and standard deviation sd, to the last digit."""
    values = np.random.default_rng(seed).normal(size=n)
    return (values - values.mean()) / values.std(ddof=1) * sd


def test_identical_runs_pass(two):
    scores = [0.9, 0.81234567, 0.7, 0.6, 0.5, 0.4]
    comparison = compare(*two(scores, scores))
    assert comparison.outcome is Outcome.PASS
    assert comparison.lines() == [
        "PASS: new against old",
        "  WT/box Dice 0.000 [0.000, 0.000] over 6 subjects: PASS (margin 0.010; on these subjects: none fell by more)",
        "  note: the same checkpoint as in old",
    ]


@pytest.mark.parametrize("n", [1, 2, 4, 5, 40])
def test_identical_runs_pass_at_every_size(two, n):
    assert compare(*two([0.8] * n, [0.8] * n)).outcome is Outcome.PASS
    assert compare(*two(spread(n + 1) + 0.8, spread(n + 1) + 0.8)).outcome is Outcome.PASS


def test_the_order_of_the_records_changes_nothing(make_record, against):
    old = [make_record(f"S{i}", dice=0.5 + i / 50) for i in range(9)]
    new = [make_record(f"S{i}", dice=0.5 + i / 50 - 0.01 * (i % 3)) for i in range(9)]
    first = compare(*against(old, new)).to_json()
    random.Random(3).shuffle(old)
    random.Random(4).shuffle(new)
    assert compare(*against(old, new)).to_json() == first


def test_the_sentence_a_person_reads(two):
    before, noise = np.full(60, 0.8), spread(60)
    text = compare(*two(before, before - 0.004 + noise)).groups[0].text
    assert text == (
        "WT/box Dice −0.004 [−0.008, 0.000] over 60 subjects: PASS (margin 0.010; a drop as large as the margin is "
        "excluded at 5 %); 1 subject fell by more than 0.05: S12"
    )
    fallen = np.zeros(60)
    fallen[[3, 17]] = -0.06, -0.07
    text = compare(*two(before, before + fallen), Rule(margin=0.02)).groups[0].text
    assert text.endswith("excluded at 5 %); 2 subjects fell by more than 0.05: S17, S03")


def test_a_clear_drop_is_fail(two):
    before = np.full(40, 0.8)
    comparison = compare(*two(before, before - 0.03 + spread(40)))
    assert comparison.outcome is Outcome.FAIL
    assert re.search(r": FAIL \(margin 0\.010; a drop is shown, p [0-9.e-]+ over all groups\)", comparison.lines()[1])


def test_a_gain_is_pass(two):
    before = np.full(60, 0.6)
    assert compare(*two(before, before + 0.03 + spread(60))).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "gains",
    [
        (0.0005, 0.108, 0.02, 0.001, 0.03, 0.07),
        (0.0,) * 19 + (0.3,),
        (-0.009,) * 5 + (0.3,),
    ],
    ids=["every subject got better", "one rose by far", "the others fell by less than the margin"],
)
def test_a_gain_of_single_subjects_is_no_reason_to_doubt_the_others(two, gains):
    """A t test calls these uncertain, because the gain widens its interval downwards, too."""
    comparison = compare(*two(np.full(len(gains), 0.6), 0.6 + np.array(gains)))
    assert comparison.outcome is Outcome.PASS
    assert "(margin 0.010; on these subjects: none fell by more)" in comparison.groups[0].text


def test_many_subjects_of_whom_one_gains_by_far_pass_although_another_falls(two):
    moves = np.zeros(80)
    moves[:8], moves[-1] = 0.15, -0.02
    assert compare(*two(np.full(80, 0.6), 0.6 + moves)).outcome is Outcome.PASS


def test_a_drop_within_the_margin_is_pass_however_certain(two):
    before = np.full(40, 0.8)
    assert compare(*two(before, before - 0.005 + spread(40, 0.001))).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("n", "outcome", "why"),
    [
        (40, Outcome.INCONCLUSIVE, "1 fell by more; 40 subjects are too few to infer a mean from, 59 are enough"),
        (58, Outcome.INCONCLUSIVE, "1 fell by more; 58 subjects are too few to infer a mean from, 59 are enough"),
        (59, Outcome.PASS, "a drop as large as the margin is excluded at 5 %"),
    ],
)
def test_too_few_subjects_pass_only_if_none_of_them_fell_by_more_than_the_margin(two, n, outcome, why):
    moves = np.linspace(-0.002, 0.002, n)
    assert compare(*two(np.full(n, 0.8), 0.8 + moves)).outcome is Outcome.PASS
    moves[0] = -0.03
    group = compare(*two(np.full(n, 0.8), 0.8 + moves)).groups[0]
    assert (group.outcome, group.why) == (outcome, why)


def test_the_minimum_number_of_subjects_by_hand():
    assert 0.95**59 < 0.05 < 0.95**58  # a share of 0.01 / 0.20 falls by 0.20
    assert Rule().minimum_subjects == 59
    assert Rule(margin=0.02).minimum_subjects == 29  # 0.9²⁹ = 0.047
    assert Rule(case_drop_maximum=None).minimum_subjects == 299  # Dice can fall by 1
    assert Rule(margin=0.3).minimum_subjects == 5  # a drop of the margin is a FAIL by itself
    assert Rule(margin=0).minimum_subjects == math.inf
    assert Rule(metric="hd95", margin=1, case_drop_maximum=None).minimum_subjects == math.inf


def test_noise_that_hides_the_margin_is_inconclusive_and_says_what_would_settle_it(two):
    before = np.full(8, 0.6)
    comparison = compare(*two(before, before + spread(8, 0.05)))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert (
        "(margin 0.010; a drop as large as the margin is not excluded at 5 % with 8 subjects; "
        "about 160 would settle it)" in comparison.lines()[1]
    )
    assert comparison.outcome.exit_code == 10


def test_a_likely_drop_is_called_one_with_its_level(two):
    after = 0.8 - np.array([0.14, 0.005, 0.01, 0.0, 0.02, 0.08])
    group = compare(*two([0.8] * 6, after)).groups[0]
    assert group.outcome is Outcome.INCONCLUSIVE
    assert group.text.startswith("WT/box Dice −0.043 [−0.087, −0.015] over 6 subjects: INCONCLUSIVE (")
    assert "likely a drop, not certain at 0.5 % with 6 subjects; about 21 would settle it" in group.text


def test_a_drop_that_no_number_of_subjects_settles_says_so(two):
    group = compare(*two([0.6] * 10, 0.59 + spread(10, 0.04)), Rule(case_drop_maximum=None)).groups[0]
    assert group.outcome is Outcome.INCONCLUSIVE
    assert "would settle it" in group.why


@pytest.mark.parametrize(
    ("falls", "rises", "outcome"),
    [
        (15, 0, Outcome.FAIL),  # 2⁻¹⁵
        (8, 0, Outcome.FAIL),  # 2⁻⁸ = 0.0039
        (7, 0, Outcome.INCONCLUSIVE),  # 0.0078
        (5, 0, Outcome.INCONCLUSIVE),  # 0.031
        (4, 0, Outcome.PASS),  # 0.0625
        (12, 10, Outcome.PASS),  # 0.42
        (12, 3, Outcome.INCONCLUSIVE),  # 0.0176
    ],
)
def test_more_collapses_than_rises_are_no_pass_however_many_subjects_dilute_them(two, falls, rises, outcome):
    moves = np.zeros(369)
    moves[:falls], moves[falls : falls + rises] = -0.15, 0.15
    group = compare(*two(np.full(369, 0.7), 0.7 + moves)).groups[0]
    assert group.outcome is outcome
    if outcome is not Outcome.PASS:
        assert group.why.startswith(f"{falls} subjects fell by more than 0.05, {rises} the other way")


def test_collapses_are_corrected_over_groups(make_record, against):
    """8 : 0 is p 0.0039, which is enough in one group and not in one of six."""
    groups = [(region, prompt) for region in ("WT", "TC", "ET") for prompt in ("box", "point")]

    def some(fell, which):
        return [
            make_record(f"S{i:03d}", *group, dice=0.7 - 0.06 * (fell and i < 8 and group == groups[0]))
            for group in which
            for i in range(150)
        ]

    assert compare(*against(some(False, groups[:1]), some(True, groups[:1]))).outcome is Outcome.FAIL
    assert compare(*against(some(False, groups), some(True, groups))).outcome is Outcome.INCONCLUSIVE


def test_a_drop_that_the_margin_tolerates_is_no_collapse(two):
    assert compare(*two([0.8] * 8, [0.72] * 8), Rule(margin=0.1)).outcome is Outcome.PASS


def test_the_same_drop_everywhere_is_judged_by_the_margin_alone(two):
    """A drop of exactly the margin is not less than the margin."""
    for n in (3, 6, 80):
        before = np.full(n, 0.8)
        assert compare(*two(before, before - 0.009)).outcome is Outcome.PASS
        assert compare(*two(before, before - 0.010)).outcome is not Outcome.PASS
        assert compare(*two(before, before - 0.011)).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ([0.8, 0.795, 0.9, 0.791], Outcome.PASS),
        ([0.7, 0.75, 0.78, 0.799], Outcome.FAIL),
        ([0.7, 0.75, 0.78, 0.81], Outcome.INCONCLUSIVE),
    ],
)
def test_fewer_than_five_subjects_are_judged_as_these_very_cases(two, after, outcome):
    assert compare(*two([0.8] * 4, after)).outcome is outcome


def test_one_case_that_fell_too_far_is_fail_whatever_the_mean(two):
    before = np.full(40, 0.7)
    after = before + 0.05
    after[7] = 0.45
    comparison = compare(*two(before, after))
    assert comparison.outcome is Outcome.FAIL
    assert comparison.groups[0].text.endswith(
        ": FAIL (margin 0.010; 1 case fell by more than the limit 0.2); 1 subject fell by more than 0.05: S07"
    )
    assert compare(*two(before, after), Rule(listed_drop=0.5)).groups[0].dropped == ("S07/t1ce/WT/box",)
    rule = Rule(case_drop_maximum=None, margin=0.1)  # 29 subjects are enough
    assert compare(*two(before, after), rule).outcome is Outcome.PASS


def test_a_metric_where_less_is_better_is_turned_round(make_record, against):
    def some(extra):
        return [
            make_record(f"S{i}", scores={"brats2019/overspill_ml@volume": 5 + extra + 0.1 * (i % 2) * (extra > 0)})
            for i in range(8)
        ]

    rule = Rule(metric="overspill_ml", margin=0.5, listed_drop=1, case_drop_maximum=None)
    worse = compare(*against(some(0), some(2)), rule)
    assert worse.outcome is Outcome.FAIL
    assert worse.groups[0].change == pytest.approx(2.05)
    assert "8 subjects rose by more than 1:" in worse.groups[0].text
    assert compare(*against(some(2), some(0)), rule).outcome is Outcome.PASS


def test_holm_corrects_over_groups(make_record, against):
    """A drop with p near 0.005 is shown in one group alone, and not as the only one of six."""
    noise = spread(40)
    groups = [(region, prompt) for region in ("WT", "TC", "ET") for prompt in ("box", "point")]

    def some(drop, which):
        return [
            make_record(f"S{i:02d}", *group, dice=0.8 + float(noise[i]) * (drop > 0) - drop * (group == groups[0]))
            for group in which
            for i in range(40)
        ]

    alone = compare(*against(some(0, groups[:1]), some(0.0087, groups[:1])))
    assert alone.groups[0].p_worse == pytest.approx(0.005, abs=0.001)
    assert alone.outcome is Outcome.FAIL
    among = compare(*against(some(0, groups), some(0.0087, groups)))
    found = {group.group: group for group in among.groups}
    assert found["WT/box"].p_worse == pytest.approx(6 * alone.groups[0].p_worse)
    assert found["WT/box"].outcome is Outcome.INCONCLUSIVE
    assert [group.group for group in among.groups] == ["WT/box", "WT/point", "TC/box", "TC/point", "ET/box", "ET/point"]


def test_a_missing_and_a_new_subject_are_inconclusive(make_record, against):
    three = [make_record(f"S{i}") for i in range(3)]
    comparison = compare(*against(three, three[:2]))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reasons == ("1 case missing against old, of S2",)
    comparison = compare(*against(three[:2], three))
    assert comparison.reasons == ("1 case new against old, of S2",)
    assert {group.outcome for group in comparison.groups} == {Outcome.INCONCLUSIVE}


def test_a_planned_case_that_was_not_scored_is_inconclusive(make_record, against):
    three = [make_record(f"S{i}") for i in range(3)]
    comparison = compare(*against(three, three[:2], plan=[record.id for record in three]))
    assert comparison.reasons == ("1 case planned but not scored: S2/t1ce/WT/box",)
    assert comparison.outcome is Outcome.INCONCLUSIVE


def test_a_case_that_fell_too_far_is_fail_also_when_another_is_missing(make_record, against):
    old = [make_record(f"S{i}", dice=0.8) for i in range(3)]
    new = [make_record("S0", dice=0.3), make_record("S1", dice=0.8)]
    comparison = compare(*against(old, new, plan=[record.id for record in old]))
    assert comparison.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings": {"profile": "monai"}}, "another profile: brats2019 in old, monai now"),
        (
            {"cohort": {"labels": ["msd"], "fingerprint": "f" * 64, "subjects": [], "root": "x", "layouts": []}},
            "another label convention: brats2019 in old, msd now",
        ),
        (
            {"cohort": {"labels": ["brats2019"], "fingerprint": "e" * 64, "subjects": [], "root": "", "layouts": []}},
            "another cohort fingerprint: ffffffffffff in old, eeeeeeeeeeee now",
        ),
    ],
)
def test_another_question_is_inconclusive_even_if_every_score_fell(two, changes, reason):
    comparison = compare(*two([0.9] * 6, [0.1] * 6, **changes))
    assert comparison.reasons[0] == reason
    assert comparison.outcome is Outcome.INCONCLUSIVE


def test_other_prompts_are_inconclusive(make_record, against):
    old = [make_record(f"S{i}", prompts=({"mode": "box", "box": [1, 2, 3, 4]},)) for i in range(6)]
    same = [make_record(f"S{i}", prompts=({"box": [1, 2, 3, 4], "mode": "box"},)) for i in range(6)]
    moved = [make_record(f"S{i}", prompts=({"mode": "box", "box": [9, 2, 3, 4]},)) for i in range(6)]
    assert compare(*against(old, same)).outcome is Outcome.PASS
    comparison = compare(*against(old, moved))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reasons == (
        "other prompts in 6 cases: S0/t1ce/WT/box, S1/t1ce/WT/box, S2/t1ce/WT/box and 3 more; "
        "replay the reference's with --medsam-prompts-from",
    )


def test_other_data_under_the_same_name_is_inconclusive(make_record, against):
    old, new = (
        [make_record(f"S{i}", dice=0.9 + i / 100, data=f"{data}{i}") for i in range(6)] for data in ("aaaa", "bbbb")
    )
    comparison = compare(*against(old, [*old[:5], new[5]]))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reasons == ("other images or labels under the same name in 1 case: S5/t1ce/WT/box",)
    older = [make_record(f"S{i}", dice=0.9 + i / 100) for i in range(6)]  # a run from before the digest was recorded
    assert compare(*against(older, new)).outcome is Outcome.PASS
    assert compare(*against(new, older)).outcome is Outcome.PASS


def test_another_key_slice_and_a_region_that_vanished_are_other_prompts(make_record, against):
    old = [make_record(f"S{i}") for i in range(6)]
    assert (
        "other prompts in 1 case: S0" in compare(*against(old, [make_record("S0", slices=(94,)), *old[1:]])).reasons[0]
    )
    assert "other prompts in 1 case: S0" in compare(*against(old, [make_record("S0", slices=()), *old[1:]])).reasons[0]


def test_nan_now_is_fail_and_nan_before_is_inconclusive(two):
    comparison = compare(*two([0.8] * 6, [0.8] * 5 + [math.nan]))
    assert comparison.outcome is Outcome.FAIL
    assert "the score is not finite in 1 case: S05/t1ce/WT/box" in comparison.lines()[1]
    comparison = compare(*two([0.8] * 5 + [math.nan], [0.8] * 6))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reasons == ("old has no finite brats2019/dice@volume in 1 case: S05/t1ce/WT/box",)
    json.dumps(comparison.to_json(), allow_nan=False)


def test_a_metric_that_was_not_computed_is_inconclusive(two):
    comparison = compare(*two([0.8] * 6, [0.8] * 6), Rule(metric="sensitivity"))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reasons[0].startswith("this run has no brats2019/sensitivity@volume in 6 cases: S00/")


def test_a_group_that_was_never_prompted_is_noted_and_nothing_at_all_is_inconclusive(make_record, against):
    absent = [make_record("S1", "ET", dice=1.0, slices=())]
    comparison = compare(*against([make_record(), *absent], [make_record(), *absent]))
    assert comparison.outcome is Outcome.PASS
    assert "ET/box: no case was scored in both, nothing to compare" in comparison.notes
    comparison = compare(*against(absent, absent))
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reasons == ("no case was prompted in both runs",)


def test_what_differs_and_may_is_noted(two):
    comparison = compare(*two([0.8] * 6, [0.8] * 6, device="cuda", precision="bf16", checkpoint=OTHER))
    assert comparison.outcome is Outcome.PASS
    assert comparison.notes == ("another device: cpu in old, cuda now", "another precision: fp32 in old, bf16 now")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "dcie"}, "metric 'dcie': expected one that can get worse: dice, "),
        ({"metric": "volume_ml"}, "metric 'volume_ml': expected one that can get worse"),
        ({"margin": -0.1}, "margin: got -0.1, expected a finite number ≥ 0"),
        ({"margin": math.nan}, "margin: got nan"),
        ({"case_drop_maximum": math.inf}, "case_drop_maximum: got inf"),
        ({"alpha": 0}, "alpha: got 0, expected a number between 0 and 1; set one."),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(GateError, match=re.escape(message)):
        Rule(**changes)


def test_a_small_margin_gets_the_digits_to_show_it(two):
    text = compare(*two([0.8] * 6, [0.8004] * 6), Rule(margin=0.0005)).groups[0].text
    assert text.startswith("WT/box Dice +0.000400 [+0.000400, +0.000400] over 6 subjects: PASS (margin 0.000500; ")


def test_markdown_is_a_table_that_names_cannot_break(make_record, against):
    hostile = "a|b<img src=x> [c](http://d) @e #1 `f`"
    old, new = ([make_record(f"{hostile}{i}", dice=dice) for i in range(6)] for dice in (0.8, 0.74))
    reference, run = against(old, new)
    text = markdown(compare(Baseline(hostile, reference.identity, reference.cases), run))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert rows[2].startswith("| WT/box | 6 | 0.800 | 0.740 | −0.060 | [−0.060, −0.060] | **FAIL**: a drop is shown, ")
    read = html.unescape(text.replace("<!-- -->", ""))
    assert read.startswith(f"**FAIL**: new against {hostile}, Dice, margin 0.01\n")
    assert f"- WT/box: 6 fell by more than 0.05: {hostile}0/t1ce/WT/box, " in read
    free = re.sub(r"&#\d+;|<!-- -->", "", text)
    assert not re.search(r"[<`@]|\]\(|://", free), "no HTML, code, mention or link is left"


def test_junit_shows_inconclusive_as_an_error_and_fail_as_a_failure(two):
    suite = ElementTree.fromstring(junit(compare(*two([0.8] * 6, [0.7] * 6)))).find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert "fell by more than 0.05" in suite.find("testcase[@name='WT/box']/failure").get("message")
    suite = ElementTree.fromstring(junit(compare(*two([0.8] * 6, [0.8] * 6, cohort=OTHER_COHORT)))).find("testsuite")
    assert suite.find("testcase[@name='comparable']/error").get("message").startswith("another cohort fingerprint: ")
    assert suite.get("errors") == "2"


def test_the_command_compares_a_run_with_a_run(command, capsys, tmp_path, make_record, make_run):
    make_run([make_record(f"S{i}", dice=0.8) for i in range(6)], name="a")
    make_run([make_record(f"S{i}", dice=0.7) for i in range(6)], name="b")
    assert command("compare", tmp_path / "a", tmp_path / "a") == 0
    assert capsys.readouterr().out.startswith("PASS: a against a\n")
    assert command("compare", tmp_path / "a", tmp_path / "b", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "FAIL"
    assert command("compare", tmp_path / "a", tmp_path / "b", "--format", "markdown", "-o", tmp_path / "c.md") == 1
    assert capsys.readouterr().out == "FAIL: b against a\n"
    assert (tmp_path / "c.md").read_text().startswith("**FAIL**")
    limits = ("--margin", 0.2, "--case-drop-maximum", "none", "--format", "junit")
    assert command("compare", tmp_path / "a", tmp_path / "b", *limits) == 0
    with pytest.raises(OptionError, match="unknown scope 'slice'"):
        command("compare", tmp_path / "a", tmp_path / "b", "--scope", "slice")
