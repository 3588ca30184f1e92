"""From a subject's files to records: scopes, absent regions, unions, replay. The model is a hand-made one."""

import dataclasses
import json
import math
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest

from medsam_core.cases import SCOPES, CaseRecord, score_key
from medsam_core.data.cohort import find_subjects, load
from medsam_core.data.grid import Grid, Volume
from medsam_core.errors import OptionError, PredictorError, PromptError
from medsam_core.evaluation.scoring import score_case
from medsam_core.evaluation.subject import data_hash, encode, prepare, read_cases, score_segmented, segment
from medsam_core.prompts.prompt import Prompt
from medsam_core.settings import Settings

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
BOX = Prompt("box", 7, (8.0, 6.0, 11.0, 9.0))


@dataclass
class Prediction:
    mask: np.ndarray
    predicted_iou: np.ndarray


class BoxFiller:
    """A predictor whose masks are known by hand: the prompt's box, filled, on the key slice and the one above."""

    def __init__(self):
        self.notes = []
        self.encoded = 0
        self.batches = []

    def encode(self, image):
        self.encoded += 1
        return image

    def predict(self, image, prompts, protocol):
        self.batches.append((protocol, len(prompts)))
        predictions = []
        for prompt in prompts:
            mask = np.zeros(image.shape, bool)
            x0, y0, x1, y1 = (int(edge) for edge in prompt.box)
            mask[prompt.key_slice : prompt.key_slice + 2, y0 : y1 + 1, x0 : x1 + 1] = True
            predictions.append(Prediction(mask, np.where(mask.any((1, 2)), 0.5, np.nan)))
        return predictions


def evaluate(subject, predictor, *, replay=None, **settings):
    """Results by case id, through the stages that the plugin's evaluator goes through, one modality at a time."""
    chosen = Settings(**{"prompts": ("box",), "labels": "brats2019", **settings})
    found = {}
    for modality in chosen.modalities:
        cases = [case for case in chosen.cases(subject.id) if case.modality == modality]
        segmented = segment(prepare(subject, modality, cases, predictor, chosen, replay=replay), predictor)
        found |= {result.record.id: result for result in score_segmented(segmented, chosen)}
    return found


def test_scores_by_scope_are_those_counted_by_hand(subject):
    record = evaluate(subject, BoxFiller())["Case_001/t1ce/WT/box"].record
    # the largest slice is the first of the equal ones, 5: prediction 2 slices × 120, truth 5 × 120
    assert record.key_slices == (5,)
    assert record.score("dice") == pytest.approx(2 * 240 / (240 + 600))
    assert record.score("dice", "region_slices") == pytest.approx(2 * 240 / (240 + 600))
    assert record.score("dice", "key_slice") == 1.0
    assert record.score("sensitivity") == pytest.approx(0.4)
    assert record.score("precision") == 1.0
    assert record.score("truth_volume_ml") == pytest.approx(0.6)
    assert record.labels == "brats2019"


def test_reading_needs_no_predictor_and_what_was_read_is_segmented_only_after_encoding(subject):
    settings = Settings(prompts=("box",), labels="brats2019")
    cases = settings.cases(subject.id)
    read, predictor = read_cases(subject, "t1ce", cases, settings), BoxFiller()
    whole = prepare(subject, "t1ce", cases, predictor, settings)
    assert read.prompts == whole.prompts
    assert (read.data, read.notes) == (whole.data, whole.notes)
    with pytest.raises(PredictorError, match="Case_001/t1ce/WT/box: the image was not encoded, expected"):
        segment(read, predictor)
    encoded = encode(read, predictor)
    assert encoded.encoded is read.loaded.image
    assert encoded.seconds > read.seconds


def test_a_record_knows_the_half_life_from_its_prompted_slice(subject):
    record = evaluate(subject, BoxFiller(), metrics=("half_life",))["Case_001/t1ce/WT/box"].record
    assert record.score("half_life") == 2  # slices 5 and 6 are found, 7 is the first that is lost
    assert math.isnan(record.score("half_life", "region_slices"))


def test_a_record_compares_the_models_own_estimate_with_the_real_iou(subject):
    truth = np.zeros((4, 4, 4), bool)
    truth[1:3] = True
    prediction = truth.copy()
    prediction[2, :2] = False
    estimates = np.array([np.nan, 0.75, 0.75, np.nan], np.float32)
    settings = Settings(metrics=("predicted_iou_bias", "predicted_iou_error"))
    asked = (Prompt("box", 1, (0, 0, 3, 3)),)
    scores = score_case(prediction, truth, (1, 1, 1), asked, settings, estimates)
    found = {scope: [scores[score_key("brats2019", m, scope)] for m in settings.metrics] for scope in SCOPES}
    assert found["volume"] == [0.0, 0.25]  # 0.75 - 1 and 0.75 - 0.5
    assert found["region_slices"] == [0.0, 0.25]
    assert found["key_slice"] == [-0.25, 0.25]
    record = evaluate(subject, BoxFiller(), metrics=settings.metrics)["Case_001/t1ce/WT/box"].record
    assert not math.isnan(record.score("predicted_iou_error"))


def test_region_slices_leave_out_what_is_beyond_the_region():
    truth = np.zeros((6, 4, 4), bool)
    truth[2] = True
    prediction = np.zeros_like(truth)
    prediction[2:5] = True
    scores = score_case(prediction, truth, (1, 1, 1), (Prompt("box", 2, (0, 0, 3, 3)),), Settings())
    assert scores[score_key("brats2019", "dice", "volume")] == 0.5
    assert scores[score_key("brats2019", "dice", "region_slices")] == 1.0


def test_a_subject_without_the_region_is_scored_by_the_convention_not_dropped(subject):
    record = evaluate(subject, BoxFiller())["Case_001/t1ce/ET/box"].record
    assert not record.prompted
    assert record.score("dice") == 1.0
    assert record.score("dice", "key_slice") == 1.0
    assert record.prompts == ()


def test_all_cases_of_a_modality_share_one_encoding_and_one_batch(subject):
    predictor = BoxFiller()
    found = evaluate(subject, predictor, prompts=("box", "box+point"), modalities=("t1ce", "flair"))
    assert len(found) == 12
    assert predictor.encoded == 2
    assert predictor.batches == [("bidirectional", 4)] * 2  # ET is absent


def test_a_case_of_several_components_is_the_union_of_their_masks(tmp_path):
    labels = np.zeros((10, 16, 16), np.uint8)
    labels[2:4, 0:6, 0:6] = 4
    labels[6:8, 8:15, 8:15] = 4
    image = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    folder = tmp_path / "Two"
    folder.mkdir()
    for name, array in (("t1ce", image), ("seg", labels)):
        nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), AFFINE), folder / f"Two_{name}.nii.gz")
    subject = find_subjects(tmp_path)[0]
    one = evaluate(subject, BoxFiller())["Two/t1ce/ET/box"].record
    both = evaluate(subject, BoxFiller(), per_component=True)["Two/t1ce/ET/box"].record
    assert one.score("truth_components") == 2.0
    assert one.key_slices == (6,)
    assert both.key_slices == (2, 6)
    assert both.score("dice") == 1.0
    assert one.score("dice") < 1.0


def test_the_truths_components_are_recorded_without_being_asked_for(subject):
    found = evaluate(subject, BoxFiller(), prompts=("box", "box+point"), metrics=("dice",), profile="brats2023")
    wanted = {"WT": 1.0, "TC": 1.0, "ET": 0.0}
    got = {name: result.record.score("truth_components", profile="brats2023") for name, result in found.items()}
    assert got == {f"Case_001/t1ce/{region}/{mode}": n for region, n in wanted.items() for mode in ("box", "box+point")}


def test_replayed_prompts_are_the_ones_asked(subject):
    prompt = Prompt("box", 8, (0.0, 0.0, 1.0, 1.0))
    replay = {f"Case_001/t1ce/{region}/box": (prompt,) for region in ("WT", "TC")} | {"Case_001/t1ce/ET/box": ()}
    result = evaluate(subject, BoxFiller(), replay=replay)["Case_001/t1ce/WT/box"]
    assert result.record.key_slices == (8,)
    assert result.prediction.sum() == 8


def test_a_replay_without_the_case_is_an_error(subject):
    with pytest.raises(PromptError, match="Case_001/t1ce/WT/box: not in the prompt manifest, expected every case"):
        evaluate(subject, BoxFiller(), replay={})


def test_a_replay_of_another_cohort_is_an_error(subject):
    replay = {f"Case_001/t1ce/{region}/box": (Prompt("box", 150, (0, 0, 1, 1)),) for region in ("WT", "TC", "ET")}
    with pytest.raises(
        PromptError,
        match="got a slice beyond the volume's 20, expected one of them; the manifest is of another cohort",
    ):
        evaluate(subject, BoxFiller(), replay=replay)


@pytest.mark.parametrize(
    ("region", "prompts", "message"),
    [
        (
            "TC",
            (),
            "got none, expected some, because the region is present; the manifest was recorded on other labels: use",
        ),
        (
            "ET",
            (BOX,),
            "got 1, expected none, because the region is absent; the manifest was recorded on other labels: use",
        ),
        ("ET", (BOX, BOX), "got 2, expected none"),
    ],
)
def test_a_replay_recorded_on_other_labels_hides_no_case_and_invents_none(subject, region, prompts, message):
    recorded = {"WT": (BOX,), "TC": (BOX,), "ET": ()}
    replay = {f"Case_001/t1ce/{name}/box": given for name, given in {**recorded, region: prompts}.items()}
    with pytest.raises(PromptError, match=f"Case_001/t1ce/{region}/box: prompts in the manifest: {message}"):
        evaluate(subject, BoxFiller(), replay=replay)


def test_a_replayed_prompt_of_another_mode_than_the_case_is_an_error(subject):
    for other in (Prompt("point", 7, points=((9.0, 7.0),)), Prompt("mask", 7, mask=np.ones((24, 28), bool))):
        replay = {"Case_001/t1ce/WT/box": (BOX, other), "Case_001/t1ce/TC/box": (BOX,), "Case_001/t1ce/ET/box": ()}
        message = f"Case_001/t1ce/WT/box: prompts in the manifest: got mode '{other.mode}', expected 'box' as in"
        with pytest.raises(PromptError, match=message):
            evaluate(subject, BoxFiller(), replay=replay)


@pytest.mark.parametrize("protocol", ["bidirectional", "forward", "slicewise"])
@pytest.mark.parametrize("per_component", [False, True])
def test_what_a_run_recorded_is_replayed_under_every_protocol(subject, protocol, per_component):
    asked = {"protocols": (protocol,), "per_component": per_component, "prompts": ("box", "box+point")}
    first = evaluate(subject, BoxFiller(), **asked)
    again = evaluate(subject, BoxFiller(), replay={name: one.prompts for name, one in first.items()}, **asked)
    assert again.keys() == first.keys()
    for name, one in first.items():
        assert again[name].record.scores == pytest.approx(one.record.scores, nan_ok=True)


def test_the_controls_are_scored_with_the_model(subject):
    record = evaluate(subject, BoxFiller())["Case_001/t1ce/WT/box"].record
    # the box is the truth's 120 voxels on each of 20 slices, of which the truth has 5
    box = record.controls["filled_box"]
    assert box["brats2019/dice@volume"] == pytest.approx(2 * 600 / (2400 + 600))
    assert box["brats2019/iou@volume"] == pytest.approx(600 / 2400)
    assert box["brats2019/dice@key_slice"] == 1.0
    assert set(record.controls) == {"filled_box", "otsu_in_box"}
    # the model's 0.571 beats it over the volume, and cannot on the key slice
    assert "filled_box" not in record.unbeaten_controls()
    assert "filled_box" in record.unbeaten_controls(scope="key_slice")


def test_an_absent_region_has_no_controls(subject):
    record = evaluate(subject, BoxFiller())["Case_001/t1ce/ET/box"].record
    assert record.controls == {}
    assert record.unbeaten_controls() == []


def test_a_score_that_is_not_a_number_beats_no_control(subject):
    record = evaluate(subject, BoxFiller())["Case_001/t1ce/WT/box"].record
    scores = {**record.scores, "brats2019/dice@volume": float("nan")}
    assert dataclasses.replace(record, scores=scores).unbeaten_controls() == ["filled_box", "otsu_in_box"]


def test_a_record_survives_json(subject):
    record = evaluate(subject, BoxFiller())["Case_001/t1ce/WT/box"].record
    assert CaseRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record


def test_asking_for_a_score_that_was_not_computed_names_those_that_were(subject):
    record = evaluate(subject, BoxFiller())["Case_001/t1ce/WT/box"].record
    with pytest.raises(OptionError, match="no score 'brats2019/hd95@volume', this run has brats2019/dice@volume"):
        record.score("hd95")


def test_the_data_hash_tells_other_voxels_labels_or_spacing(subject):
    loaded = load(subject, "t1ce", convention="brats2019")
    same = load(subject, "t1ce", convention="brats2019")
    assert data_hash(loaded.image, loaded.labels) == data_hash(same.image, same.labels)
    for change in ("image", "labels"):
        other = load(subject, "t1ce", convention="brats2019")
        getattr(other, change).voxels[3, 3, 3] += 1
        assert data_hash(other.image, other.labels) != data_hash(same.image, same.labels)
    thick = dataclasses.replace(loaded.image, affine=np.diag([-1.0, -1.0, 2.0, 1.0]))
    assert data_hash(thick, loaded.labels) != data_hash(same.image, same.labels)


class Several(BoxFiller):
    """Fills the boxes of an object on its prompted slices."""

    def predict(self, image, prompts, protocol):
        self.objects = [prompt.object_id for prompt in prompts]
        drawn = super().predict(image, prompts, protocol)
        found = []
        for own in prompts:
            same = [
                own is other or (own.object_id is not None and own.object_id == other.object_id) for other in prompts
            ]
            mask = np.any([one.mask for one, is_same in zip(drawn, same, strict=True) if is_same], axis=0)
            found.append(Prediction(mask, np.full(len(mask), 0.5)))
        return found


def test_several_slices_of_each_case_go_together_and_are_recorded(subject):
    predictor = Several()
    found = evaluate(subject, predictor, prompts=("box", "box+point"), key_slices=3, metrics=("predicted_iou_bias",))
    assert predictor.encoded == 1
    assert predictor.batches == [("bidirectional", 10)]  # WT on three slices, TC on the two that it has, ET is absent
    assert predictor.objects == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3], "an object of one case is not that of another"
    record = found["Case_001/t1ce/WT/box"].record
    assert record.key_slices == (5, 7, 9)
    assert [dict(prompt)["object_id"] for prompt in record.prompts] == [0, 0, 0]
    assert [prompt["key_slice"] for prompt in record.prompts] == [5, 7, 9]
    assert record.counts["key_slice"].tp == 3 * 120
    assert not math.isnan(record.score("predicted_iou_bias")), "one object has the model's own estimate"
    assert CaseRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_region_with_fewer_slices_has_all_of_them_prompted_and_a_note(subject):
    found = evaluate(subject, Several(), key_slices=4)
    note = "4 key slices were asked for, but TC has 2: all of them are prompted."
    assert found["Case_001/t1ce/TC/box"].record.key_slices == (6, 7)
    assert found["Case_001/t1ce/TC/box"].record.notes == (note,)
    assert found["Case_001/t1ce/WT/box"].record.notes == ()
    absent = found["Case_001/t1ce/ET/box"].record
    assert (absent.key_slices, absent.prompts, absent.notes) == ((), (), ())
    assert evaluate(subject, Several())["Case_001/t1ce/TC/box"].record.notes == ()


def test_a_manifest_may_hold_several_slices_of_an_object_without_the_option(subject):
    recorded = evaluate(subject, Several(), key_slices=3)
    replay = {name: result.prompts for name, result in recorded.items()}
    again = evaluate(subject, Several(), replay=replay)
    for name, result in recorded.items():
        first, second = result.record, again[name].record
        assert (first.scores, first.prompts, first.key_slices) == (second.scores, second.prompts, second.key_slices)


def test_the_hash_of_three_sequences_covers_each_in_its_order():
    grid = Grid((4, 3, 2), AFFINE, "LPS", None)
    one, two, three = (np.full((2, 3, 4), value, np.float32) for value in (1, 2, 3))
    labels = Volume(np.zeros((2, 3, 4), np.uint8), AFFINE, grid)
    images = ((), (one, two, three), (one, three, two), (one, two, two))
    assert len({data_hash(Volume(one, AFFINE, grid, channels), labels) for channels in images}) == len(images)


def test_the_diameter_of_a_recist_prompt_is_measured_in_the_images_mm(subject, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "medsam_core.evaluation.subject.simulate", lambda *_, **given: asked.append(given["spacing_mm"]) or ()
    )
    settings = Settings(labels="brats2019")
    prepare(subject, "t1ce", settings.cases(subject.id), BoxFiller(), settings)
    assert set(asked) == {load(subject, "t1ce", convention="brats2019").image.spacing_mm}
