"""Proposed floors: measured, rounded down, below what the run itself did, and never from half a run."""

from __future__ import annotations

import math

import pytest

from medsam_core.errors import GateError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.proposal import propose_gates
from medsam_core.gates.verdict import Outcome, judge, judge_run


def test_floors_are_below_the_worst_case_and_the_mean(make_record, make_run, tmp_path):
    run = make_run([make_record("S1", dice=0.9), make_record("S2", dice=0.8125)])
    text = propose_gates(run)
    assert "# WT/box Dice over 2 cases: worst 0.812 (S2/t1ce/WT/box), mean 0.856" in text
    (tmp_path / "gates.toml").write_text(text)
    gate = load_gates(tmp_path / "gates.toml").gates[0]
    assert (gate.metric, gate.scope) == ("dice", "volume")
    assert {name: values[0] for name, values in gate.filters.items()} == {
        "region": "WT",
        "prompt": "box",
        "protocol": "bidirectional",
        "modality": "t1ce",
    }
    # 0.8125 − 0.05 = 0.7625 and 0.85625 − 0.02 = 0.83625, both rounded down
    assert [(bound.name, bound.limit) for bound in gate.bounds] == [("case_minimum", 0.762), ("mean_minimum", 0.836)]


def test_the_run_passes_the_gates_proposed_from_it(make_record, make_run, tmp_path):
    run = make_run(
        [
            make_record(subject, region, prompt, dice=dice)
            for subject, dice in (("S1", 0.93), ("S2", 0.61), ("S3", 0.04))
            for region in ("WT", "TC")
            for prompt in ("box", "box+point")
        ]
    )
    (tmp_path / "gates.toml").write_text(propose_gates(run, margin=0, mean_margin=0))
    assert judge(run.plan, run.records, load_gates(tmp_path / "gates.toml")).outcome is Outcome.PASS
    (tmp_path / "gates.toml").write_text(propose_gates(run))
    read = load_gates(tmp_path / "gates.toml")
    assert judge(run.plan, run.records, read).outcome is Outcome.PASS
    assert len(read.gates) == 2 * 2 * 2 * 2  # region, prompt, metric, scope


def test_the_head_says_how_it_was_measured(make_record, make_run):
    head = propose_gates(make_run([make_record()]))
    for line in (
        "# Proposed by `medsam-core propose` from the run of 2026-01-02T03:04:05+00:00.",
        "# checkpoint: embedded (sha256 cccccccccccc)",
        "# cohort: phantoms, 1 subject, labels brats2019, fingerprint ffffffffffff",
        "# device: cpu, precision fp32; key slice largest, jitter 0.0 voxels",
        "# case_minimum = worst case - 0.05; mean_minimum = mean - 0.02; rounded down to 3 decimals",
        'profile = "brats2019"',
    ):
        assert line in head.splitlines()


def test_a_folder_is_named_without_the_way_to_it(make_record, make_run):
    cohort = {"root": "/somewhere/of/mine/brats", "subjects": ["S1"], "labels": [], "fingerprint": ""}
    assert "# cohort: brats, 1 subject" in propose_gates(make_run([make_record()], cohort=cohort))


def test_a_line_break_in_a_name_stays_in_its_comment(make_record, make_run, tmp_path):
    cohort = {"root": 'a\nversion = 7\n"', "subjects": ["S1"], "labels": [], "fingerprint": ""}
    (tmp_path / "gates.toml").write_text(propose_gates(make_run([make_record()], cohort=cohort)))
    assert len(load_gates(tmp_path / "gates.toml").gates) == 4


def test_absent_regions_do_not_count_and_get_no_gate(make_record, make_run):
    text = propose_gates(
        make_run(
            [
                make_record("S1", dice=0.9),
                make_record("S2", dice=1.0, slices=()),
                make_record("S1", "ET", dice=1.0, slices=()),
            ]
        )
    )
    assert "# WT/box Dice over 1 case, absent in 1 more: worst 0.900" in text
    assert "# ET/box: the region is absent in all 1 case: no gate" in text
    assert 'region = "ET"' not in text


def test_a_floor_that_holds_nothing_back_is_left_out(make_record, make_run, tmp_path):
    text = propose_gates(make_run([make_record("S1", dice=0.9), make_record("S2", dice=0.01)]))
    assert "# case_minimum: the worst case is too low for a floor" in text
    (tmp_path / "gates.toml").write_text(text)
    assert all(bound.statistic.name == "mean" for bound in load_gates(tmp_path / "gates.toml").gates[0].bounds)


def test_what_cannot_be_measured_is_refused(make_record, make_run):
    with pytest.raises(
        GateError,
        match=r"1 case planned but not scored: S2/t1ce/WT/box, expected a complete and plausible run to measure on; ",
    ):
        propose_gates(make_run([make_record()], plan=["S1/t1ce/WT/box", "S2/t1ce/WT/box"]))
    with pytest.raises(GateError, match=r"1 case without a score brats2019/dice@volume \(S1/t1ce/WT/box\)"):
        propose_gates(make_run([make_record(dice=math.nan)], name="nan"))
    with pytest.raises(GateError, match=r"no floor above 0 can be proposed"):
        propose_gates(make_run([make_record(dice=0.0)], name="zero"))
    run = make_run([make_record()], name="good")
    with pytest.raises(GateError, match=r"--margin: got nan, expected a number in \[0, 1\); correct it"):
        propose_gates(run, margin=math.nan)
    with pytest.raises(GateError, match=r"--mean-margin: got -1, expected a number"):
        propose_gates(run, mean_margin=-1)


def test_gates_against_a_baseline_pass_the_run_that_it_is_made_from(make_record, make_run, tmp_path, command):
    run, file = make_run([make_record("S1", dice=0.9), make_record("S2", dice=0.8)]), tmp_path / "gates.toml"
    assert command("propose", run.directory, "--baseline", "main", "-o", file) == 0
    read = load_gates(file)
    assert read.baseline == "main"
    assert read.gates[0].same == ("checkpoint", "device", "precision")
    assert [bound.name for gate in read.gates[:3] for bound in gate.bounds] == [
        "case_change_maximum",
        "mean_rise_maximum",
        "not_inferior",
        "mean_drop_maximum",
        "case_drop_maximum",
    ]
    assert judge_run(run, read, baseline=Baseline.of(run)).outcome is Outcome.PASS
    moved = make_run([make_record("S1", dice=0.93), make_record("S2", dice=0.8)], name="moved")
    assert judge_run(moved, read, baseline=Baseline.of(run)).outcome is Outcome.FAIL
    with pytest.raises(GateError, match="baseline name 'a/b'"):
        propose_gates(run, baseline="a/b")


@pytest.mark.parametrize(("rise", "outcome"), [(0.010, Outcome.PASS), (0.0101, Outcome.FAIL), (-0.0101, Outcome.FAIL)])
def test_another_checkpoint_may_move_a_groups_mean_by_as_much_upwards_as_downwards(
    make_record, make_run, tmp_path, rise, outcome
):
    old = make_run([make_record("S1", dice=0.9), make_record("S2", dice=0.8)], name="old")
    (tmp_path / "gates.toml").write_text(propose_gates(old, baseline="main"))
    after = [make_record("S1", dice=0.9 + rise), make_record("S2", dice=0.8 + rise)]
    weights = {"name": "other", "sha256": "d" * 64, "architecture": "embedded", "image_size": 320}
    new = make_run(after, name="new", checkpoint=weights)
    assert judge_run(new, load_gates(tmp_path / "gates.toml"), baseline=Baseline.of(old)).outcome is outcome


def test_the_proposed_file_names_its_cohort(make_record, make_run, tmp_path):
    absent = make_record("S2", "ET", dice=1.0, slices=())
    run = make_run([make_record("S1"), make_record("S2", dice=0.8), absent])
    text = propose_gates(run, baseline="main")
    (tmp_path / "gates.toml").write_text(text)
    read = load_gates(tmp_path / "gates.toml")
    assert (read.cohort.fingerprint, read.cohort.cases, read.cohort.absent_maximum) == ("f" * 64, 3, 1)
    assert read.baseline == "main"


def test_floors_are_below_the_lowest_of_all_repeats(make_record, make_run, tmp_path, command, capsys):
    first = make_run([make_record("S1", dice=0.9), make_record("S2", dice=0.8)])
    again = make_run([make_record("S1", dice=0.7), make_record("S2", dice=0.9)], name="again", precision="bf16")
    assert command("propose", first.directory, "--repeat", again.directory) == 0
    text = capsys.readouterr().out
    assert "# and from its repeat of 2026-01-02T03:04:05+00:00: cpu, a CPU, bf16" in text
    assert "# WT/box Dice over 2 cases: worst 0.700 (S1/t1ce/WT/box), mean 0.800" in text
    (tmp_path / "gates.toml").write_text(text)
    read = load_gates(tmp_path / "gates.toml")
    assert [bound.limit for bound in read.gates[0].bounds] == [0.649, 0.78]  # 0.7 − 0.05 is a hair below 0.65
    for one in (first, again):
        assert judge(one.plan, one.records, read).outcome is Outcome.PASS


def test_a_run_of_other_cases_is_no_repeat(make_record, make_run):
    first = make_run([make_record("S1"), make_record("S2")])
    with pytest.raises(GateError, match=r"is no repeat of .*1 case missing against run, of S2; leave it out"):
        propose_gates(first, repeats=[make_run([make_record("S1")], name="fewer")])
    moved = make_run([make_record("S1"), make_record("S2", slices=(3,))], name="moved")
    with pytest.raises(GateError, match=r"is no repeat of .*other prompts in 1 case"):
        propose_gates(first, repeats=[moved])


def test_the_command_writes_a_new_file_only(make_record, make_run, tmp_path, command, capsys):
    run, file = make_run([make_record()]), tmp_path / "gates.toml"
    assert command("propose", run.directory) == 0
    text = capsys.readouterr().out
    assert command("propose", run.directory, "-o", file) == 0
    assert file.read_text() == text
    with pytest.raises(GateError, match=r"exists already, expected a new file; choose another or add --force"):
        command("propose", run.directory, "-o", file)
    assert command("propose", run.directory, "--margin", 0.1, "-o", file, "--force") == 0
    assert "case_minimum = 0.800" in file.read_text()
    with pytest.raises(GateError, match=r"cannot be written"):
        command("propose", run.directory, "-o", file / "gates.toml")
