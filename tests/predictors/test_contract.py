"""Each wrong answer of a predictor is one sentence that names it."""

import dataclasses

import numpy as np
import pytest

from medsam_core.errors import DataError, PredictorError, PromptError
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.contract import PackedPrediction, PlainPrediction, Predictor, PredictorIdentity
from medsam_core.predictors.postprocessing import PostProcessed
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import PROTOCOLS, Prompt
from tests.predictors.toys import BOX, POINT, SHAPE, BoxFiller, volume


class Answering(BoxFiller):
    """Answers a box prompt as it is given, whatever the volume."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def predict(self, *_, protocol):
        assert protocol in PROTOCOLS
        return self.answer


def ask(predictor, prompts=(BOX,), protocol="bidirectional"):
    checked = Checked(predictor)
    return checked.predict(checked.encode(volume()), prompts, protocol=protocol)


def mask(dtype=bool, shape=SHAPE):
    return np.zeros(shape, dtype)


def nan_mask():
    found = mask(np.float32)
    found[1, :2, 3] = np.nan
    return found


class WithoutMask:
    predicted_iou = np.zeros(5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_right_answer_passes_unchanged(protocol):
    boxed, pointed = ask(BoxFiller(), [BOX, POINT], protocol)
    assert boxed.mask.sum() == 16 * {"bidirectional": 5, "forward": 3, "slicewise": 1}[protocol]
    assert pointed.mask[1, 8, 2]


def test_a_packed_mask_is_unpacked_once():
    class Counted(PackedPrediction):
        calls = 0

        @property
        def mask(self):
            Counted.calls += 1
            return super().mask

    (found,) = ask(Answering([Counted.of(mask())]))
    assert Counted.calls == 1
    assert found.packed.dtype == np.uint8


def test_no_prompts_give_no_predictions():
    assert ask(BoxFiller(), []) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], "got 0 predictions for 1 prompt, expected one for each"),
        ([PlainPrediction(mask())] * 2, "got 2 predictions for 1 prompt"),
        (None, "got a NoneType as the answer, expected a list of predictions"),
        ([WithoutMask()], r"prediction 0 of 1: got a WithoutMask without \.mask, expected both"),
        ([PlainPrediction([[[True]]])], "got a mask of type list, expected a NumPy array"),
        ([PlainPrediction(mask(shape=(5, 9, 12)))], r"got a mask of shape \(5, 9, 12\), expected \(5, 12, 9\)"),
        ([PlainPrediction(mask(np.uint8))], "got a mask of uint8, expected bool; threshold it"),
        ([PlainPrediction(mask(np.float32))], "got a mask of float32, expected bool"),
        ([PlainPrediction(nan_mask())], "got a mask of float32 with 2 NaN, expected bool"),
        ([PlainPrediction(mask(), [0.5] * 5)], "got a predicted_iou of type list, expected a NumPy array"),
        ([PlainPrediction(mask(), np.zeros(4))], r"got a predicted_iou of shape \(4,\), expected \(5,\)"),
        ([PlainPrediction(mask(), np.zeros(5, int))], "got a predicted_iou of int64, expected floats"),
        ([PlainPrediction(mask(), np.array([0, 1, np.nan, 1.5, 2]))], "got a predicted_iou of 1.5, expected 0 to 1"),
        ([PlainPrediction(mask(), np.full(5, -0.1))], "got a predicted_iou of -0.1"),
        ([PlainPrediction(mask(), np.full(5, np.inf))], "got a predicted_iou of inf"),
    ],
)
def test_a_wrong_answer_is_one_sentence(answer, said):
    with pytest.raises(PredictorError, match=said) as caught:
        ask(Answering(answer))
    text = str(caught.value)
    assert text.startswith("predictor box-filler: ")
    assert "\n" not in text
    assert text.endswith(".")


@pytest.mark.parametrize(
    ("protocol", "wrong", "said"),
    [
        ("forward", 0, "got a mask on slice 0 for a prompt on slice 2, expected one on 2 to 4 alone"),
        ("forward", 1, "got a mask on slice 1"),
        ("slicewise", 1, "got a mask on slice 1 for a prompt on slice 2, expected one on 2 alone"),
        ("slicewise", 4, "got a mask on slice 4"),
    ],
)
def test_a_mask_outside_of_the_protocols_slices_is_refused(protocol, wrong, said):
    found = mask()
    found[wrong, 3, 3] = True
    with pytest.raises(PredictorError, match=said):
        ask(Answering([PlainPrediction(found)]), protocol=protocol)
    ask(Answering([PlainPrediction(found)]))


def test_the_slices_of_each_protocol():
    assert [list(BOX.slices_seen(4, protocol)) for protocol in PROTOCOLS] == [[0, 1, 2, 3], [2, 3], [2]]


@pytest.mark.parametrize("step", ["encode", "predict"])
def test_an_exception_is_named_and_chained(step, monkeypatch):
    def fail(*_, **__):
        raise ValueError("bad weights\nsecond line")

    monkeypatch.setattr(BoxFiller, step, fail)
    with pytest.raises(PredictorError) as caught:
        ask(BoxFiller())
    assert str(caught.value).startswith(f"predictor box-filler: {step} failed with ValueError (bad weights), expected")
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_of_this_package_passes_through(monkeypatch):
    def fail(*_):
        raise DataError("t1ce.nii: empty.")

    monkeypatch.setattr(BoxFiller, "encode", fail)
    with pytest.raises(DataError, match=r"^t1ce\.nii: empty\.$"):
        ask(BoxFiller())


def test_an_interruption_passes_through(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(BoxFiller, "encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ask(BoxFiller())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": " "}, "got the name ' ', expected a short word"),
        ({"version": ""}, "got the version '', expected text"),
        ({"version": 2}, "got the version 2, expected text"),
        ({"sha256": "ab"}, "got the sha256 'ab', expected 64 lower-case hex digits"),
        ({"sha256": "AB" * 32}, "expected 64 lower-case hex digits"),
        ({"image_size": 0}, "got the image size 0, expected pixels or None"),
        ({"image_size": True}, "got the image size True"),
        ({"notes": ["a"]}, "expected a tuple of sentences"),
    ],
)
def test_an_identity_that_cannot_be_is_refused(change, said):
    fields = {"name": "mine", "version": "1", "sha256": "ab" * 32, "image_size": 512, "notes": ("Guessed.",)}
    PredictorIdentity(**fields)
    with pytest.raises(PredictorError, match=said):
        PredictorIdentity(**{**fields, **change})


def test_what_counts_as_a_predictor():
    assert isinstance(BoxFiller(), Predictor)
    assert isinstance(Checked(BoxFiller()), Predictor)
    assert not isinstance(object(), Predictor)


def test_a_packed_prediction_is_the_mask_again():
    whole = np.random.default_rng(1).random((3, 4, 11)) < 0.5
    packed = PackedPrediction.of(whole)
    assert packed.packed.nbytes == 3 * 4 * 2
    assert packed.mask.dtype == bool
    assert np.array_equal(packed.mask, whole)


SEVERAL = [Prompt("box", index, BOX.box, object_id=0) for index in (3, 1)]


class Several(BoxFiller):
    """Fills the box of an object from its lowest prompted slice on."""

    several_slices = True

    def predict(self, encoded, prompts, *, protocol):
        lowest = min(prompts, key=lambda prompt: prompt.key_slice)
        return [self.one(encoded, lowest, protocol) for _ in prompts]


def test_a_predictor_that_takes_one_slice_for_an_object_gets_no_more():
    message = (
        "predictor box-filler: got an object with prompts on several slices, expected one because this predictor does "
        "not take them; leave out --medsam-key-slices, use other prompts, or set several_slices = True on a predictor "
        r"that can \(docs/adding-a-predictor.md\)\."
    )
    for predictor in (BoxFiller(), Checked(BoxFiller()), PostProcessed(BoxFiller(), "largest-component")):
        with pytest.raises(PredictorError, match=message.replace("box-filler", r"box-filler\S*")):
            ask(predictor, SEVERAL)
    assert len(ask(BoxFiller(), SEVERAL[:1])) == 1


@pytest.mark.parametrize("protocol", ["bidirectional", "forward"])
def test_a_predictor_that_takes_several_slices_gets_them(protocol):
    for predictor in (Several(), Checked(Several()), PostProcessed(Several(), "largest-component")):
        first, second = ask(predictor, SEVERAL, protocol)
        assert first.mask[1].any(), "with forward an object is seen from its lowest prompted slice on"
        assert np.array_equal(first.mask, second.mask)


class Correctable(BoxFiller):
    """Corrections set the clicked voxel."""

    corrections = True

    def refine(self, encoded, prompts, *, protocol):
        return ToyRounds(self.predict(encoded, prompts, protocol=protocol))


class ToyRounds:
    def __init__(self, predictions):
        self.predictions = predictions

    def correct(self, corrections):
        for prediction, one in zip(self.predictions, corrections, strict=True):
            if one is not None:
                (x, y), *_ = one.points
                prediction.mask[one.key_slice, int(y), int(x)] = bool(one.point_labels[0])
        return self.predictions


AWAY = Correction(0, ((8.0, 11.0),), (1,))


def refine(predictor, prompts, protocol="bidirectional"):
    return predictor.refine(predictor.encode(volume()), prompts, protocol=protocol)


def test_a_predictor_that_takes_no_corrections_is_refused():
    message = (
        r"predictor box-filler\S*: got corrections, expected none because this predictor does not take them; leave"
    )
    for predictor in (Checked(BoxFiller()), Checked(PostProcessed(BoxFiller(), "largest-component"))):
        assert not predictor.corrections
        with pytest.raises(PredictorError, match=message):
            refine(predictor, [BOX])


def test_corrections_pass_through_the_check():
    rounds = refine(Checked(Correctable()), [BOX, POINT])
    before = rounds.predictions[0].mask.copy()
    first, _ = rounds.correct([AWAY, None])
    assert np.argwhere(first.mask != before).tolist() == [[0, 11, 8]]


def test_what_is_corrected_is_the_processed_mask():
    rounds = refine(Checked(PostProcessed(Correctable(), "largest-component")), [BOX])
    before = rounds.predictions[0].mask.copy()
    (after,) = rounds.correct([AWAY])
    assert np.array_equal(after.mask, before), "the single voxel is not the largest component"


def test_a_correction_that_reaches_beyond_the_protocol_is_a_wrong_answer():
    rounds = refine(Checked(Correctable()), [BOX], "forward")
    with pytest.raises(PredictorError, match="got a mask on slice 0 for a prompt on slice 2, expected one on 2 to 4"):
        rounds.correct([AWAY])


def test_a_failing_correction_is_named():
    rounds = refine(Checked(Correctable()), [BOX])
    with pytest.raises(PredictorError, match="predictor box-filler: correct failed with ValueError"):
        rounds.correct([AWAY, AWAY])


def test_two_prompts_of_an_object_on_one_slice_are_refused_before_the_predictor_is_asked():
    with pytest.raises(PromptError, match="object 0: got box and box on slice 3"):
        ask(Several(), [SEVERAL[0], SEVERAL[0]])


class Able(BoxFiller):
    made_masks = three_sequences = True


COLOURED = dataclasses.replace(volume(), channels=(volume().voxels,) * 3)
MADE = [Prompt("box-to-mask", 2, BOX.box), Prompt("recist", 2, points=((2.0, 4.0),))]


@pytest.mark.parametrize("wrap", [Checked, lambda made: PostProcessed(Checked(made), "largest-component")])
def test_a_predictor_gets_only_the_modes_and_images_that_it_takes(wrap):
    message = (
        r"predictor box-filler\S*: got the prompt mode recist, expected one of box, point, points3, box\+point, mask "
        "because this predictor does not turn prompts into masks; leave the mode out of --medsam-prompts, or set "
        r"made_masks = True on a predictor that can \(docs/adding-a-predictor.md\)\."
    )
    plain, able = Checked(wrap(BoxFiller())), Checked(wrap(Able()))
    with pytest.raises(PredictorError, match=message):
        plain.predict(plain.encode(volume()), MADE[1:], protocol="bidirectional")
    message = (
        r"predictor box-filler\S*: got an image of three sequences, expected one of a single sequence because this "
        "predictor does not take colours; give a single --medsam-modality, or set three_sequences = True on a "
    )
    with pytest.raises(PredictorError, match=message):
        plain.encode(COLOURED)
    assert len(able.predict(able.encode(COLOURED), MADE, protocol="bidirectional")) == 2
