"""The conformance check passes right predictors, and each broken one fails at the check that is meant for it."""

import dataclasses
import itertools

import numpy as np
import pytest

from medsam_core import testing
from medsam_core.errors import PredictorError
from medsam_core.predictors.choosing import choose
from medsam_core.predictors.contract import PlainPrediction
from medsam_core.prompts.prompt import MODES, PROTOCOLS, Prompt
from medsam_core.testing import CENTRES, SHAPE, check_predictor
from tests.predictors.test_contract import Correctable
from tests.predictors.toys import IDENTITY, BoxFiller

BY_CALL = itertools.count()


class Changed(BoxFiller):
    """A box filler that changes prompts on the way in and masks on the way out."""

    def one(self, shape, prompt, protocol):
        found = super().one(shape, self.taken(prompt), protocol)
        mask = self.given(found.mask)
        seen = prompt.slices_seen(shape[0], protocol)
        outside = np.ones(len(mask), bool)
        outside[seen.start : seen.stop] = False
        return PlainPrediction(mask & ~outside[:, None, None] if self.clipped else mask, found.predicted_iou)

    clipped = False

    def taken(self, prompt):
        return prompt

    def given(self, mask):
        return mask


def moved(prompt, place):
    """The prompt with each (x, y) at place(x, y)."""
    points = tuple(place(x, y) for x, y in prompt.points)
    if prompt.box is None:
        return Prompt(prompt.mode, prompt.key_slice, points=points)
    (xs, ys) = zip(place(*prompt.box[:2]), place(*prompt.box[2:]), strict=True)
    return Prompt(prompt.mode, prompt.key_slice, box=(min(xs), min(ys), max(xs), max(ys)), points=points)


class SwapsXAndY(Changed):
    def taken(self, prompt):
        return moved(prompt, lambda x, y: (y, x))


class ReadsBoxesAlongX(Changed):
    """Takes (x0, y0, x1, y1) for (y0, x0, y1, x1) but reads points right."""

    def taken(self, prompt):
        return prompt if prompt.box is None else moved(prompt, lambda x, y: (y, x))


class MirrorsLeftToRight(Changed):
    def given(self, mask):
        return np.ascontiguousarray(mask[:, :, ::-1])


class MirrorsFrontToBack(Changed):
    def taken(self, prompt):
        return moved(prompt, lambda x, y: (x, SHAPE[1] - 1 - y))


class Turns(Changed):
    def given(self, mask):
        return np.ascontiguousarray(mask[:, ::-1, ::-1])


class Transposes(Changed):
    def given(self, mask):
        return np.ascontiguousarray(mask.transpose(0, 2, 1))


class Reshapes(Changed):
    """Has the mask as (D, W, H) and reshapes where it should transpose."""

    def given(self, mask):
        return np.ascontiguousarray(mask.transpose(0, 2, 1)).reshape(mask.shape)


class ReversesSlices(Changed):
    def given(self, mask):
        return np.ascontiguousarray(mask[::-1])


class FillsAll(Changed):
    clipped = True

    def given(self, mask):
        return np.ones_like(mask)


class FindsNothing(Changed):
    def given(self, mask):
        return np.zeros_like(mask)


class GivesNumbers(Changed):
    def given(self, mask):
        return mask.astype(np.uint8)


class IgnoresProtocols(BoxFiller):
    def one(self, shape, prompt, protocol):
        assert protocol
        return super().one(shape, prompt, "bidirectional")


class Grows(BoxFiller):
    """Adds a row to its masks at each call."""

    calls = 0

    def predict(self, encoded, prompts, *, protocol):
        self.calls += 1
        found = super().predict(encoded, prompts, protocol=protocol)
        for one in found:
            one.mask[one.mask.any((1, 2)), : self.calls % 9] = True
        return found


class FirstPromptOnly(BoxFiller):
    """Adds the first prompt's mask to every other one."""

    def predict(self, encoded, prompts, *, protocol):
        found = super().predict(encoded, prompts, protocol=protocol)
        for one in found[1:]:
            one.mask[:] |= found[0].mask
        return found


class Random(BoxFiller):
    def one(self, shape, prompt, protocol):
        found = super().one(shape, prompt, protocol)
        x = next(BY_CALL) % 2
        found.mask[:, :, :] &= np.arange(shape[2]) % 2 == x
        return found


class ByMachine(BoxFiller):
    """Each predictor has its own weights under one identity."""

    def __init__(self):
        super().__init__()
        self.number = next(BY_CALL) % 2

    def one(self, shape, prompt, protocol):
        found = super().one(shape, prompt, protocol)
        found.mask[:, :, :] &= np.arange(shape[2]) % 2 == self.number
        return found


class OneVolume(BoxFiller):
    """Keeps the volume itself: what is encoded last is segmented."""

    def encode(self, volume):
        bright = np.argwhere(volume.voxels > 700)
        self.low, self.high = bright.min(0), bright.max(0)
        return volume.shape

    def one(self, shape, prompt, protocol):
        found = super().one(shape, prompt, protocol)
        keep = np.zeros(shape, bool)
        keep[:, self.low[1] : self.high[1] + 1, self.low[2] : self.high[2] + 1] = True
        return PlainPrediction(found.mask & keep, found.predicted_iou)


class ScalesInPlace(BoxFiller):
    def encode(self, volume):
        volume.voxels[:] /= 900
        return volume.shape


class AtLeastOne(BoxFiller):
    def predict(self, encoded, prompts, *, protocol):
        return super().predict(encoded, prompts or [Prompt("box", 0, box=(0, 0, 1, 1))], protocol=protocol)


class FailsOnNone(BoxFiller):
    def predict(self, encoded, prompts, *, protocol):
        assert prompts[0]
        return super().predict(encoded, prompts, protocol=protocol)


class NewIdentity(BoxFiller):
    @property
    def identity(self):
        return dataclasses.replace(IDENTITY, version=str(next(BY_CALL)))


class IdentityOfItsUse(BoxFiller):
    used = 0

    @property
    def identity(self):
        return dataclasses.replace(IDENTITY, version=str(self.used))

    def predict(self, encoded, prompts, *, protocol):
        self.used = 1
        return super().predict(encoded, prompts, protocol=protocol)


class NumbersAsNotes(BoxFiller):
    def __init__(self):
        self.notes = [3]


class WithoutNotes:
    identity = IDENTITY
    encode = BoxFiller.encode
    predict = BoxFiller.predict


class TakesSlicesApart(BoxFiller):
    several_slices = True


class TakesSlicesTogether(BoxFiller):
    several_slices = True

    def predict(self, encoded, prompts, *, protocol):
        lowest = {}
        for prompt in sorted(prompts, key=lambda prompt: -prompt.key_slice):
            lowest[prompt.object_id] = prompt
        starts = [prompt if prompt.object_id is None else lowest[prompt.object_id] for prompt in prompts]
        return [self.one(encoded, prompt, protocol) for prompt in starts]


class ForgetsTheFirstMask(Correctable):
    def refine(self, encoded, prompts, *, protocol):
        rounds = super().refine(encoded, prompts, protocol=protocol)
        rounds.predictions[0].mask[2] = False
        return rounds


class CorrectsUnasked(Correctable):
    def refine(self, encoded, prompts, *, protocol):
        rounds = super().refine(encoded, prompts, protocol=protocol)
        rounds.correct = lambda _: self.predict(encoded, prompts[::-1], protocol=protocol)
        return rounds


def test_a_right_predictor_passes():
    check_predictor(BoxFiller)
    check_predictor(Correctable)
    check_predictor(TakesSlicesTogether)


class MakesMasks(BoxFiller):
    made_masks = True


def test_every_mode_passes():
    check_predictor(MakesMasks, modes=MODES)


def test_a_mode_that_the_predictor_does_not_take_is_named():
    with pytest.raises(PredictorError, match="predictor box-filler: got the prompt mode box-to-mask, expected one of"):
        check_predictor(BoxFiller, modes=MODES)


def test_a_predictor_of_one_mode_and_protocol_passes():
    class BoxesOnly(BoxFiller):
        def predict(self, encoded, prompts, *, protocol):
            assert protocol == "slicewise"
            assert all(prompt.mode == "box" for prompt in prompts)
            return super().predict(encoded, prompts, protocol=protocol)

    check_predictor(BoxesOnly, modes=["box"], protocols=["slicewise"])
    with pytest.raises(PredictorError, match="predict failed with AssertionError"):
        check_predictor(BoxesOnly)


@pytest.mark.parametrize("protocols", [["slicewise"], pytest.param(PROTOCOLS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["engine", "sam2"])
def test_the_embedded_checkpoint_passes(name, protocols):
    check_predictor(choose(name, device="cpu", precision="fp32"), protocols=protocols)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (SwapsXAndY, r"check_predictor: place \(box, bidirectional\): got no voxel where the prompted object is"),
        (ReadsBoxesAlongX, r"check_predictor: place \(box, bidirectional\): got no voxel"),
        (MirrorsLeftToRight, r"check_predictor: place \(box"),
        (MirrorsFrontToBack, r"check_predictor: place \(box"),
        (Turns, r"check_predictor: place \(box"),
        (Reshapes, r"check_predictor: place \(box"),
        (FindsNothing, r"check_predictor: place \(box, bidirectional\): got no voxel"),
        (FillsAll, r"place \(box.*in the object's place mirrored left to right and \d+ in its own, expected more"),
        (Transposes, r"got a mask of shape \(12, 80, 64\), expected \(12, 64, 80\)"),
        (ReversesSlices, "got a mask on slice 0 for a prompt on slice"),
        (IgnoresProtocols, "got a mask on slice 0 for a prompt on slice 5, expected one on 5 to 11"),
        (GivesNumbers, "got a mask of uint8, expected bool"),
        (Grows, "the same answer twice: got"),
        (FirstPromptOnly, "the same answer (in another order|alone)"),
        (Random, "the same answer (twice|in another order|alone)"),
        (ByMachine, "the same answer by a second predictor: got"),
        (OneVolume, "got no voxel where the prompted object is|the same answer encoded again"),
        (ScalesInPlace, "check_predictor: volume: got changed voxels"),
        (AtLeastOne, "got 1 prediction for 0 prompts, expected one for each"),
        (FailsOnNone, "predict failed with IndexError"),
        (NewIdentity, "check_predictor: identity: got .* from a second predictor"),
        (IdentityOfItsUse, r"got the identity box-filler 1 \(.*\), expected box-filler 0 \(.*\) as at the start"),
        (NumbersAsNotes, r"check_predictor: notes: got \[3\], expected a list of sentences"),
        (
            TakesSlicesApart,
            r"several slices of an object \(forward\): got masks that differ in \d+ voxels for its two prompts",
        ),
        (ForgetsTheFirstMask, r"the same answer before a correction \(bidirectional\): got \d+ other voxels"),
        (CorrectsUnasked, r"the same answer after none \(bidirectional\): got \d+ other voxels"),
        (WithoutNotes, "got a WithoutNotes without notes"),
    ],
)
def test_a_broken_predictor_fails_at_its_check(broken, said):
    with pytest.raises(PredictorError, match=said) as caught:
        check_predictor(broken)
    assert "\n" not in str(caught.value)


def test_the_places_of_the_object_and_of_mistakes_are_apart():
    """Otherwise a right predictor could fail, or a wrong one pass."""
    for index in range(len(CENTRES)):
        truth = testing._scene(index, ["box"]).truth.any(0)
        own = np.zeros_like(truth)
        own[testing._rows_and_columns(truth)] = True
        elsewhere = testing._elsewhere(truth)
        assert len(elsewhere) == 4
        for moved_truth in elsewhere.values():
            assert np.count_nonzero(moved_truth) == np.count_nonzero(truth)
            there = np.zeros_like(truth)
            there[testing._rows_and_columns(moved_truth)] = True
            assert not (own & there).any()
