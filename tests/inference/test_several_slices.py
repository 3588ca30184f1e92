"""Several prompted slices in one track: the engine against sam2's own predictor with the same prompts."""

import dataclasses

import numpy as np
import pytest

from medsam_core.errors import OptionError, PromptError
from medsam_core.inference import tracking
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.conditioning import Reading, Rules, reading
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.predictors.sam2_flow import Sam2Predictor
from medsam_core.prompts.prompt import MODES, Prompt
from tests.inference.test_parity import (
    BOX,
    DIAMETER,
    DRAWN,
    LONG,
    POINT,
    POINTS3,
    TOLERANCE,
    assert_equal,
    assert_lively,
)

SLICES = {2: (12, 20), 3: (14, 5, 25), 5: (13, 2, 8, 9, 19)}
"""By number: where the track starts, then the others; also next to one another and at the volume's end."""


def moved(points, by):
    return tuple((x + by, y) for x, y in points)


def one_object(mode, slices, object_id=0):
    """A prompt on each of the slices, each a little further to the right."""
    found = []
    for number, index in enumerate(slices):
        by = 0.5 * number
        box = (BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]) if "box" in mode else None
        points = {"points3": POINTS3, "point": POINT, "box+point": POINT, "recist": DIAMETER}.get(mode, ())
        labels = (1, 1, 0) if mode == "points3" else ()
        mask = np.roll(DRAWN, number, axis=1) if mode == "mask" else None
        found.append(Prompt(mode, index, box, moved(points, by), labels, mask, object_id))
    return found


def everything():
    """By (mode, number of slices): the prompts of an object; all in one call."""
    keys = [(mode, count) for mode in MODES for count in SLICES]
    return {key: one_object(key[0], SLICES[key[1]], object_id) for object_id, key in enumerate(keys)}


@pytest.fixture(scope="module")
def long_volume(make_volume):
    return make_volume(LONG)


@pytest.fixture(scope="module")
def together(small_model, long_volume):
    """Objects of every mode with 1, 2, 3 and 5 slices in one batch."""
    alone = Prompt("box", 13, box=BOX)
    asked = [alone, *(prompt for own in everything().values() for prompt in own)]
    found = Predictor(small_model, batch_size=64).predict(long_volume, asked, keep_logits=True)
    return dict(zip(map(id, asked), found, strict=True)), asked, alone


def of(together, mode, count):
    found, asked, _ = together
    number = list(everything()).index((mode, count))
    return [found[id(prompt)] for prompt in asked if prompt.object_id == number]


def test_slices_are_encoded_once_for_all_objects(small_model, long_volume):
    predictor = Predictor(small_model)
    encoded = predictor.encode(long_volume)
    predictor.predict(encoded, one_object("box", SLICES[3]) + one_object("point", SLICES[2], 1))
    assert encoded.encoded == LONG[0]


@pytest.mark.parametrize("count", SLICES)
@pytest.mark.parametrize("mode", MODES)
def test_one_batch_of_objects_equals_sam2s_predictor_one_by_one(
    mode, count, together, small_model, long_volume, oracle
):
    predictions = of(together, mode, count)
    assert len(predictions) == count
    expected = oracle(small_model, long_volume).logits(everything()[mode, count])
    for prediction in predictions:
        assert_lively(prediction)
        assert_equal(prediction, expected)


def test_an_object_with_one_prompt_in_the_same_batch_equals_sam2_too(together, small_model, long_volume, oracle):
    found, _, alone = together
    assert_equal(found[id(alone)], oracle(small_model, long_volume).logits(alone))


def test_a_prompted_slice_that_is_passed_keeps_the_prompts_own_output(together, small_model, long_volume):
    asked = everything()["mask", 3]
    alone = [dataclasses.replace(prompt, object_id=None) for prompt in asked]
    own = Predictor(small_model).predict(long_volume, alone, protocol="slicewise", keep_logits=True)
    (tracked, *_) = of(together, "mask", 3)
    for prediction in own:
        key = prediction.prompt.key_slice
        np.testing.assert_allclose(tracked.logits[key], prediction.logits[0], atol=TOLERANCE)
        assert np.array_equal(tracked.mask[key], prediction.mask[key])
        assert tracked.predicted_iou[key] == 1, "a given mask is certain"


def test_more_slices_change_the_mask_of_the_others(together):
    two, five = (of(together, "box", count)[0] for count in (2, 5))
    assert np.abs(two.logits - five.logits).max() > 100 * TOLERANCE


def _pointers_of_the_future(found, coming, later):
    assert len(later) + 3 == len(found.rows)
    return Reading(found.rows, tuple(7 if place in coming else age for place, age in enumerate(found.ages)))


def _no_memory_of_what_comes(found, coming, later):
    assert len(later) + 3 == len(found.rows)
    return Reading(tuple(None if place in coming else row for place, row in enumerate(found.rows)), found.ages)


def _a_second_memory_of_what_is_passed(found, coming, later):
    assert set(coming) <= {1, 2}
    return Reading((*found.rows[:3], *later), found.ages)


@pytest.mark.parametrize(
    "wrong", [_pointers_of_the_future, _no_memory_of_what_comes, _a_second_memory_of_what_is_passed]
)
def test_the_comparison_would_notice_a_wrong_rule(wrong, together, small_model, long_volume, monkeypatch):
    def changed(rules, keys, direction, t, room, recent):
        found = reading(rules, keys, direction, t, room, recent)
        coming = [place for place, index in enumerate(keys) if (index - keys[0]) * direction > t]
        return wrong(found, coming, range(len(found.rows) - room))

    monkeypatch.setattr(tracking, "reading", changed)
    prediction = Predictor(small_model).predict(long_volume, everything()["box", 3], keep_logits=True)[0]
    assert np.abs(prediction.logits - of(together, "box", 3)[0].logits).max() > 10 * TOLERANCE


def test_modes_may_differ_between_slices_of_one_object(small_model, long_volume, oracle):
    asked = [
        Prompt("box", 12, box=BOX, object_id=4),
        Prompt("mask", 4, mask=DRAWN, object_id=4),
        Prompt("points3", 19, points=POINTS3, point_labels=(1, 1, 0), object_id=4),
    ]
    predictions = Predictor(small_model).predict(long_volume, asked, keep_logits=True)
    assert [prediction.prompt for prediction in predictions] == asked
    assert_equal(predictions[0], oracle(small_model, long_volume).logits(asked))


@pytest.mark.parametrize("way", [Plan(), Plan(fixed=True)], ids=["growing", "fixed"])
def test_forward_starts_at_the_lowest_prompted_slice(way, small_model, long_volume, oracle):
    asked = one_object("box", (9, 3, 6))
    found = Predictor(small_model, plan=way).predict(long_volume, asked, protocol="forward", keep_logits=True)
    expected = oracle(small_model, long_volume).logits(sorted(asked, key=lambda p: p.key_slice), "forward")
    assert list(found[0].slices) == list(range(3, LONG[0]))
    for prediction in found:
        assert_equal(prediction, expected)


@pytest.mark.parametrize("most", [2, 3])
def test_a_model_that_reads_few_conditioning_slices(most, small_model, long_volume, oracle, monkeypatch):
    """The others are read as slices without a prompt while they are near."""
    asked = one_object("box", SLICES[5])
    everyone = Predictor(small_model).predict(long_volume, asked, keep_logits=True)[0]
    monkeypatch.setattr(small_model.module, "max_cond_frames_in_attn", most)
    prediction = Predictor(small_model).predict(long_volume, asked, keep_logits=True)[0]
    assert np.abs(prediction.logits - everyone.logits).max() > 10 * TOLERANCE
    assert_equal(prediction, oracle(small_model, long_volume).logits(asked))


@pytest.mark.parametrize(
    "flags",
    [
        {"use_signed_tpos_enc_to_obj_ptrs": False},
        {"only_obj_ptrs_in_the_past_for_eval": False},
        {"only_obj_ptrs_in_the_past_for_eval": False, "use_signed_tpos_enc_to_obj_ptrs": False},
    ],
    ids=["unsigned", "future", "future-unsigned"],
)
def test_models_with_other_rules_for_pointers(flags, make_lively, make_volume, oracle):
    architecture = dataclasses.replace(ARCHITECTURES["embedded"].with_image_size(64), **flags)
    model, volume = make_lively(architecture), make_volume((14, 40, 36))
    asked = one_object("point", (6, 2, 11))
    prediction = Predictor(model).predict(volume, asked, keep_logits=True)[0]
    assert_equal(prediction, oracle(model, volume).logits(asked))


@pytest.mark.parametrize("depth", [2, 3])
def test_every_slice_of_a_small_volume_prompted(depth, small_model, make_volume, oracle):
    volume = make_volume((depth, 40, 36))
    asked = one_object("box", range(depth))
    prediction = Predictor(small_model).predict(volume, asked, keep_logits=True)[0]
    assert_equal(prediction, oracle(small_model, volume).logits(asked))


def test_sam2s_newer_predictor_agrees_too(together, small_model, long_volume, oracle):
    expected = oracle(small_model, long_volume, legacy=False).logits(everything()["box+point", 3])
    assert_equal(of(together, "box+point", 3)[0], expected)


def test_objects_that_come_and_go(make_lively, make_volume, oracle):
    model, volume = make_lively(seed=3, presence=1.05), make_volume((12, 40, 36))
    asked = one_object("box", (5, 9))
    prediction = Predictor(model).predict(volume, asked, keep_logits=True)[0]
    assert (prediction.object_score > 0).any()
    assert (prediction.object_score < 0).any()
    assert_equal(prediction, oracle(model, volume).logits(asked))


def test_the_predictor_sam2_gives_the_same_masks(together, small_model, long_volume):
    asked = everything()["point", 2] + [Prompt("box", 13, box=BOX)]
    predictor = Sam2Predictor(small_model)
    first, second, alone = predictor.predict(predictor.encode(long_volume), asked, protocol="bidirectional")
    assert np.array_equal(first.mask, of(together, "point", 2)[0].mask)
    assert np.array_equal(second.mask, first.mask)
    assert not np.array_equal(alone.mask, first.mask)


def test_steps_of_few_shapes_fall_back_with_a_note(together, small_model, long_volume):
    predictor = Predictor(small_model, plan=Plan(fixed=True))
    alone = Prompt("box", 13, box=BOX)
    asked = [alone, *everything()["box", 3]]
    found = predictor.predict(long_volume, asked, keep_logits=True)
    assert predictor.fixed.shapes, "the object with one prompt is tracked in steps of few shapes"
    note = "objects with several prompted slices are tracked as on a CPU, which is slow on a GPU"
    assert sum(one.startswith(note) for one in predictor.notes) == 1
    np.testing.assert_allclose(found[1].logits, of(together, "box", 3)[0].logits, atol=TOLERANCE)
    plain = Predictor(small_model, plan=Plan(fixed=True))
    expected = plain.predict(long_volume, alone, keep_logits=True)
    np.testing.assert_allclose(found[0].logits, expected.logits, atol=TOLERANCE)
    assert not any(one.startswith(note) for one in plain.notes)


def test_equal_objects_are_tracked_once(small_model, long_volume):
    volume = long_volume[:9]
    asked = one_object("box", (3, 6), 0) + one_object("box", (3, 6), 1)
    found = Predictor(small_model).predict(volume, asked)
    assert found[0].packed is found[1].packed is found[2].packed is found[3].packed


def test_two_prompts_of_an_object_on_one_slice_are_refused(small_model, long_volume):
    box, mask = Prompt("box", 3, box=BOX, object_id=2), Prompt("mask", 3, mask=DRAWN, object_id=2)
    message = "object 2: got box and mask on slice 3, expected one prompt of an object on a slice; delete the others"
    with pytest.raises(PromptError, match=message):
        Predictor(small_model).predict(long_volume, [box, mask])
    found = Predictor(small_model).predict(long_volume[:5], [box, dataclasses.replace(mask, object_id=None)])
    assert len(found) == 2, "two objects may share a slice"


def test_a_protocol_without_memory_is_refused(small_model, long_volume):
    message = "protocol slicewise: got object 0 with prompts on 2 slices, expected one because this protocol has no mem"
    with pytest.raises(OptionError, match=message):
        Predictor(small_model).predict(long_volume, one_object("box", (3, 6)), protocol="slicewise")


def test_what_a_track_reads_by_hand():
    """Prompted slices 10 (the start), 4 and 12, going up; three memories, four pointers; now on slice 14."""
    rules = Rules(memories=3, pointers=4)
    found = reading(rules, (10, 4, 12), 1, 4, 4, 3)
    assert found.rows == (3, 3, 3, None, 0, None, 2)  # room for a fourth; times 3, 2 (slice 12) and 1
    assert found.ages == (4, 10, 2, None, 1, None, 3)
    before = reading(rules, (10, 4, 12), 1, 1, 3, 0)
    assert before.rows == (3, 3, 3)
    assert before.ages == (1, 7, None), "no pointer from the future"
    down = reading(rules, (10, 4, 12), -1, 1, 3, 0)
    assert down.ages == (1, None, 3)
    two = reading(dataclasses.replace(rules, most=2), (10, 4, 12), 1, 4, 3, 3)
    assert two.rows == (3, None, 3, 0, None, 2), "slice 4 is the farthest of three, and not among the last three"
    near = reading(dataclasses.replace(rules, most=2), (10, 11, 12), 1, 3, 3, 2)
    assert near.rows == (2, 3, 3, None, None), "slice 10 is read as one without a prompt, of three slices ago"
    assert near.ages == (3, 2, 1, None, None)


@pytest.mark.slow
def test_medsam2_at_full_size(make_lively, make_volume, oracle):
    model, volume = make_lively(ARCHITECTURES["medsam2"], seed=0), make_volume((5, 240, 240))
    drawn = np.pad(DRAWN, ((50, 150), (60, 144)))
    asked = [Prompt("mask", index, mask=np.roll(drawn, index, axis=1), object_id=0) for index in (2, 0, 4)]
    prediction = Predictor(model).predict(volume, asked, keep_logits=True)[0]
    assert_lively(prediction)
    assert_equal(prediction, oracle(model, volume).logits(asked))
