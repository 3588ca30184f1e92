"""Corrections round by round: the engine against sam2's own predictor with the same prompts and clicks."""

import dataclasses

import numpy as np
import pytest

from medsam_core.errors import OptionError, PromptError
from medsam_core.inference import propagation, rounds, tracking
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.predictors.sam2_flow import Sam2Predictor
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import MODES, Prompt
from tests.inference.test_parity import BOX, DRAWN, LONG, TOLERANCE, assert_equal, assert_lively
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


SEVERAL = [click(8, 12, 14, 1), click(20, 20, 22, 0), click(2, 16, 20, 1)]
"""Of objects on slices 13, 2 and 8: two prompted slices get a click each."""
FAST = [("box", "above, again, below"), ("point", "beside the start, then the start"), ("mask", "three slices")]


def cases():
    """(mode, name of the rounds): the prompts of the object."""
    found = {(mode, name): [prompt] for mode, prompt in STARTS.items() for name in ROUNDS}
    for number, mode in enumerate(("box", "point", "mask")):
        found[mode, "three slices"] = one_object(mode, SLICES[5][:3], number)
    return found


def corrections_of(case):
    return ROUNDS.get(case[1], SEVERAL)


def tracked(model, volume, asked, **options):
    """By case the predictions after 0, 1, 2 and 3 corrections; all objects in the same batches."""
    prompts = [prompt for case in asked for prompt in cases()[case]]
    own = Predictor(model, batch_size=64, **options).refine(volume, prompts, keep_logits=True)
    found = [list(own.predictions)]
    for number in range(3):
        found.append(list(own.correct([corrections_of(case)[number] for case in asked])))
    assert own.volume.encoded == len(volume), "every slice is encoded once for all rounds"
    return {case: [one[place] for one in found] for place, case in enumerate(asked)}


def assert_rounds_equal(found, own, corrections):
    """own: the rounds of sam2's predictor, not yet tracked."""
    for number, prediction in enumerate(found):
        if number:
            own.correct(corrections[number - 1])
        assert_lively(prediction)
        assert_equal(prediction, own.logits())


@pytest.fixture(scope="module")
def together(small_model, long_volume):
    return tracked(small_model, long_volume, FAST)


@pytest.fixture(scope="module")
def everything(small_model, long_volume):
    return tracked(small_model, long_volume, [*cases()])


@pytest.mark.parametrize("case", FAST, ids="/".join)
def test_rounds_of_a_batch_equal_sam2s_predictor_one_by_one(case, together, small_model, long_volume, oracle):
    assert_rounds_equal(together[case], oracle(small_model, long_volume).rounds(cases()[case]), corrections_of(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in cases() if case not in FAST], ids="/".join)
def test_every_mode_equals_sam2s_predictor(case, everything, small_model, long_volume, oracle):
    assert_rounds_equal(everything[case], oracle(small_model, long_volume).rounds(cases()[case]), corrections_of(case))


def test_the_first_round_is_that_of_predict(together, small_model, long_volume):
    prompts = [prompt for case in FAST for prompt in cases()[case]]
    found = Predictor(small_model, batch_size=64).predict(long_volume, prompts, keep_logits=True)
    for case, prediction in zip(FAST, found, strict=False):
        np.testing.assert_array_equal(together[case][0].logits, prediction.logits)


def test_every_correction_changes_the_slices_around_it(together):
    for case, (before, *later) in together.items():
        for correction, after in zip(corrections_of(case), later, strict=True):
            near = [at for at in (correction.key_slice - 1, correction.key_slice + 1) if 0 <= at < LONG[0]]
            assert np.abs(after.logits[near] - before.logits[near]).max() > 100 * TOLERANCE
            before = after


SHORT = (9, 40, 36)
BOX_ON_4 = Prompt("box", 4, box=BOX)
TWICE = [click(6, 12, 14, 1), click(2, 20, 22, 0)]


@pytest.fixture(scope="module")
def short_volume(make_volume):
    return make_volume(SHORT)


def twice(model, volume, prompts=(BOX_ON_4,), corrections=TWICE, protocol="bidirectional", **options):
    """The last prediction."""
    own = Predictor(model, **options).refine(volume, list(prompts), protocol=protocol, keep_logits=True)
    for correction in corrections:
        own.correct([correction])
    return own.predictions[0]


@pytest.fixture(scope="module")
def corrected(small_model, short_volume):
    return twice(small_model, short_volume)


def _not_conditioning(patch):
    patch.setattr(rounds, "with_others", lambda tracks, _: tracks)


def _without_memory(patch):
    def alone(tracker, known, _):
        firsts = [propagation.Known({own.start: own.conditioning[own.start]}) for own in known]
        return bank_at(tracker, firsts, [own.start for own in firsts])

    bank_at = propagation.bank_at
    patch.setattr(propagation, "bank_at", alone)


def _without_the_logits_so_far(patch):
    correct = tracking.Tracker.correct
    patch.setattr(
        tracking.Tracker, "correct", lambda self, at, points, before, bank: correct(self, at, points, 0 * before, bank)
    )


def _logits_not_limited(patch):
    patch.setattr(tracking, "LARGEST_LOGIT", 0.5)


def _clicks_of_the_prompt_lost(patch):
    patch.setattr(propagation, "places_of", lambda _: ())


@pytest.mark.parametrize(
    "wrong",
    [_not_conditioning, _without_memory, _without_the_logits_so_far, _logits_not_limited, _clicks_of_the_prompt_lost],
)
def test_the_comparison_would_notice_a_wrong_correction(wrong, small_model, short_volume, monkeypatch):
    corrections = [*TWICE, click(4, 10, 30, 0)]
    right = twice(small_model, short_volume, corrections=corrections)
    wrong(monkeypatch)
    found = twice(small_model, short_volume, corrections=corrections)
    assert np.abs(found.logits - right.logits).max() > 10 * TOLERANCE


def test_forward_corrects_what_is_above_the_start(small_model, short_volume, oracle):
    corrections = [click(6, 12, 14, 1), click(8, 20, 22, 0)]
    prediction = twice(small_model, short_volume, corrections=corrections, protocol="forward")
    own = oracle(small_model, short_volume).rounds(BOX_ON_4, "forward")
    own.logits()
    for correction in corrections:
        own.correct(correction)
        expected = own.logits()
    assert list(prediction.slices) == [4, 5, 6, 7, 8]
    assert_equal(prediction, expected)


def test_sam2s_newer_predictor_agrees_too(corrected, small_model, short_volume, oracle):
    own = oracle(small_model, short_volume, legacy=False).rounds(BOX_ON_4)
    own.logits()
    for correction in TWICE:
        own.correct(correction)
        expected = own.logits()
    assert_equal(corrected, expected)


def test_a_model_that_reads_few_conditioning_slices(small_model, short_volume, oracle, monkeypatch):
    corrections = [*TWICE, click(7, 14, 20, 1)]
    everyone = twice(small_model, short_volume, corrections=corrections)
    monkeypatch.setattr(small_model.module, "max_cond_frames_in_attn", 2)
    prediction = twice(small_model, short_volume, corrections=corrections)
    assert np.abs(prediction.logits - everyone.logits).max() > 10 * TOLERANCE
    own = oracle(small_model, short_volume).rounds(BOX_ON_4)
    own.logits()
    for correction in corrections:
        own.correct(correction)
        expected = own.logits()
    assert_equal(prediction, expected)


@pytest.mark.parametrize("corrections", [TWICE, [click(4, 12, 14, 1), click(4, 20, 22, 0)]], ids=["others", "start"])
def test_steps_of_few_shapes_give_the_same(corrections, small_model, short_volume):
    expected = twice(small_model, short_volume, corrections=corrections)
    found = twice(small_model, short_volume, corrections=corrections, plan=Plan(fixed=True))
    np.testing.assert_allclose(found.logits, expected.logits, atol=TOLERANCE)


def test_the_predictor_sam2_gives_the_same_masks(corrected, small_model, short_volume):
    predictor = Sam2Predictor(small_model)
    own = predictor.refine(predictor.encode(short_volume), [BOX_ON_4], protocol="bidirectional")
    for correction in TWICE:
        own.correct([correction])
    assert np.array_equal(own.predictions[0].mask, corrected.mask)


def test_equal_objects_are_tracked_once_until_their_corrections_differ(small_model, short_volume):
    again, box = dataclasses.replace(BOX_ON_4, object_id=7), Prompt("box", 3, box=BOX)
    own = Predictor(small_model).refine(short_volume, [BOX_ON_4, box, again], keep_logits=True)
    first, other, second = own.predictions
    assert first.packed is second.packed
    assert [one.prompt for one in own.predictions] == [BOX_ON_4, box, again]
    first, _, second = own.correct([TWICE[0], None, TWICE[0]])
    assert first.packed is second.packed
    assert own.predictions[1] is other, "nothing was wrong there"
    first, other, second = own.correct([None, TWICE[1], TWICE[1]])
    assert not np.array_equal(first.logits, second.logits)
    alone = twice(small_model, short_volume)
    np.testing.assert_allclose(second.logits, alone.logits, atol=TOLERANCE)
    once = twice(small_model, short_volume, corrections=TWICE[:1])
    np.testing.assert_allclose(first.logits, once.logits, atol=TOLERANCE)


def test_without_corrections_a_round_changes_nothing(small_model, short_volume):
    own = Predictor(small_model).refine(short_volume, [BOX_ON_4])
    before = list(own.predictions)
    assert own.correct([None])[0] is before[0]
    assert Predictor(small_model).refine(short_volume, []).correct([]) == []


def test_a_protocol_without_memory_is_refused(small_model, short_volume):
    message = "protocol slicewise: got it with corrections, expected bidirectional or forward because this protocol has"
    with pytest.raises(OptionError, match=message):
        Predictor(small_model).refine(short_volume, [BOX_ON_4], protocol="slicewise")


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        (click(3, 1, 1, 1), "correction: got slice 3, expected one of 4 to 8, which the track reaches; correct what"),
        (click(5, 36, 1, 1), r"correction: got \(x, y\) = \(36.0, 1.0\), expected a place within 36 x 40 voxels"),
    ],
)
def test_a_correction_elsewhere_is_refused(correction, message, small_model, short_volume):
    own = Predictor(small_model).refine(short_volume, [BOX_ON_4], protocol="forward")
    with pytest.raises(PromptError, match=message):
        own.correct([correction])


def test_every_object_needs_an_answer(small_model, short_volume):
    own = Predictor(small_model).refine(short_volume, [BOX_ON_4])
    with pytest.raises(PromptError, match="corrections: got 2, expected 1, one for each object; give None for an obj"):
        own.correct([None, None])


def test_nothing_of_an_earlier_round_stays(small_model, short_volume):
    """One pass over the slices is kept, whatever the number of rounds."""
    own = Predictor(small_model).refine(short_volume, [BOX_ON_4])
    for number, correction in enumerate([None, *TWICE]):
        if correction:
            own.correct([correction])
        (known,) = own._known
        assert len(known.conditioning) == 1 + number
        assert sorted([*known.conditioning, *known.tracked]) == list(range(SHORT[0]))


@pytest.mark.slow
def test_medsam2_at_full_size(make_lively, make_volume, oracle):
    model, volume = make_lively(ARCHITECTURES["medsam2"], seed=0), make_volume((4, 240, 240))
    drawn = Prompt("mask", 1, mask=np.pad(DRAWN, ((50, 150), (60, 144))))
    corrections = [click(2, 80, 70, 1), click(0, 90, 80, 0)]
    prediction = twice(model, volume, [drawn], corrections)
    own = oracle(model, volume).rounds(drawn)
    own.logits()
    for correction in corrections:
        own.correct(correction)
        expected = own.logits()
    assert_equal(prediction, expected)
