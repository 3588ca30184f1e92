"""Rounds of corrections from a subject's files to its records. The model is a hand-made one."""

import math

import numpy as np
import pytest

from medsam_core.cases import CaseRecord
from medsam_core.errors import DataError, PredictorError, PromptError
from medsam_core.plausibility import implausible
from medsam_core.predictors.checked import Checked
from medsam_core.prompts.prompt import Prompt
from tests.evaluation.test_subject import BoxFiller, Prediction, evaluate

REACH = 2


class Rounds:
    def __init__(self, owner, masks):
        self.owner, self.masks = owner, masks
        self.predictions = [owner.predicted(mask) for mask in masks]

    def correct(self, corrections):
        self.owner.asked.append(list(corrections))
        for place, one in enumerate(corrections):
            if one is not None:
                mask = self.masks[place].copy()
                for (x, y), label in zip(one.points, one.point_labels, strict=True):
                    around = [slice(max(0, int(at) - REACH), int(at) + REACH + 1) for at in (one.key_slice, y, x)]
                    mask[tuple(around)] = bool(label)
                self.masks[place] = mask
                self.predictions[place] = self.owner.predicted(mask)
        return self.predictions


class Corrected(BoxFiller):
    """Fills the prompt's box on the key slice and the one above; a click fills or clears the 5 × 5 × 5 voxels there."""

    corrections = True

    def __init__(self):
        super().__init__()
        self.asked, self.protocols = [], []

    def predicted(self, mask):
        return Prediction(mask, np.where(mask.any((1, 2)), 0.5, np.nan))

    def refine(self, image, prompts, *, protocol):
        self.protocols.append((protocol, len(prompts)))
        return Rounds(self, [one.mask for one in self.predict(image, prompts, protocol)])


def refined(subject, predictor=None, rounds=3, **settings):
    return evaluate(subject, predictor or Corrected(), refine=rounds, **settings)


def test_the_scores_of_every_round_are_those_counted_by_hand(subject):
    predictor = Corrected()
    record = refined(subject, predictor, regions=("WT",))["Case_001/t1ce/WT/box"].record
    # the truth is 5 slices of 10 × 12 voxels from (5, 4, 6); the mask has its first two slices
    first = record.corrections[0]
    # slices 7 to 9 are missing: slice 8 is in the middle, (5, 7) its first voxel that is two steps from all sides
    assert first == {"key_slice": 8, "points": [[7.0, 5.0]], "point_labels": [1]}
    assert record.score("dice", "round0") == pytest.approx(2 * 240 / (240 + 600))
    # the click fills 5 × 5 voxels on slices 6 to 10, of which rows 4 to 7 and columns 6 to 9 are right up to slice 9
    inside, outside = 3 * 4 * 4, 4 * (25 - 16) + 25
    assert record.score("dice", "round1") == pytest.approx(2 * (240 + inside) / (240 + inside + outside + 600))
    assert record.rounds()[0] < record.rounds()[1]
    assert len(record.rounds()) == 4 == len(record.corrections) + 1


def test_the_last_round_is_the_masks_of_the_record(subject):
    found = refined(subject)
    for result in found.values():
        record = result.record
        for metric in ("dice", "iou"):
            assert record.score(metric, "round3") == record.score(metric)
        _, first, second, third = record.rounds()
        assert record.score("dice_auc") == pytest.approx((first + second) / 2 + (second + third) / 2)
        assert record.counts["volume"].prediction == result.prediction.sum()
    assert implausible([one.record for one in found.values()]) == []


def test_metrics_of_surfaces_are_computed_where_the_run_has_them(subject):
    record = refined(subject, metrics=("dice", "nsd_2mm", "hd95"))["Case_001/t1ce/WT/box"].record
    assert len(record.rounds("nsd_2mm")) == 4
    assert record.rounds("hd95") == ()
    assert not math.isnan(record.score("nsd_auc"))
    assert "brats2019/nsd_auc@volume" not in refined(subject)["Case_001/t1ce/WT/box"].record.scores


def test_all_cases_of_a_subject_are_corrected_together_and_encoded_once(subject):
    predictor = Corrected()
    refined(subject, predictor)
    assert predictor.protocols == [("bidirectional", 2)], "WT and TC; ET is absent"
    assert [len(asked) for asked in predictor.asked] == [2, 2, 2]
    assert predictor.encoded == 1


def test_an_absent_region_has_the_same_score_in_every_round_and_no_correction(subject):
    record = refined(subject)["Case_001/t1ce/ET/box"].record
    assert record.rounds() == (1.0, 1.0, 1.0, 1.0)
    assert record.corrections == (None, None, None)
    assert record.score("dice_auc") == 2
    assert record.score("noc85") == 0


def test_a_round_with_nothing_wrong_repeats_the_score(subject):
    class Right(Corrected):
        def refine(self, image, prompts, *, protocol):
            rounds = super().refine(image, prompts, protocol=protocol)
            truth = np.zeros(image.shape, bool)
            truth[5:10, 4:14, 6:18] = True
            rounds.predictions = [self.predicted(truth)]
            return rounds

    predictor = Right()
    record = refined(subject, predictor, regions=("WT",))["Case_001/t1ce/WT/box"].record
    assert record.rounds() == (1.0, 1.0, 1.0, 1.0)
    assert record.corrections == (None, None, None)
    assert predictor.asked == [], "the model is not asked again"


def test_forward_is_corrected_on_the_slices_that_it_reaches(subject):
    """The manifest's prompt is on the region's last slice but one."""
    case = "Case_001/t1ce/WT/box/forward"
    prompts = (Prompt("box", 8, (6.0, 4.0, 17.0, 13.0)),)
    chosen = {"regions": ("WT",), "protocols": ("forward",), "replay": {case: prompts}}
    record = refined(subject, rounds=1, **chosen)[case].record
    assert record.corrections == (None,), "slices 8 and 9 are right, and 5 to 7 are not reached"


def test_the_rule_of_the_worst_slice(subject):
    record = refined(subject, regions=("WT",), refine_rule="slice")["Case_001/t1ce/WT/box"].record
    assert record.corrections[0]["key_slice"] == 7


def test_a_record_keeps_its_corrections(subject):
    record = refined(subject)["Case_001/t1ce/WT/box"].record
    stored = record.to_json()
    assert stored["corrections"][0]["points"] == [[7.0, 5.0]]
    assert CaseRecord.from_json(stored) == record


def test_without_corrections_nothing_is_added(subject):
    stored = evaluate(subject, Corrected())["Case_001/t1ce/WT/box"].record.to_json()
    assert "corrections" not in stored
    assert not any("round" in key or "auc" in key or "noc" in key for key in stored["scores"])


def test_prompts_of_several_objects_are_refused(subject):
    case = "Case_001/t1ce/WT/box"
    prompts = (Prompt("box", 5, (6.0, 4.0, 9.0, 9.0)), Prompt("box", 6, (6.0, 4.0, 9.0, 9.0)))
    message = (
        "Case_001/t1ce/WT/box: got prompts of 2 objects with corrections, expected one object because a correction"
    )
    with pytest.raises(PromptError, match=message):
        refined(subject, regions=("WT",), replay={case: prompts})


def test_a_predictor_that_takes_no_corrections_is_refused(subject):
    message = "got corrections, expected none because this predictor does not take them; leave out --medsam-refine"

    class Named(BoxFiller):
        identity = type("Identity", (), {"name": "box-filler"})

    with pytest.raises(PredictorError, match=message):
        refined(subject, Named())


def test_masks_on_another_grid_are_refused(subject):
    class Small(Corrected):
        def predicted(self, mask):
            return super().predicted(mask[:, :5])

    with pytest.raises(DataError, match=r"prediction: got shape .* return masks on the image's grid"):
        refined(subject, Small())


def test_a_checked_predictor_checks_every_round(subject):
    class Forgetful(Corrected):
        identity = type("Identity", (), {"name": "forgetful"})

        def refine(self, image, prompts, *, protocol):
            rounds = super().refine(image, prompts, protocol=protocol)
            rounds.correct = lambda _: rounds.predictions[:1]
            return rounds

    with pytest.raises(PredictorError, match="got 1 prediction for 2 objects, expected one for each"):
        refined(subject, Checked(Forgetful()))
