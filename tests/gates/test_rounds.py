"""Gates, proposals and comparisons of runs with corrections."""

from __future__ import annotations

import dataclasses
import json

import pytest

from medsam_core.errors import GateError, OptionError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.comparison import Rule, compare
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.proposal import propose_gates
from medsam_core.gates.verdict import Outcome, judge, judge_run
from medsam_core.metrics.rounds import derived
from medsam_core.plausibility import implausible
from medsam_core.plugin.checking import check_rounds
from medsam_core.reports.tables import summary_lines
from medsam_core.settings import Settings

REFINED = Settings(refine=3)
CLICK = {"key_slice": 4, "points": [[7.0, 5.0]], "point_labels": [1]}


@pytest.fixture
def refined(make_record):
    """`refined("S1", 0.5, 0.6, 0.8, 0.9)`: a record with these Dice, of rounds 0, 1, …."""

    def make(subject, *rounds, **more):
        scores = {f"brats2019/dice@round{number}": value for number, value in enumerate(rounds)}
        scores |= {f"brats2019/{name}@volume": value for name, value in derived({"dice": rounds}).items()}
        return make_record(subject, dice=rounds[-1], scores=scores, corrections=(CLICK,) * (len(rounds) - 1), **more)

    return make


def gates(folder, *bodies):
    path = folder / "gates.toml"
    path.write_text("version = 1\n" + "".join(f"[[gate]]\n{body}\n" for body in bodies), encoding="utf-8")
    return load_gates(path)


def test_a_round_an_area_and_a_number_of_clicks_are_judged(refined, tmp_path):
    records = [refined("S1", 0.5, 0.6, 0.8, 0.9), refined("S2", 0.4, 0.7, 0.8, 0.8)]
    plan = [record.id for record in records]
    # areas: 0.7 + 0.85 and 0.75 + 0.8; corrections until 0.85: 3 and 3 (never)
    bodies = [
        'metric = "dice"\nscope = "round2"\ncase_minimum = 0.8',
        'metric = "dice_auc"\nmean_minimum = 1.55',
        'metric = "noc85"\nmean_maximum = 3',
    ]
    assert judge(plan, records, gates(tmp_path, *bodies)).outcome is Outcome.PASS
    worse = [refined("S1", 0.5, 0.6, 0.79, 0.9), records[1]]
    verdict = judge(plan, worse, gates(tmp_path, *bodies))
    assert verdict.outcome is Outcome.FAIL
    assert any("Dice@round2 0.790 < 0.800" in line for line in verdict.lines())
    assert any("Dice AUC" in line for line in verdict.lines())


def test_the_run_passes_the_gates_proposed_from_it(refined, make_run, tmp_path):
    run = make_run([refined("S1", 0.5, 0.6, 0.8, 0.9), refined("S2", 0.4, 0.7, 0.8, 0.8)], settings=REFINED)
    text = propose_gates(run)
    assert "3 corrections by the rule volume, jitter" in text
    (tmp_path / "gates.toml").write_text(text)
    proposed = load_gates(tmp_path / "gates.toml")
    found = {(one.metric, one.scope): [(b.name, b.limit) for b in one.bounds] for one in proposed.gates}
    assert found["dice", "round0"] == [("case_minimum", 0.35), ("mean_minimum", 0.43)]
    # twice the margins of 0.05 and 0.02: the area has two steps
    assert found["dice_auc", "volume"] == [("case_minimum", 1.45), ("mean_minimum", 1.51)]
    assert judge_run(run, proposed).outcome is Outcome.PASS


def test_without_corrections_nothing_else_is_proposed(make_record, make_run):
    text = propose_gates(make_run([make_record("S1"), make_record("S2")]))
    assert "correction" not in text
    assert "round" not in text.replace("rounded", "")


def test_a_round_and_an_area_are_compared(refined, recall):
    before = [refined(f"S{i}", 0.5, 0.6, 0.8, 0.9) for i in range(6)]
    after = [refined(f"S{i}", 0.5, 0.4, 0.8, 0.9) for i in range(6)]
    old, new = recall(before, name="old", settings=REFINED), recall(after, name="new", settings=REFINED)
    assert compare(Baseline.of(old), new).outcome is Outcome.PASS, "the last masks are equal"
    assert compare(Baseline.of(old), new, Rule(scope="round1")).outcome is Outcome.FAIL
    area = compare(Baseline.of(old), new, Rule(metric="dice_auc"))
    assert area.groups[0].change == pytest.approx(-0.1)
    assert area.outcome is Outcome.FAIL
    assert "Dice AUC −0.100" in area.lines()[1]


def test_more_clicks_are_worse(refined, recall):
    before = [refined(f"S{i}", 0.5, 0.86, 0.9, 0.9) for i in range(6)]
    after = [refined(f"S{i}", 0.5, 0.8, 0.84, 0.9) for i in range(6)]
    old, new = recall(before, name="old", settings=REFINED), recall(after, name="new", settings=REFINED)
    clicks = compare(Baseline.of(old), new, Rule(metric="noc85", margin=0.5, case_drop_maximum=1))
    assert clicks.groups[0].change == 2
    assert clicks.outcome is Outcome.FAIL


def test_runs_with_other_corrections_are_not_compared(refined, make_record, recall):
    run = recall([refined("S1", 0.5, 0.6, 0.8, 0.9)], name="new", settings=REFINED)
    without = Baseline.of(recall([make_record("S1")], name="old"))
    lines = compare(without, run).lines()
    assert "  INCONCLUSIVE other corrections: none in old, 3 by the rule volume now" in lines
    other = recall([refined("S1", 0.5, 0.6, 0.8, 0.9)], name="old", settings=Settings(refine=3, refine_rule="slice"))
    assert compare(Baseline.of(other), run).outcome is Outcome.INCONCLUSIVE


def test_a_baseline_keeps_rounds_and_areas(refined, recall):
    kept = Baseline.of(recall([refined("S1", 0.5, 0.6, 0.8, 0.9)], settings=REFINED))
    assert kept.score("S1/t1ce/WT/box", "brats2019/dice@round1") == 0.6
    assert kept.score("S1/t1ce/WT/box", "brats2019/dice_auc@volume") == pytest.approx(1.55)
    assert kept.identity.settings["refine"] == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('metric = "dice"\nscope = "round01"\ncase_minimum = 0.5', "unknown scope 'round01', expected one of volume"),
        (
            'metric = "dice_auc"\nscope = "round1"\ncase_minimum = 0.5',
            "got round1 for dice_auc, expected volume because",
        ),
        ('metric = "hd95"\nscope = "round1"\ncase_maximum = 5', "got round1 for hd95, expected one of dice, iou, nsd_"),
        (
            'metric = "noc85"\nmean_minimum = 2',
            "lower is better, so nothing is too bad to pass; set mean_maximum",
        ),
        ('metric = "dice_auc"\nnot_inferior = 0.1', "not_inferior: got it for dice_auc, expected a metric from 0 to 1"),
    ],
)
def test_a_gate_on_rounds_that_cannot_be_is_refused(body, message, tmp_path):
    with pytest.raises(GateError, match=message):
        gates(tmp_path, body)


@pytest.mark.parametrize(
    ("body", "refine", "needed"),
    [
        ('metric = "dice"\nscope = "round3"\ncase_minimum = 0.5', 2, 3),
        ('metric = "dice"\nscope = "round0"\ncase_minimum = 0.5', 0, 1),
        ('metric = "dice_auc"\ncase_minimum = 0.5', 1, 2),
        ('metric = "noc85"\ncase_maximum = 3', 0, 1),
    ],
)
def test_a_session_without_the_rounds_of_its_gates_is_refused(body, refine, needed, tmp_path):
    asked = gates(tmp_path, body).gates
    message = rf"gate 1 \(.*\): got {refine} rounds of corrections, expected at least {needed} for this score; give"
    with pytest.raises(OptionError, match=message):
        check_rounds(asked, Settings(refine=refine))
    check_rounds(asked, Settings(refine=needed))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"brats2019/dice@round3": 0.8}, "dice over volume is not what the rounds give in 1 case"),
        ({"brats2019/dice_auc@volume": 1.9}, "dice_auc over volume is not what the rounds give in 1 case"),
        ({"brats2019/noc85@volume": 1.0}, "noc85 over volume is not what the rounds give in 1 case"),
        ({"brats2019/dice@round4": 0.9}, "the rounds are not one more than the corrections in 1 case"),
        ({"brats2019/iou@round1": 0.6}, "Dice and IoU over round1 contradict each other in 1 case"),
    ],
)
def test_rounds_that_contradict_one_another_are_no_pass(refined, changed, sentence):
    record = refined("S1", 0.5, 0.6, 0.8, 0.9)
    assert implausible([record]) == []
    broken = dataclasses.replace(record, scores={**record.scores, **changed})
    assert any(one.startswith(sentence) for one in implausible([broken]))


def test_the_table_shows_the_first_round_and_the_area(refined):
    lines = summary_lines([refined("S1", 0.5, 0.6, 0.8, 0.9)], profile="brats2019")
    assert "round 0" in lines[0]
    assert "Dice AUC" in lines[0]
    assert " 0.500 " in lines[2]
    assert " 1.550 " in lines[2]


def test_a_stored_run_without_corrections_has_none_of_it(make_record, make_run):
    run = make_run([make_record("S1")])
    stored = json.loads((run.directory / "run.json").read_text())
    assert not {"refine", "refine_rule"} & set(stored["settings"])
    assert "corrections" not in json.loads((run.directory / "cases.jsonl").read_text())
    with_them = make_run([make_record("S1")], settings=REFINED, name="refined")
    assert json.loads((with_them.directory / "run.json").read_text())["settings"]["refine"] == 3
