"""Prompts that the model first turns into a mask: `box-to-mask` and `recist`."""

import dataclasses

import numpy as np
import pytest

from medsam_core.inference.predictor import Predictor
from medsam_core.predictors.sam2_flow import Sam2Predictor
from medsam_core.prompts.prompt import PROTOCOLS, Prompt
from tests.inference.test_parity import BOX, DIAMETER, TOLERANCE, assert_equal

SHAPE = (14, 40, 36)
MADE = {
    "box-to-mask": Prompt("box-to-mask", 5, box=BOX),
    "recist": Prompt("recist", 8, points=DIAMETER),
    "four points": Prompt("recist", 3, points=DIAMETER[:4]),
}


@pytest.fixture(scope="module")
def volume(make_volume):
    return make_volume(SHAPE)


def first_step(prompt):
    """The prompt of which the mask is made."""
    return dataclasses.replace(prompt, mode="box" if prompt.box else "points3")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "newer"])
def test_one_batch_equals_sam2s_predictor_in_every_protocol(protocol, legacy, small_model, volume, oracle):
    asked = [*MADE.values(), Prompt("box", 5, box=BOX), Prompt("points3", 8, points=DIAMETER)]
    found = Predictor(small_model, batch_size=16).predict(volume, asked, protocol=protocol, keep_logits=True)
    flow = oracle(small_model, volume, legacy=legacy)
    for prediction in found:
        assert 0.02 < prediction.mask[prediction.slices].mean() < 0.98
        assert prediction.logits.std() > 0.3
        assert_equal(prediction, flow.logits(prediction.prompt, protocol))


@pytest.mark.parametrize("which", MADE)
def test_it_is_the_first_masks_own_track(which, small_model, volume):
    predictor, prompt = Predictor(small_model), MADE[which]
    first = predictor.predict(volume, first_step(prompt), protocol="slicewise")
    given = Prompt("mask", prompt.key_slice, mask=first.mask[prompt.key_slice])
    made, drawn, boxed = predictor.predict(volume, [prompt, given, first_step(prompt)], keep_logits=True)
    np.testing.assert_allclose(made.logits, drawn.logits, atol=TOLERANCE)
    assert np.abs(made.logits - boxed.logits).max() > 100 * TOLERANCE, "another track than from the box or the points"


def test_the_models_own_estimate_is_that_of_the_mask_it_made(small_model, volume):
    predictor, prompt = Predictor(small_model), MADE["box-to-mask"]
    first = predictor.predict(volume, first_step(prompt), protocol="slicewise")
    made = predictor.predict(volume, prompt)
    assert made.predicted_iou[5] == pytest.approx(first.predicted_iou[5], abs=TOLERANCE)
    assert made.predicted_iou[5] < 1


def test_where_no_mask_is_made_the_object_is_absent_as_in_sam2(make_lively, make_volume, oracle):
    model, volume = make_lively(seed=5, presence=-0.5), make_volume((5, 40, 36))
    asked = [Prompt("box-to-mask", 2, box=BOX), Prompt("box", 2, box=BOX)]
    made, boxed = Predictor(model).predict(volume, asked, keep_logits=True)
    assert boxed.object_score[2] < 0
    assert not made.mask[2].any()
    assert made.object_score[2] == -10
    assert_equal(made, oracle(model, volume).logits(asked[0]))


def test_the_predictor_sam2_gives_the_same_masks(small_model, volume):
    asked = list(MADE.values())
    sam2 = Sam2Predictor(small_model)
    found = Predictor(small_model).predict(volume, asked)
    for mine, theirs in zip(found, sam2.predict(sam2.encode(volume), asked, protocol="bidirectional"), strict=True):
        assert np.array_equal(mine.mask, theirs.mask)


def test_slices_are_encoded_once_for_both_steps(small_model, volume):
    predictor = Predictor(small_model)
    encoded = predictor.encode(volume)
    predictor.predict(encoded, list(MADE.values()))
    assert encoded.encoded == SHAPE[0]
