"""Scores against the voxels that were counted: whatever the metrics' code does, both must agree."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.evaluation.scoring import count_case, score_case
from medsam_core.gates.verdict import judge_run
from medsam_core.metrics import PROFILES
from medsam_core.metrics.overlap import Counts
from medsam_core.outcome import Outcome
from medsam_core.plausibility import implausible
from medsam_core.prompts.simulation import simulate
from medsam_core.recount import recounted
from medsam_core.runs import read_run
from medsam_core.settings import Settings

METRICS = (
    *("dice", "iou", "sensitivity", "specificity", "precision", "volumetric_similarity", "volume_ml"),
    *("truth_volume_ml", "volume_difference_ml", "absolute_volume_difference_ml", "relative_volume_difference"),
    *("overspill_ml", "underspill_ml"),
)
SPACING = (5.0, 1.0, 0.5)
CASE = Case("S1", "t1ce", "WT", "box")


def masks(kind):
    """Two (6, 8, 8) masks."""
    prediction, truth = np.zeros((2, 6, 8, 8), bool)
    if kind != "no prediction" and kind != "both empty":
        prediction[2:5, 1:4, 1:6] = True
    if kind == "apart":
        truth[2:5, 6:, 6:] = True
    elif kind not in ("no truth", "both empty"):
        truth[1:4, 2:6, 2:7] = True
    return prediction, truth


def made(kind="overlap", profile="brats2019"):
    prediction, truth = masks(kind)
    prompts = simulate(truth, "box", key=CASE.id)
    settings = Settings(metrics=METRICS, profile=profile)
    return CaseRecord(
        CASE,
        score_case(prediction, truth, SPACING, prompts, settings, region="WT"),
        tuple(prompt.key_slice for prompt in prompts),
        counts=count_case(prediction, truth, prompts),
        spacing_mm=SPACING,
    )


def test_by_hand():
    found = recounted(Counts(6, 2, 4, 88), (2.0, 1.0, 1.0), "brats2019", "WT")
    assert found["dice"] == pytest.approx(12 / 18)
    assert found["iou"] == pytest.approx(0.5)
    assert found["volume_ml"] == pytest.approx(0.016)
    assert found["volume_difference_ml"] == pytest.approx(-0.004)
    assert found["specificity"] == pytest.approx(88 / 90)
    assert recounted(Counts(0, 0, 0, 9), (1.0, 1.0, 1.0), "mine", "WT") == {}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", ["overlap", "apart", "no prediction"])
def test_sound_scores_agree_under_every_profile(kind, profile):
    record = made(kind, profile)
    assert set(recounted(record.counts["volume"], SPACING, profile, "WT")) & {"volume_ml", "dice"}
    assert implausible([record]) == []


def test_an_absent_region_agrees():
    assert implausible([made("both empty")]) == []


@pytest.mark.parametrize("metric", METRICS)
def test_a_score_that_does_not_follow_from_the_counts_is_named(metric):
    record = made()
    key = f"brats2019/{metric}@volume"
    wrong = dataclasses.replace(record, scores={**record.scores, key: record.scores[key] * 1.001})
    assert f"{metric} over volume is not what the counted voxels give in 1 case: {CASE.id}" in implausible([wrong])
    lost = dataclasses.replace(record, scores={**record.scores, key: math.nan})
    assert any(metric in reason for reason in implausible([lost]))


def test_millimetres_given_as_millilitres_are_named():
    record = made()
    changed = {key: value * 1000 if "_ml@" in key else value for key, value in record.scores.items()}
    found = implausible([dataclasses.replace(record, scores=changed)])
    assert any(reason.startswith("volume_ml over volume is not") for reason in found)


def test_a_wrong_spacing_is_named():
    assert implausible([dataclasses.replace(made(), spacing_mm=(1.0, 1.0, 0.5))])


def test_a_mask_where_nothing_was_prompted_is_named():
    record = dataclasses.replace(made("no truth"), key_slices=())
    assert any("the mask is not empty although nothing was prompted" in one for one in implausible([record]))
    older = dataclasses.replace(record, counts={}, spacing_mm=None)
    assert any("the mask is not empty although nothing was prompted" in one for one in implausible([older]))
    lost = dataclasses.replace(made(), key_slices=())
    assert any("nothing was prompted although the truth has the region" in one for one in implausible([lost]))


def test_only_an_older_run_may_lack_the_counts(make_record, recall):
    records = [make_record()]
    assert recall(records).doubts == ()
    new = recall(records, schema=2)
    assert new.doubts == ("no counted voxels to compare the scores with in 1 case: S1/t1ce/WT/box",)
    verdict = judge_run(new, None)
    assert new.doubts[0] in verdict.reasons
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_stored_run_of_schema_1_is_read_and_believed():
    run = read_run(Path(__file__).parent / "stored" / "run-60d6631")
    assert run.header.schema == 1
    assert run.doubts == ()


def test_counts_and_spacing_are_read_back():
    record = made()
    assert CaseRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
