"""Scores that cannot be true together keep a run from being a PASS."""

from __future__ import annotations

import math

import pytest

from medsam_core.errors import GateError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import write_baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.verdict import judge
from medsam_core.outcome import Outcome
from medsam_core.plausibility import implausible


def scores(*, volume=30.0, truth=30.0, on_slices=30.0, **more):
    """Of masks of 30 ml each over the volume and over the region's slices."""
    found = {}
    for scope, whole in (("volume", truth), ("region_slices", on_slices)):
        found |= {f"brats2019/volume_ml@{scope}": volume, f"brats2019/truth_volume_ml@{scope}": whole}
    return {**found, **{f"brats2019/{key.replace('_at_', '@')}": value for key, value in more.items()}}


def test_what_fits_together_is_believed(make_record):
    assert implausible([make_record("S1", scores=scores()), make_record("S2", dice=0.3)]) == []
    assert implausible([]) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (scores(iou_at_volume=0.9), "Dice and IoU over volume contradict each other in 1 case: S1/t1ce/WT/box"),
        (scores(volume=0.0), "Dice over volume is more than the two volumes allow in 1 case: S1/t1ce/WT/box"),
        (scores(volume=10.0), "Dice over volume is more than the two volumes allow"),
        (scores(on_slices=29.0), "the truth over the volume is not that on the region's slices in 1 case"),
    ],
)
def test_a_contradiction_is_named(make_record, changed, sentence):
    assert implausible([make_record("S1", scores=changed)])[0].startswith(sentence)


def test_the_most_that_volumes_allow_is_allowed(make_record):
    # 20 ml inside 30 ml of truth: 2 · 20 / 50
    assert implausible([make_record(dice=0.8, scores=scores(volume=20.0))]) == []


def test_a_nan_or_an_absent_region_is_left_to_others(make_record):
    assert implausible([make_record(dice=math.nan), make_record("S2", slices=(), dice=1.0)]) == []


def test_perfect_scores_in_every_case_are_not_believed(make_record):
    perfect = [make_record(f"S{i}", dice=1.0) for i in range(3)]
    assert implausible(perfect) == ["Dice is exactly 1 in all 3 prompted cases: the truth was scored against itself"]
    assert implausible(perfect[:2]) == []
    assert implausible([*perfect, make_record("S3", dice=0.999)]) == []
    assert implausible([make_record(f"S{i}", dice=1.0, prompt="mask") for i in range(3)]) == []


def test_scores_copied_from_one_image_to_another_are_not_believed(make_record):
    some = [make_record("S1", data="a"), make_record("S2", data="b"), make_record("S3", data="c", dice=0.8)]
    assert implausible(some) == [
        "the same scores to the last digit in 2 cases of other images: S1/t1ce/WT/box, S2/t1ce/WT/box"
    ]
    # the same image under another region, or records that do not say what was read
    assert implausible([make_record("S1", data="a"), make_record("S1", "TC", data="a")]) == []
    assert implausible([make_record("S1"), make_record("S2")]) == []


def test_copies_of_one_subject_under_several_names_are_not_believed(make_record):
    some = [
        make_record(name, region, data=data, dice=dice, slices=() if name == "S4" else (95,))
        for name, data, dice in (("S1", "a", 0.9), ("S2", "b", 0.8), ("S3", "a", 0.7), ("S4", "a", 1.0))
        for region in ("WT", "TC")
    ]
    assert implausible(some) == ["the same image and labels under the names of 3 subjects: S1, S3, S4"]
    # every modality of a copy is a copy; other pairs stand by themselves
    two = (("t1ce", 0.9), ("flair", 0.8))
    both = [make_record(name, modality=m, data=m, dice=dice) for name in ("S1", "S2") for m, dice in two]
    assert implausible(both) == ["the same image and labels under the names of 2 subjects: S1, S2"]
    pairs = [make_record(f"S{i}", data=str(i % 2), dice=0.5 + i / 10) for i in range(4)]
    assert [reason.partition(": ")[2] for reason in implausible(pairs)] == ["S0, S2", "S1, S3"]


def test_subjects_are_not_copies_for_sharing_a_hash_across_modalities_or_having_none(make_record):
    assert implausible([make_record("S1", data="a"), make_record("S2", modality="flair", data="a", dice=0.8)]) == []
    assert implausible([make_record("S1", data="a"), make_record("S1", "TC", "point", data="a", dice=0.8)]) == []
    assert implausible([make_record("S1", data=""), make_record("S2", data="", dice=0.8)]) == []


def test_a_copied_subject_is_no_pass(make_record, tmp_path):
    path = tmp_path / "gates.toml"
    path.write_text('version = 1\n[[gate]]\nmetric = "dice"\nmean_minimum = 0.5\n')
    some = [make_record("S1", data="a"), make_record("S2", data="a"), make_record("S3", data="b", dice=0.6)]
    verdict = judge([one.id for one in some], some, load_gates(path))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("the same image and labels under the names of 2 subjects: S1, S2",)


def test_a_run_that_contradicts_itself_is_no_pass(make_record, tmp_path):
    path = tmp_path / "gates.toml"
    path.write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\n')
    some = [make_record("S1", scores=scores(volume=0.0))]
    verdict = judge([some[0].id], some, load_gates(path))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "more than the two volumes allow" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("dice@key_slice", 17.0, "dice@key_slice is outside 0 to 1 in 1 case: S1/t1ce/WT/box"),
        ("hd95@volume", -1.0, "hd95@volume is outside 0 to inf in 1 case"),
        ("precision@volume", 1.2, "precision@volume is outside 0 to 1"),
    ],
)
def test_a_score_outside_its_metrics_range_is_not_believed(make_record, key, value, sentence):
    record = make_record("S1", scores=scores(**{key.replace("@", "_at_"): value}))
    assert implausible([record])[0].startswith(sentence)
    assert implausible([make_record("S1", slices=(), scores={f"brats2019/{key}": value})])  # an absent region's, too


def test_what_cannot_be_believed_is_no_pass_and_no_baseline_anywhere(make_record, make_run, command, tmp_path, capsys):
    """judge, compare, propose, calibrate, accept and history read the same run."""
    gates = tmp_path / "gates.toml"
    gates.write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\n')
    good = make_run([make_record("S1"), make_record("S2", dice=0.8)], name="runs/good")
    records = [make_record("S1"), make_record("S2", dice=0.8, scores={"brats2019/dice@key_slice": 17.0})]
    bad = make_run(records, name="runs/bad")
    (bad.directory / "verdict.json").write_text('{"outcome": "PASS"}')
    assert command("judge", bad.directory, "--gates", gates) == 10
    for pair in ((good, bad), (bad, good)):
        assert command("compare", *(run.directory for run in pair)) == 10
        assert "dice@key_slice is outside 0 to 1" in capsys.readouterr().out
    for refused in (
        ("propose", bad.directory),
        ("calibrate", good.directory, bad.directory, "-o", tmp_path / "floor.json"),
        ("accept", bad.directory, "--as", "main", "--gates", gates, "--baselines", tmp_path / "b"),
    ):
        with pytest.raises(GateError, match="dice@key_slice is outside 0 to 1"):
            command(*refused)
    assert not (tmp_path / "b").exists()
    assert command("history", tmp_path / "runs") == 0
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "  bad " in line]
    assert "INCONCLUSIVE" in line
    assert "bad: not believed: dice@key_slice is outside 0 to 1" in " ".join(printed.split())


def test_a_baseline_file_that_cannot_be_believed_is_no_reference(make_record, make_run, command, tmp_path, capsys):
    run = make_run([make_record("S1"), make_record("S2", dice=0.8)])
    path = write_baseline(Baseline.of(run, "main"), tmp_path)
    assert command("compare", path, run.directory) == 0
    path.write_text(path.read_text().replace('"brats2019/dice@volume": 0.9', '"brats2019/dice@volume": 0.5'))
    assert command("compare", path, run.directory) == 10
    assert "main cannot be believed: Dice and IoU over volume contradict each other" in capsys.readouterr().out
