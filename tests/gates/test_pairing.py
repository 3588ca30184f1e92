"""One value says whether a run can be compared with a reference."""

from __future__ import annotations

import math

from medsam_core.gates.baseline import Baseline
from medsam_core.gates.pairing import comparability


def test_every_obstacle_is_in_its_own_field(make_record, recall):
    old = [make_record(f"S{i}", dice=dice) for i, dice in enumerate((0.8, 0.7, math.nan, 0.6))]
    new = [make_record("S0", dice=0.9), make_record("S1", slices=(3,)), make_record("S2"), make_record("S4")]
    run = recall(new, name="new", plan=[one.id for one in (*old[:3], *new)], precision="bf16", device="cuda:1")
    got = comparability(Baseline.of(recall(old, name="old")), run, "dice")
    assert got.incomparable == (
        "other prompts in 1 case: S1/t1ce/WT/box; replay the reference's with --medsam-prompts-from",
    )
    assert got.unfit == ("3 cases planned more than once: S0/t1ce/WT/box, S1/t1ce/WT/box, S2/t1ce/WT/box",)
    assert got.unmatched == ("1 case missing against old, of S3", "1 case new against old, of S4")
    assert [reason.rsplit(": ")[-1] for reason in got.unscored] == ["S2/t1ce/WT/box"]
    assert got.different == {"device": ("cpu", "cuda"), "precision": ("fp32", "bf16")}
    assert got.differing(("checkpoint", "device")) == ["device cuda, there cpu"]
    assert [(pair.case, pair.benefit) for pair in got.groups["WT/box"]] == [
        ("S0/t1ce/WT/box", 0.1),
        ("S1/t1ce/WT/box", 0.2),
    ]


def test_another_predictor_on_the_same_weights_is_named(make_record, recall):
    before = Baseline.of(recall([make_record()], name="old"))
    got = comparability(before, recall([make_record()], predictor={"name": "sam2", "version": "1.1.0"}), "dice")
    assert got.notes == ("another predictor: engine in old, sam2 now", "the same checkpoint as in old")
    assert got.differing(("checkpoint",)) == ["predictor sam2, there engine"]
    assert got.differing(("device",)) == []


def test_the_same_weights_at_another_image_size_are_not_the_same_model(make_record, recall):
    before = Baseline.of(recall([make_record()], name="old"))
    other = {"name": "embedded", "sha256": "c" * 64, "architecture": "embedded", "image_size": 512}
    got = comparability(before, recall([make_record()], checkpoint=other), "dice")
    assert got.differing(("checkpoint",)) == ["image size 512, there 320"]


def test_a_run_is_comparable_with_itself(make_record, recall):
    run = recall([make_record("S0"), make_record("S1")])
    got = comparability(Baseline.of(run), run, "dice")
    assert (got.incomparable, got.incomplete, got.unlike, dict(got.different)) == ((), (), (), {})
    assert got.notes == ("the same checkpoint as in run",)


def test_without_a_metric_nothing_is_paired_and_no_score_is_missed(make_record, recall):
    run = recall([make_record(dice=math.nan)])
    got = comparability(Baseline.of(run), run)
    assert (got.groups, got.unscored) == ({}, ())
