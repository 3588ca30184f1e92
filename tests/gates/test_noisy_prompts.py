"""Noisy prompts in gates: never mixed with exact ones, bounded on their own and against exact prompts of their run."""

import math

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import GateError
from medsam_core.gates.acceptance import accept
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import read_baseline
from medsam_core.gates.comparison import compare
from medsam_core.gates.gated_cohort import GatedCohort
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.proposal import propose_gates
from medsam_core.gates.subgroups import volume_terciles
from medsam_core.gates.verdict import judge, judge_run
from medsam_core.gates.wording import group_name, group_order
from medsam_core.outcome import Outcome
from medsam_core.reports.tables import rows

EXACT, LEVELS = 0.9, {"jitter3": 0.8, "jitter10": 0.6, "expand5": 0.7}


@pytest.fixture
def noisy(make_record):
    """`noisy(subject, jitter3=[0.8, 0.7])`: the exact case at 0.9 and one case for each score, by seeds from 1."""

    def make(subject="S1", exact=EXACT, prompt="box", **levels):
        found = [make_record(subject, prompt=prompt, dice=exact)] if exact is not None else []
        for level, scores in levels.items():
            for seed, dice in enumerate(scores, start=1):
                record = make_record(subject, prompt=prompt, dice=dice)
                case = Case(subject, "t1ce", "WT", prompt, noise=f"{level}-seed{seed}")
                found.append(CaseRecord(case, record.scores, record.key_slices, labels="brats2019"))
        return found

    return make


@pytest.fixture
def gates(tmp_path):
    def load(*bodies):
        path = tmp_path / "gates.toml"
        path.write_text("version = 1\n" + "".join(f'[[gate]]\nmetric = "dice"\n{body}\n' for body in bodies))
        return load_gates(path)

    return load


def judged(records, gates):
    return judge([record.id for record in records], records, gates)


def values(verdict):
    return [(result.bound.name, result.group, result.value, result.n) for result in verdict.results]


def test_a_gate_without_a_noise_is_about_exact_prompts_alone(noisy, gates):
    records = [*noisy("S1", jitter3=[0.1]), *noisy("S2", jitter3=[0.1])]
    verdict = judged(records, gates("case_minimum = 0.85\nmean_minimum = 0.85"))
    assert verdict.outcome is Outcome.PASS
    assert values(verdict) == [("case_minimum", "", 0.9, 2), ("mean_minimum", "", 0.9, 2)]
    assert verdict.ungated == ("WT/box/jitter3",)
    assert verdict.lines()[0].endswith("2 cases under no gate: WT/box/jitter3")


def test_at_jitter_chooses_the_cases_of_that_amount_under_every_seed(noisy, gates):
    records = noisy(jitter3=[0.8, 0.7], jitter10=[0.1], expand3=[0.2])
    verdict = judged(records, gates("at_jitter = 3\nmean_minimum = 0.7", "at_expand = 3\nmean_minimum = 0.1"))
    assert verdict.outcome is Outcome.PASS
    assert values(verdict) == [("mean_minimum", "", pytest.approx(0.75), 2), ("mean_minimum", "", 0.2, 1)]
    assert judged(records, gates("at_jitter = [3, 10]\ncase_minimum = 0.7")).outcome is Outcome.FAIL


def test_a_broken_bound_names_its_noise(noisy, gates):
    verdict = judged(noisy(jitter3=[0.6]), gates("at_jitter = 3\ncase_minimum = 0.7"))
    assert verdict.lines()[1] == (
        "  FAIL gate 1 (Dice; jitter3) case_minimum: worst Dice 0.600 < 0.700 over 1 case, broken by "
        "S1/t1ce/WT/box/jitter3-seed1"
    )
    assert verdict.cases[1].texts == ("Dice 0.600 < 0.700 (WT, box, jitter3, key slice 95)",)


def test_the_drop_from_exact_prompts_is_paired_by_case(noisy, gates):
    records = [*noisy("S1", exact=0.9, jitter3=[0.8, 0.9]), *noisy("S2", exact=0.7, jitter3=[0.6, 0.6])]
    records += noisy("S3", exact=0.1)  # without noise: no pair, so it moves nothing
    # means by hand: noisy (0.8 + 0.9 + 0.6 + 0.6) / 4 = 0.725, exact (0.9 + 0.9 + 0.7 + 0.7) / 4 = 0.8
    held = judged(records, gates("at_jitter = 3\ndrop_from_exact_maximum = 0.075"))
    assert held.outcome is Outcome.PASS
    assert values(held) == [("drop_from_exact_maximum", "WT/box/jitter3", pytest.approx(0.075), 4)]
    broken = judged(records, gates("at_jitter = 3\ndrop_from_exact_maximum = 0.074"))
    assert broken.outcome is Outcome.FAIL
    assert broken.lines()[1] == (
        "  FAIL gate 1 (Dice; jitter3) drop_from_exact_maximum: WT/box/jitter3 drop of the mean Dice from exact "
        "prompts 0.075 > 0.074 over 4 cases"
    )


def test_one_group_does_not_hide_the_drop_of_another_unless_pooled(noisy, gates):
    records = [*noisy(jitter3=[0.9]), *noisy(prompt="point", jitter3=[0.8])]
    body = "at_jitter = 3\ndrop_from_exact_maximum = 0.06"
    assert judged(records, gates(body)).outcome is Outcome.FAIL
    pooled = judged(records, gates(f"{body}\npooled = true"))
    assert pooled.outcome is Outcome.PASS
    assert values(pooled) == [("drop_from_exact_maximum", "", pytest.approx(0.05), 2)]


@pytest.mark.parametrize("exact", [None, math.nan])
def test_a_drop_without_the_exact_score_is_no_pass(noisy, gates, exact):
    verdict = judged(noisy(exact=exact, jitter3=[0.9]), gates("at_jitter = 3\ndrop_from_exact_maximum = 0.05"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons[-1] == (
        "gate 1 (Dice; jitter3): drop_from_exact_maximum needs Dice of the exact prompt in the same run, and there is "
        "none for 1 case: S1/t1ce/WT/box/jitter3-seed1"
    )


def test_a_run_without_that_noise_is_no_pass(noisy, gates):
    verdict = judged(noisy(jitter5=[0.9]), gates("at_jitter = 3\ndrop_from_exact_maximum = 0.05"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("gate 1 (Dice; jitter3) evaluated nothing: it matches no case",)


def test_a_noisy_score_that_is_nan_fails(noisy, gates):
    verdict = judged(noisy(jitter3=[0.9, math.nan]), gates("at_jitter = 3\ndrop_from_exact_maximum = 0.05"))
    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "drop_from_exact_maximum = 0.05",
            "drop_from_exact_maximum: got it without a noise, expected one of at_jitter, at_side, at_expand, because",
        ),
        ("at_jitter = 0\nmean_minimum = 0.5", "at_jitter: got 0, expected a whole number from 1 on, or a list of them"),
        ("at_jitter = -3\nmean_minimum = 0.5", "at_jitter: got -3, expected a whole number from 1 on"),
        ("at_jitter = 2.5\nmean_minimum = 0.5", "at_jitter: got 2.5, expected a whole number from 1 on"),
        ("at_jitter = true\nmean_minimum = 0.5", "at_jitter: got True, expected a whole number from 1 on"),
        ("at_jitter = []\nmean_minimum = 0.5", "at_jitter: got [], expected a whole number from 1 on"),
        (
            "at_jitter = 3\nat_side = 10\nmean_minimum = 0.5",
            "got at_jitter and at_side, expected one, because a case has one noise; split the gate.",
        ),
        ("at_jiter = 3\nmean_minimum = 0.5", "unknown key 'at_jiter', expected one of"),
        (
            "at_jitter = 3\ndrop_from_exact_maximum = -0.1",
            "drop_from_exact_maximum: got -0.1, expected a number ≥ 0; remove the minus sign.",
        ),
        (
            "at_jitter = 3\ndrop_from_exact_maximum = 1",
            "drop_from_exact_maximum: got 1, expected a number below 1, because every dice holds this bound",
        ),
    ],
)
def test_a_bad_gate_is_refused_in_a_sentence(gates, body, sentence):
    with pytest.raises(GateError) as caught:
        gates(body)
    assert sentence in str(caught.value)


def test_a_metric_that_is_neither_better_nor_worse_has_no_drop(tmp_path):
    path = tmp_path / "gates.toml"
    path.write_text('version = 1\n[[gate]]\nmetric = "volume_ml"\nat_jitter = 3\ndrop_from_exact_maximum = 1\n')
    with pytest.raises(GateError, match="volume_ml neither gets better nor worse, so it has no bound on a change"):
        load_gates(path)


def test_noise_changes_neither_terciles_nor_the_counts_of_a_cohort(noisy, make_record, recall):
    records = [one for i, volume in enumerate((10.0, 20.0, 30.0)) for one in noisy(f"S{i}", jitter3=[0.8])]
    absent = [make_record("S9", slices=())]
    absent.append(CaseRecord(Case("S9", "t1ce", "WT", "box", noise="jitter3-seed1"), absent[0].scores, ()))
    assert set(volume_terciles(records).values()) == set(
        volume_terciles([one for one in records if not one.case.noise]).values()
    )
    run = recall([*records, *absent])
    assert GatedCohort(cases=4, absent_maximum=1).objections(run) == []
    assert GatedCohort(cases=5).objections(run) == ["4 cases planned, the gates are for 5"]
    assert len(GatedCohort(absent_maximum=0).objections(run)) == 1


def test_groups_are_by_level_exact_prompts_first():
    cases = [
        Case("S", "t1ce", "WT", "box", noise=noise)
        for noise in ("expand5-seed1", "jitter10-seed1", "jitter3-seed2", "jitter3-seed1", "")
    ]
    assert list(dict.fromkeys(map(group_name, sorted(cases, key=group_order)))) == [
        "WT/box",
        "WT/box/jitter3",
        "WT/box/jitter10",
        "WT/box/expand5",
    ]


def test_a_table_has_a_row_for_each_level(noisy):
    titles, *lines = rows(noisy(jitter3=[0.8, 0.6], jitter10=[0.5]), profile="brats2019")
    found = [dict(zip(titles, line, strict=True)) for line in lines]
    assert [(row["noise"], row["n"], row["mean Dice"]) for row in found] == [
        ("exact", "1", "0.900"),
        ("jitter3", "2", "0.700"),
        ("jitter10", "1", "0.500"),
    ]
    assert "noise" not in rows(noisy(), profile="brats2019")[0]


def test_proposed_gates_hold_for_the_run_that_they_were_made_from(noisy, recall, tmp_path):
    run = recall([*noisy("S1", jitter3=[0.8, 0.7], side10=[0.85]), *noisy("S2", exact=0.8, jitter3=[0.8, 0.5])])
    text = propose_gates(run)
    assert "cases = 2\nabsent_maximum = 0\n" in text
    # floors are rounded down, 0.7 − 0.02 is just below 0.68; 0.85 − (0.8 + 0.7 + 0.8 + 0.5) / 4 = 0.15, and 0.02 more
    assert "at_jitter = 3\ncase_minimum = 0.450\nmean_minimum = 0.679\ndrop_from_exact_maximum = 0.170\n" in text
    assert "at_side = 10\n" in text
    path = tmp_path / "gates.toml"
    path.write_text(text)
    gates = load_gates(path)
    verdict = judge_run(run, gates)
    assert verdict.outcome is Outcome.PASS
    assert verdict.ungated == ()
    worse = recall([*noisy("S1", jitter3=[0.8, 0.46], side10=[0.85]), *noisy("S2", exact=0.8, jitter3=[0.6, 0.5])])
    broken = [result.text for result in judge_run(worse, gates).results if result.outcome is Outcome.FAIL]
    assert any("drop_from_exact_maximum: WT/box/jitter3 drop" in text for text in broken)


def test_a_comparison_judges_each_level_and_counts_a_subject_once(noisy, recall):
    def made(name, drop):
        subjects = [noisy(f"S{i}", exact=0.9, jitter3=[0.8 - drop, 0.7 + drop, 0.75 - drop]) for i in range(6)]
        return recall([one for own in subjects for one in own], name=name)

    found = compare(Baseline.of(made("old", 0.0)), made("new", 0.015))
    by_group = {group.group: group for group in found.groups}
    assert list(by_group) == ["WT/box", "WT/box/jitter3"]
    jitter = by_group["WT/box/jitter3"]
    assert len(jitter.pairs) == 18
    assert jitter.change == pytest.approx(-0.005), "seeds of one subject are averaged"
    assert jitter.outcome is Outcome.PASS
    assert "over 6 subjects" in jitter.text


def test_one_case_that_fell_far_fails_a_comparison_although_other_seeds_rose(noisy, recall):
    old = recall([one for i in range(6) for one in noisy(f"S{i}", jitter3=[0.5, 0.5])], name="old")
    new = recall([one for i in range(6) for one in noisy(f"S{i}", jitter3=[0.25, 0.75])], name="new")
    found = compare(Baseline.of(old), new)
    assert found.outcome is Outcome.FAIL
    assert "6 cases fell by more than the limit 0.2" in found.groups[1].text


def test_a_reference_without_a_noise_is_compared_by_exact_prompts_and_the_rest_is_reported(noisy, recall):
    old = recall([one for i in range(3) for one in noisy(f"S{i}")], name="old")
    new = recall([one for i in range(3) for one in noisy(f"S{i}", jitter3=[0.1], expand5=[0.2])], name="new")
    found = compare(Baseline.of(old), new)
    assert found.outcome is Outcome.PASS
    assert [group.group for group in found.groups] == ["WT/box"]
    assert "not compared: 6 cases with expand5, jitter3, which old does not have" in found.notes


def test_noisy_cases_that_the_run_lacks_and_seeds_that_are_new_are_no_pass(noisy, recall):
    few = recall([one for i in range(3) for one in noisy(f"S{i}", jitter3=[0.8])], name="few")
    more = recall([one for i in range(3) for one in noisy(f"S{i}", jitter3=[0.8, 0.8])], name="more")
    assert compare(Baseline.of(more), few).reasons == ("3 cases missing against more, of S0, S1, S2",)
    assert compare(Baseline.of(few), more).reasons == ("3 cases new against few, of S0, S1, S2",)


def test_a_bound_against_a_baseline_without_that_noise_is_no_pass(noisy, recall, gates):
    old = recall(noisy(), name="old")
    new = recall(noisy(jitter3=[0.8]), name="new")
    verdict = judge_run(new, gates("at_jitter = 3\nmean_drop_maximum = 0.01"), baseline=Baseline.of(old))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("gate 1 (Dice; jitter3): old has no Dice for 1 case: S1/t1ce/WT/box/jitter3-seed1",)
    exact = judge_run(new, gates("mean_drop_maximum = 0.01"), baseline=Baseline.of(old))
    assert exact.outcome is Outcome.PASS


def test_a_run_with_noise_becomes_a_baseline_and_its_noisy_cases_are_held_to_it(noisy, make_run, gates, tmp_path):
    bounds = gates("case_minimum = 0.5", "at_jitter = 3\nmean_minimum = 0.5")

    def scored(name, dice):
        records = [one for i in range(6) for one in noisy(f"S{i}", jitter3=[dice, dice])]
        run = make_run(records, name=name)
        (run.directory / "verdict.json").write_text('{"outcome": "PASS", "reasons": []}')
        return run

    path, overruled = accept(scored("first", 0.8), "main", bounds, folder=tmp_path / "baselines")
    assert overruled == ()
    assert sum(case.endswith("jitter3-seed2") for case in read_baseline(path).cases) == 6
    with pytest.raises(GateError, match="WT/box/jitter3 Dice"):
        accept(scored("worse", 0.7), "main", bounds, folder=tmp_path / "baselines")
