"""Bounds against a baseline, and on subgroups that only the cohort defines."""

from __future__ import annotations

import math

import pytest

from medsam_core.errors import GateError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import write_baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.subgroups import components, volume_terciles
from medsam_core.gates.verdict import judge, judge_run
from medsam_core.outcome import Outcome


@pytest.fixture
def gates(tmp_path):
    def load(body, metric="dice", head=""):
        path = tmp_path / "gates.toml"
        path.write_text(f'version = 1\n{head}\n[[gate]]\nmetric = "{metric}"\n{body}\n')
        return load_gates(path)

    return load


@pytest.fixture
def verdict(make_record, recall):
    """`verdict(before, after, gates)`: of WT/box with those Dice scores against the baseline "old"."""

    def make(before, after, read, **changes):
        old, new = ([make_record(f"S{i}", dice=one) for i, one in enumerate(side)] for side in (before, after))
        return judge_run(recall(new, name="new", **changes), read, baseline=Baseline.of(recall(old, name="old")))

    return make


@pytest.mark.parametrize(
    ("bound", "after", "outcome"),
    [
        ("mean_ratio_minimum = 0.99", [0.8, 0.6], Outcome.PASS),
        ("mean_ratio_minimum = 1.0", [0.8, 0.6], Outcome.PASS),
        ("mean_ratio_minimum = 0.99", [0.79, 0.60], Outcome.PASS),  # 0.695 / 0.7 = 0.9929
        ("mean_ratio_minimum = 0.99", [0.78, 0.60], Outcome.FAIL),  # 0.69 / 0.7 = 0.9857
        ("mean_ratio_minimum = 0.5\nmean_ratio_maximum = 1.01", [0.82, 0.60], Outcome.FAIL),
        ("mean_drop_maximum = 0.005", [0.79, 0.60], Outcome.PASS),
        ("mean_drop_maximum = 0.005", [0.789, 0.60], Outcome.FAIL),
        ("mean_drop_maximum = 0", [0.9, 0.6], Outcome.PASS),
        ("case_drop_maximum = 0.05", [0.75, 0.99], Outcome.PASS),
        ("case_drop_maximum = 0.05", [0.749, 0.99], Outcome.FAIL),
        ("case_change_maximum = 0.05", [0.75, 0.65], Outcome.PASS),
        ("case_change_maximum = 0.05", [0.749, 0.6], Outcome.FAIL),
        ("case_change_maximum = 0.05", [0.8, 0.651], Outcome.FAIL),  # better is a change too
    ],
)
def test_relative_bounds_by_hand(verdict, gates, bound, after, outcome):
    assert verdict([0.8, 0.6], after, gates(bound)).outcome is outcome


def test_a_change_for_the_better_is_named_as_a_change(verdict, gates):
    got = verdict([0.8, 0.6], [0.8, 0.7], gates("case_change_maximum = 0.05"))
    assert got.results[0].value == 0.1
    assert got.cases[1].texts == ("Dice 0.700 is not 0.600 in old: change 0.100 > 0.050 (WT, box, key slice 95)",)


def test_the_run_that_the_baseline_was_made_from_passes_every_relative_bound(verdict, gates):
    read = gates("mean_ratio_minimum = 1\nmean_ratio_maximum = 1\nmean_drop_maximum = 0\ncase_drop_maximum = 0")
    scores = [1 / 3, 2 / 7, 0.0, 0.123456789]
    assert verdict(scores, scores, read).outcome is Outcome.PASS
    assert verdict([0.0], [0.0], read).outcome is Outcome.PASS


def test_a_fallen_case_is_named_with_both_scores(verdict, gates):
    got = verdict([0.8, 0.6], [0.7, 0.6], gates("case_drop_maximum = 0.05\nmean_ratio_minimum = 0.99"))
    assert got.lines()[1:] == [
        "  FAIL gate 1 (Dice) mean_ratio_minimum: WT/box ratio of the mean Dice 0.929 < 0.990 over 2 cases against old",
        "  FAIL gate 1 (Dice) case_drop_maximum: largest drop of Dice 0.100 > 0.050 over 2 cases against old, "
        "broken by S0/t1ce/WT/box",
    ]
    assert got.cases[0].texts == ("Dice 0.700 is worse than 0.800 in old: drop 0.100 > 0.050 (WT, box, key slice 95)",)
    assert [case.outcome for case in got.cases] == [Outcome.FAIL, Outcome.PASS]


@pytest.fixture
def moved(make_record, recall):
    """`moved({"WT/box": −0.012, …}, gates, n=6)`: every case of such a group moved so against the baseline "old"."""

    def make(moves, read, *, n=6, **changes):
        groups = [group.split("/") for group in moves]
        old = [make_record(f"S{i}", *group, dice=0.5 + i / 20) for group in groups for i in range(n)]
        new = [
            make_record(f"S{i}", *group, dice=0.5 + i / 20 + by)
            for group, by in zip(groups, moves.values(), strict=True)
            for i in range(n)
        ]
        return judge_run(recall(new, name="new", **changes), read, baseline=Baseline.of(recall(old, name="old")))

    return make


def test_a_group_that_fell_is_not_hidden_by_others_that_rose(moved, gates):
    moves = {"WT/box": -0.015, "WT/point": 0.02, "TC/box": 0.02}
    got = moved(moves, gates("mean_drop_maximum = 0.01"))
    assert got.outcome is Outcome.FAIL
    assert got.lines() == [
        "FAIL: 18 of 18 cases scored, 2 of 3 bounds held; predictor engine",
        "  FAIL gate 1 (Dice) mean_drop_maximum: WT/box drop of the mean Dice 0.015 > 0.010 over 6 cases against old",
    ]
    assert [result.group for result in got.results] == ["WT/box", "WT/point", "TC/box"]
    assert got.results[0].to_json()["group"] == "WT/box"
    assert moved(moves, gates("pooled = true\nmean_drop_maximum = 0.01")).outcome is Outcome.PASS
    assert moved(moves, gates("mean_ratio_minimum = 0.99")).outcome is Outcome.FAIL
    assert moved(moves, gates("pooled = true\nmean_ratio_minimum = 0.99")).outcome is Outcome.PASS


def test_groups_are_of_modality_and_protocol_too(make_record, recall, gates):
    def some(by):
        parts = [{"modality": "t1"}, {"protocol": "forward"}, {}]
        return [
            make_record(f"S{i}", dice=0.6 + i / 50 + (by if part else -by), **part) for part in parts for i in range(6)
        ]

    old, new = Baseline.of(recall(some(0), name="old")), recall(some(0.012))
    got = judge_run(new, gates("mean_drop_maximum = 0.01"), baseline=old)
    assert [(result.group, result.outcome) for result in got.results] == [
        ("WT/box", Outcome.FAIL),
        ("WT/box/forward", Outcome.PASS),
        ("t1/WT/box", Outcome.PASS),
    ]


@pytest.mark.parametrize(
    ("moves", "outcome", "said"),
    [
        ({"WT/box": -0.009, "WT/point": 0.1}, Outcome.PASS, None),
        (
            {"WT/box": -0.010},
            Outcome.FAIL,
            "FAIL gate 1 (Dice) not_inferior: WT/box change of the mean Dice −0.010, margin 0.01, over 6 cases against "
            "old: a drop is shown, p 0 over all groups",
        ),
        ({"WT/box": -0.012, "WT/point": 0.1}, Outcome.FAIL, "WT/box change of the mean Dice −0.012, margin 0.01,"),
        ({"WT/box": -0.21}, Outcome.FAIL, "6 cases fell by more than the limit 0.2"),
    ],
)
def test_not_inferior_is_the_rule_of_compare_for_each_group(moved, gates, moves, outcome, said):
    got = moved(moves, gates("not_inferior = 0.010"))
    assert got.outcome is outcome
    assert said is None or said in "\n".join(got.lines())


def test_not_inferior_that_is_not_shown_is_inconclusive_and_says_which_group(verdict, gates):
    got = verdict([0.8] * 6, [0.80, 0.79, 0.785, 0.80, 0.81, 0.81], gates("not_inferior = 0.010"))
    assert got.outcome is Outcome.INCONCLUSIVE
    assert got.lines()[1].startswith(
        "  INCONCLUSIVE gate 1 (Dice) not_inferior: WT/box change of the mean Dice −0.001, margin 0.01, over 6 cases "
        "against old: "
    )
    assert got.results[0].outcome is Outcome.INCONCLUSIVE
    assert got.cases[2].outcome is Outcome.PASS  # none is to blame alone


def test_not_inferior_of_many_groups_asks_for_more_before_it_says_fail(make_record, recall, gates):
    """8 of 60 subjects fell by 0.06 and none rose: p 0.0039, enough for one group and not for one of six."""
    six = [(region, prompt) for region in ("WT", "TC", "ET") for prompt in ("box", "point")]

    def judged(groups):
        old, new = (
            recall(
                [
                    make_record(f"S{i:02d}", *group, dice=0.6 + i / 400 - by * (i < 8 and group == groups[0]))
                    for group in groups
                    for i in range(60)
                ],
                name=name,
            )
            for name, by in (("old", 0), ("new", 0.06))
        )
        return judge_run(new, gates("not_inferior = 0.010"), baseline=Baseline.of(old)).outcome

    assert judged(six[:1]) is Outcome.FAIL
    assert judged(six) is Outcome.INCONCLUSIVE


def test_an_incomplete_run_is_not_shown_to_be_as_good(make_record, recall, gates):
    old = [make_record(f"S{i}", dice=0.8 + i / 100) for i in range(3)]
    part = recall(old[:2], plan=[record.id for record in old])
    got = judge_run(part, gates("not_inferior = 0.010"), baseline=Baseline.of(recall(old, name="old")))
    assert (got.outcome, got.results[0].outcome) == (Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE)


def test_a_rise_that_is_more_often_leaking_truth_is_named(moved, gates):
    read = gates("mean_drop_maximum = 0.02")
    got = moved({"WT/box": 0.042, "WT/point": 0.029}, read)
    assert got.outcome is Outcome.PASS
    assert got.notes == (
        "suspicious: the mean Dice of WT/box rose by 0.042 against old, more than 0.03: truth that leaks into the "
        "prediction looks like this, too; look at its overlays",
    )
    assert f"  note: {got.notes[0]}" in got.lines()
    assert moved({"WT/box": 0.03}, read).notes == ()
    other = gates('region = "WT"\ncase_minimum = 0.1')  # also where no gate is relative
    assert any("suspicious" in note for note in moved({"WT/box": 0.042}, other).notes)


def test_a_rise_can_be_limited(moved, gates):
    read = gates("mean_drop_maximum = 0.02\nmean_rise_maximum = 0.03")
    got = moved({"WT/box": 0.042, "WT/point": 0.029}, read)
    assert got.outcome is Outcome.FAIL
    assert "mean_rise_maximum: WT/box rise of the mean Dice 0.042 > 0.030 over 6 cases against old" in got.lines()[1]
    assert moved({"WT/box": -0.01, "WT/point": 0.03}, read).outcome is Outcome.PASS


def test_where_less_is_better_a_rise_is_a_drop(make_record, recall, gates):
    def run(value, name):
        return recall([make_record(scores={"brats2019/overspill_ml@volume": value})], name=name)

    read = gates("case_drop_maximum = 1\nmean_ratio_maximum = 1.5", "overspill_ml")
    assert judge_run(run(3.0, "new"), read, baseline=Baseline.of(run(2.0, "old"))).outcome is Outcome.PASS
    assert judge_run(run(3.1, "new"), read, baseline=Baseline.of(run(2.0, "old"))).outcome is Outcome.FAIL
    assert judge_run(run(0.1, "new"), read, baseline=Baseline.of(run(2.0, "old"))).outcome is Outcome.PASS


def test_no_baseline_is_inconclusive(make_record, gates):
    record = make_record()
    got = judge([record.id], [record], gates("mean_ratio_minimum = 0.99"))
    assert got.outcome is Outcome.INCONCLUSIVE
    assert got.reasons == (
        "gate 1 (Dice) needs a baseline: give --baseline NAME (in pytest --medsam-baseline), or accept a run as one",
    )


def test_a_baseline_of_another_question_is_inconclusive(verdict, gates):
    read = gates("case_drop_maximum = 0.05")
    got = verdict([0.8], [0.1], read, settings={"profile": "monai"})
    assert got.outcome is Outcome.INCONCLUSIVE
    assert got.reasons[0].startswith("another profile: ")
    got = verdict([0.8, 0.8], [0.8], read)
    assert got.reasons[0] == "1 case missing against old, of S1"
    got = verdict([0.8], [0.8, 0.8], read)
    assert got.reasons[0] == "1 case new against old, of S1"
    assert got.outcome is Outcome.INCONCLUSIVE


def test_a_baseline_without_the_score_is_inconclusive(verdict, gates):
    got = verdict([0.8, math.nan], [0.8, 0.8], gates("mean_ratio_minimum = 0.9"))
    assert got.reasons == ("gate 1 (Dice): old has no Dice for 1 case: S1/t1ce/WT/box",)


def test_nan_is_fail_with_and_without_a_baseline(verdict, gates, make_record):
    read = gates("mean_ratio_minimum = 0.9\ncase_drop_maximum = 0.5")
    assert verdict([0.8, 0.8], [0.8, math.nan], read).outcome is Outcome.FAIL
    record = make_record(dice=math.nan)
    assert judge([record.id], [record], read).outcome is Outcome.FAIL


def test_a_fallen_case_of_a_partial_run_is_fail_and_a_mean_is_not(make_record, recall, gates):
    old = [make_record("S0", dice=0.8), make_record("S1", dice=0.8)]
    part = recall([make_record("S0", dice=0.1)], plan=[record.id for record in old])
    baseline = Baseline.of(recall(old, name="old"))
    assert judge_run(part, gates("case_drop_maximum = 0.05"), baseline=baseline).outcome is Outcome.FAIL
    assert judge_run(part, gates("mean_drop_maximum = 0.05"), baseline=baseline).outcome is Outcome.INCONCLUSIVE


def test_gates_name_their_baseline(make_record, recall, gates, tmp_path):
    run = recall([make_record()])
    read = gates("mean_ratio_minimum = 0.99", head='baseline = "main"')
    assert read.baseline == "main"
    assert "needs a baseline" in judge_run(run, read, folder=tmp_path).reasons[0]
    write_baseline(Baseline.of(run, "main"), tmp_path)
    assert judge_run(run, read, folder=tmp_path).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("body", "metric", "message"),
    [
        ("mean_ratio_minimum = -1", "dice", "mean_ratio_minimum: got -1, expected a number ≥ 0; remove the minus sign"),
        ("case_drop_maximum = 0.1", "volume_ml", "volume_ml neither gets better nor worse"),
        (
            "mean_ratio_minimum = 0.99",
            "absolute_volume_difference_ml",
            "gate 1: mean_ratio_minimum: got it alone for absolute_volume_difference_ml, where lower is better, so "
            "a run that got worse would pass; set mean_ratio_maximum instead or as well.",
        ),
        ("mean_ratio_minimum = 0.99\ncase_drop_maximum = 5", "hd95", "set mean_ratio_maximum instead"),
        (
            "mean_ratio_maximum = 1.05",
            "dice",
            "mean_ratio_maximum: got it alone for dice, where higher is better, so a run that got worse would "
            "pass; set mean_ratio_minimum instead",
        ),
        ("case_drop_minimum = 0.1", "dice", "did you mean 'case_drop_maximum'?"),
        ("mean_rise_maximum = 0.03", "dice", "mean_rise_maximum: got it alone, so a run that got worse would pass"),
        ("not_inferior = 1", "hd95", "not_inferior: got it for hd95, expected a metric from 0 to 1"),
        ("not_inferior = -0.01", "dice", "not_inferior: got -0.01, expected a number ≥ 0"),
        ("not_inferior = true", "dice", "not_inferior: got True, expected a finite number"),
        ("pooled = true\ncase_minimum = 0.5", "dice", "pooled: got True, expected true or false, and true only with"),
        ("pooled = true\nnot_inferior = 0.01", "dice", "without not_inferior, which counts each subject once"),
        ('pooled = "yes"\nmean_drop_maximum = 0.5', "dice", "pooled: got 'yes', expected true or false"),
        ('same = "weights"\ncase_drop_maximum = 0.1', "dice", "unknown same 'weights', expected one of checkpoint"),
        ('same = "device"\ncase_minimum = 0.1', "dice", "got it with a bound that needs no baseline"),
        ('volume_tercile = "tiny"\ncase_minimum = 0.1', "dice", "unknown volume_tercile 'tiny'"),
    ],
)
def test_mistakes_are_refused(gates, body, metric, message):
    with pytest.raises(GateError) as caught:
        gates(body, metric)
    assert message in str(caught.value)


@pytest.mark.parametrize(("metric", "side"), [("dice", "minimum"), ("hd95", "maximum"), ("nsd_1mm", "minimum")])
def test_a_ratio_is_bounded_where_the_metric_gets_worse_or_on_both_sides(gates, metric, side):
    assert len(gates(f"mean_ratio_{side} = 1", metric).gates[0].bounds) == 1
    assert len(gates("mean_ratio_minimum = 0.5\nmean_ratio_maximum = 2", metric).gates[0].bounds) == 2


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"checkpoint": {"name": "other", "sha256": "d" * 64}}, "checkpoint dddddddddddd, there cccccccccccc"),
        ({"predictor": {"name": "engine+fill-holes:9"}}, "predictor engine+fill-holes:9, there engine"),
        ({"device": "cuda:1"}, "device cuda, there cpu"),
        ({"precision": "bf16"}, "precision bf16, there fp32"),
    ],
)
def test_a_gate_for_the_same_weights_and_device_alone_leaves_others_to_the_rest(
    make_record, recall, gates, changes, differs
):
    before = Baseline.of(recall([make_record(dice=0.80)], name="old"))
    body = 'same = ["checkpoint", "device", "precision"]\ncase_change_maximum = 0.01'
    alone = gates(body)
    read = gates(f'{body}\n[[gate]]\nmetric = "dice"\ncase_drop_maximum = 0.1')
    same, other = recall([make_record(dice=0.82)]), recall([make_record(dice=0.82)], **changes)
    assert judge_run(same, read, baseline=before).outcome is Outcome.FAIL
    got = judge_run(other, read, baseline=before)
    assert got.outcome is Outcome.PASS
    assert got.notes == (f"gate 1 (Dice) is for the baseline's own checkpoint, device, precision: here {differs}",)
    assert [result.gate.number for result in got.results] == [2]
    got = judge_run(other, alone, baseline=before)
    assert got.outcome is Outcome.INCONCLUSIVE
    assert "no gate is about this run" in got.reasons
    assert judge_run(same, alone).outcome is Outcome.INCONCLUSIVE  # no baseline to be the same as


def test_another_model_of_gpu_is_another_device(make_record, recall, gates):
    def run(gpu, dice):
        return recall([make_record(dice=dice)], device="cuda", environment={"gpu": gpu, "torch": "2.13.0"})

    read = gates('same = "device"\ncase_change_maximum = 0.01\n[[gate]]\nmetric = "dice"\ncase_drop_maximum = 0.1')
    before = Baseline.of(run("NVIDIA H200", 0.8))
    assert judge_run(run("NVIDIA H200", 0.82), read, baseline=before).outcome is Outcome.FAIL
    got = judge_run(run("NVIDIA A100", 0.82), read, baseline=before)
    assert got.outcome is Outcome.PASS
    assert got.notes == (
        "gate 1 (Dice) is for the baseline's own device: here device cuda NVIDIA A100, there cuda NVIDIA H200",
    )


def test_the_number_of_a_device_does_not_make_it_another(make_record, recall, gates):
    before = Baseline.of(recall([make_record(dice=0.80)], name="old", device="cuda:0"))
    read = gates('same = "device"\ncase_change_maximum = 0.01')
    assert judge_run(recall([make_record(dice=0.82)], device="cuda"), read, baseline=before).outcome is Outcome.FAIL


@pytest.mark.parametrize("baseline", ["3", '""', '["a"]'])
def test_a_baseline_that_is_no_name_is_refused(gates, baseline):
    with pytest.raises(GateError, match="baseline: got"):
        gates("case_minimum = 0.5", head=f"baseline = {baseline}")


def sized(make_record, *volumes, region="WT", **more):
    key = "brats2019/truth_volume_ml@volume"
    return [make_record(f"S{i}", region, scores={key: volume}, **more) for i, volume in enumerate(volumes)]


def test_terciles_by_hand(make_record):
    records = sized(make_record, 50.0, 3.0, 20.0, 1.0, 2.0, 90.0)
    got = volume_terciles(records)
    assert [got[record.id] for record in records] == ["large", "middle", "middle", "small", "small", "large"]


def test_terciles_are_of_subjects_and_not_of_prompts(make_record):
    box = sized(make_record, 1.0, 2.0, 3.0)
    more = sized(make_record, 1.0, 2.0, 3.0, prompt="point")
    got = volume_terciles(box + more)
    assert [got[record.id] for record in box] == ["small", "middle", "large"]
    assert [got[record.id] for record in more] == ["small", "middle", "large"]


def test_equal_volumes_share_a_tercile_and_two_subjects_have_none(make_record):
    assert set(volume_terciles(sized(make_record, 5.0, 5.0, 5.0)).values()) == {"small"}
    assert volume_terciles(sized(make_record, 5.0, 6.0)) == {}
    assert volume_terciles(sized(make_record, 5.0, 6.0, 7.0, slices=())) == {}


def test_a_gate_on_a_tercile_holds_its_cases_alone(make_record, gates):
    records = [
        make_record(f"S{i}", dice=dice, scores={"brats2019/truth_volume_ml@volume": float(i)})
        for i, dice in enumerate((0.4, 0.8, 0.8))
    ]
    plan = [record.id for record in records]
    assert judge(plan, records, gates('volume_tercile = "large"\ncase_minimum = 0.7')).outcome is Outcome.PASS
    got = judge(plan, records, gates('volume_tercile = "small"\ncase_minimum = 0.7'))
    assert got.outcome is Outcome.FAIL
    assert got.cases[0].outcome is Outcome.FAIL
    read = gates('volume_tercile = "small"\ncase_minimum = 0.7')
    assert read.violations(records[0]) == ()  # a test on one case cannot know
    got = judge(plan, records[:2], read)
    assert got.outcome is Outcome.INCONCLUSIVE


def test_a_gate_on_components_needs_them_recorded(make_record, gates):
    one = make_record("S1", dice=0.9, scores={"brats2019/truth_components@volume": 1.0})
    two = make_record("S2", dice=0.5, scores={"brats2019/truth_components@volume": 2.0})
    without = make_record("S3")
    assert [components(record) for record in (one, two, without)] == ["one", "several", None]
    read = gates('components = "several"\ncase_minimum = 0.7')
    assert judge([one.id, two.id], [one, two], read).outcome is Outcome.FAIL
    assert judge([one.id], [one], read).outcome is Outcome.INCONCLUSIVE
    assert read.violations(two)
