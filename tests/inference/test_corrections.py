"""Corrections round by round: the engine against sam2's own predictor with the same prompts and clicks."""

import dataclasses

import numpy as np
import pytest

from medsam_core.errors import OptionError, PromptError
from medsam_core.inference import propagation, tracking
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import MODES, Prompt
from tests.inference.test_parity import BOX, DRAWN, LONG, POINT, TOLERANCE, assert_equal, assert_lively
from tests.inference.test_several_slices import SLICES, one_object


def click(index, x, y, label):
    return Correction(index, ((float(x), float(y)),), (label,))


ROUNDS = {
    "above, again, below": [click(18, 12, 14, 1), click(18, 20, 22, 0), click(4, 16, 20, 1)],
    "start, below, end": [click(13, 11, 13, 1), click(9, 25, 8, 0), click(25, 14, 18, 1)],
    "beside the start, then the start": [click(14, 13, 12, 0), click(13, 22, 24, 0), click(0, 15, 15, 1)],
    "two clicks at once": [
        Correction(20, ((12.0, 14.0), (24.0, 30.0)), (1, 0)),
        Correction(20, ((18.0, 12.0), (8.0, 30.0)), (1, 0)),
        click(7, 14, 20, 1),
    ],
}
"""Three rounds of corrections of an object that starts on slice 13."""
STARTS = {mode: one_object(mode, (13,), None)[0] for mode in MODES}


@pytest.fixture(scope="module")
def long_volume(make_volume):
    return make_volume(LONG)


def cases():
    """(prompts of an object, name of its rounds): every mode, and objects with several slices from the start."""
    found = {(mode, name): [prompt] for mode, prompt in STARTS.items() for name in ROUNDS}
    for number, mode in enumerate(("box", "point", "mask")):
        found[mode, "three slices"] = one_object(mode, SLICES[5][:3], number)
    return found


SEVERAL = [click(8, 12, 14, 1), click(20, 20, 22, 0), click(2, 16, 20, 1)]
"""Of objects on slices 13, 2 and 8: two prompted slices get a click each."""


@pytest.fixture(scope="module")
def together(small_model, long_volume):
    """By case the predictions after 0, 1, 2 and 3 corrections; all objects in the same batches."""
    asked = cases()
    rounds = Predictor(small_model, batch_size=64).refine(
        long_volume, [prompt for own in asked.values() for prompt in own], keep_logits=True
    )
    found = [list(rounds.predictions)]
    for number in range(3):
        corrections = [ROUNDS.get(name, SEVERAL)[number] for _, name in asked]
        found.append(list(rounds.correct(corrections)))
    assert rounds.volume.encoded == LONG[0], "every slice is encoded once for all rounds"
    return {case: [one[place] for one in found] for place, case in enumerate(asked)}


@pytest.mark.parametrize("case", cases(), ids="/".join)
def test_rounds_of_a_batch_equal_sam2s_predictor_one_by_one(case, together, small_model, long_volume, oracle):
    own = oracle(small_model, long_volume).rounds(cases()[case])
    for number, prediction in enumerate(together[case]):
        if number:
            own.correct(ROUNDS.get(case[1], SEVERAL)[number - 1])
        assert_lively(prediction)
        assert_equal(prediction, own.logits())
