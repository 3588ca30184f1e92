import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medsam_core.errors import DataError, DeviceError, OptionError, PromptError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor, load_predictor
from medsam_core.inference.tracking import Tracker
from medsam_core.prompts.prompt import Prompt
from medsam_core.prompts.simulation import simulate

SHAPE = (10, 40, 36)
PROMPTS = [
    Prompt("box", 4, box=(8, 10, 20, 25)),
    Prompt("point", 9, points=((14, 18),)),
    Prompt("box", 0, box=(5, 5, 30, 30)),
]


@pytest.fixture(scope="module")
def volume(make_volume):
    return make_volume(SHAPE)


@pytest.fixture(scope="module")
def expected(small_model, volume):
    return Predictor(small_model, batch_size=16).predict(volume, PROMPTS, keep_logits=True)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.mask, other.mask)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
        np.testing.assert_allclose(one.predicted_iou, other.predicted_iou, atol=1e-5)


def test_a_prediction_has_a_mask_and_scores_for_every_slice(expected):
    for prediction, prompt in zip(expected, PROMPTS, strict=True):
        assert prediction.prompt == prompt
        assert (prediction.mask.shape, prediction.mask.dtype) == (SHAPE, bool)
        assert prediction.logits.shape == (10, 24, 24)
        assert (prediction.predicted_iou.shape, prediction.predicted_iou.dtype) == ((10,), np.float32)
        assert ((prediction.predicted_iou >= 0) & (prediction.predicted_iou <= 1)).all()
        assert np.isfinite(prediction.object_score).all()


def test_untracked_slices_are_empty_and_without_scores(small_model, volume):
    prediction = Predictor(small_model).predict(volume, PROMPTS[0], protocol="forward")
    assert np.isnan(prediction.predicted_iou).tolist() == [True] * 4 + [False] * 6
    assert np.isnan(prediction.object_score).tolist() == [True] * 4 + [False] * 6
    assert not prediction.mask[:4].any()
    assert prediction.logits is None


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_batch_size_changes_nothing(batch_size, plan, small_model, volume, expected):
    predictor = Predictor(small_model, batch_size=batch_size, encoder_batch=batch_size, plan=plan)
    assert_same(predictor.predict(volume, PROMPTS, keep_logits=True), expected)


def test_every_slice_is_encoded_once_for_all_prompts_and_calls(small_model, volume, expected):
    predictor = Predictor(small_model)
    encoded = predictor.encode(volume)
    assert encoded.encoded == 0
    assert_same(predictor.predict(encoded, PROMPTS, keep_logits=True), expected)
    predictor.predict(encoded, PROMPTS[0])
    assert encoded.encoded == 10


@pytest.mark.parametrize(("protocol", "encoded_slices"), [("slicewise", 1), ("forward", 6)])
def test_slices_nobody_asks_for_are_not_encoded(protocol, encoded_slices, small_model, volume):
    predictor = Predictor(small_model)
    encoded = predictor.encode(volume)
    predictor.predict(encoded, PROMPTS[0], protocol=protocol)
    assert encoded.encoded == encoded_slices


def test_equal_prompts_are_tracked_once(small_model, volume, expected, monkeypatch):
    tracked = []
    advance = Tracker.advance
    monkeypatch.setattr(
        Tracker, "advance", lambda self, tracks, first: tracked.extend(tracks) or advance(self, tracks, first)
    )
    twice = [PROMPTS[0], PROMPTS[1], dataclasses.replace(PROMPTS[0]), PROMPTS[2]]
    found = Predictor(small_model, batch_size=16).predict(volume, twice, keep_logits=True)
    assert len(tracked) == 4  # one prompt inside the volume in both directions, two at its ends in one
    assert [prediction.prompt for prediction in found] == twice
    assert_same([found[0], found[1], found[3]], expected)
    assert np.array_equal(found[0].mask, found[2].mask)


def test_prompts_that_differ_in_one_number_are_tracked_apart(small_model, volume):
    drawn = np.zeros(SHAPE[1:], bool)
    drawn[10:20, 10:20] = True
    other = drawn.copy()
    other[20, 10:20] = True
    points = {"points": ((14, 18), (20, 20))}
    prompts = [
        Prompt("mask", 4, mask=drawn),
        Prompt("mask", 4, mask=other),
        Prompt("points3", 4, **points, point_labels=(1, 1)),
        Prompt("points3", 4, **points, point_labels=(1, 0)),
        Prompt("box", 4, box=(8, 10, 20, 25)),
        Prompt("box", 5, box=(8, 10, 20, 25)),
    ]
    found = Predictor(small_model).predict(volume, prompts, protocol="slicewise", keep_logits=True)
    assert len({prediction.logits.tobytes() for prediction in found}) == len(prompts)


def test_blank_slices_are_encoded_once(plan, small_model, volume):
    padded = np.concatenate([np.zeros_like(volume[:2]), volume, np.zeros_like(volume[:3])])
    predictor = Predictor(small_model, plan=plan)
    encoded = predictor.encode(padded)
    prompt = Prompt("box", 6, box=(8, 10, 20, 25))
    found = predictor.predict(encoded, prompt, keep_logits=True)
    assert encoded.encoded == 11
    one_by_one = predictor.encode(padded)
    one_by_one._twins = list(range(len(padded)))
    assert_same([found], [predictor.predict(one_by_one, prompt, keep_logits=True)])
    assert one_by_one.encoded == 15


def test_a_small_budget_encodes_again_and_gives_the_same(plan, small_model, volume, expected):
    predictor = Predictor(small_model, encoder_batch=1, feature_mib=0, plan=plan)
    encoded = predictor.encode(volume)
    assert_same(predictor.predict(encoded, PROMPTS, keep_logits=True), expected)
    assert encoded.encoded > 10
    assert len(encoded.features(range(10))[0]) == 10, "more slices at once than are kept"


def test_filling_encodes_everything_that_fits(small_model, volume):
    encoded = Predictor(small_model).encode(volume)
    encoded.fill()
    assert encoded.encoded == 10


def test_an_exhausted_device_halves_the_batch_and_goes_on(small_model, volume, expected, monkeypatch):
    step = small_model.module._forward_sam_heads

    def crowded(**arguments):
        if len(arguments["backbone_features"]) > 2:
            raise torch.OutOfMemoryError
        return step(**arguments)

    monkeypatch.setattr(small_model.module, "_forward_sam_heads", crowded)
    predictor = Predictor(small_model, batch_size=8)
    assert_same(predictor.predict(volume, PROMPTS, keep_logits=True), expected)
    assert predictor.batch_size == 2
    assert predictor.notes == [f"out of device memory: went on with a batch of {size}" for size in (4, 2)]


def test_a_device_without_room_for_one_says_so(small_model, volume, monkeypatch):
    def full(_images):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(small_model.module, "forward_image", full)
    with pytest.raises(DeviceError, match="no room for a batch of one"):
        Predictor(small_model, encoder_batch=1).predict(volume, PROMPTS[0])


@pytest.fixture(params=[Plan(), Plan(fixed=True)], ids=["growing", "fixed"])
def plan(request):
    """The ways in which tracks advance."""
    return request.param


def _shared(model, volume, plan):
    """Voxels that the masks in fp32 and in bf16 share, and half of the sum of both."""
    prompt = Prompt("box", 2, box=(8, 10, 20, 25))
    exact = Predictor(model).predict(volume, prompt).mask
    fast = Predictor(dataclasses.replace(model, precision="bf16"), plan=plan).predict(volume, prompt).mask
    return np.array([(exact & fast).sum(), (exact.sum() + fast.sum()) / 2])


def test_bf16_masks_agree_with_fp32(plan, small_model, make_lively, make_volume):
    as_medsam2 = dataclasses.replace(
        small_model.architecture, fpn_top_down_levels=ARCHITECTURES["medsam2"].fpn_top_down_levels
    )
    both, voxels = _shared(make_lively(as_medsam2, seed=3), make_volume((5, 40, 36)), plan)
    assert both / voxels >= 0.99


def test_bf16_masks_of_the_embedded_architecture_agree_with_fp32(plan, make_lively, make_volume):
    """Of five models together: of one that draws little a voxel is a large share."""
    both, voxels = sum(_shared(make_lively(seed=seed), make_volume((5, 40, 36)), plan) for seed in range(5))
    assert voxels > 5_000
    assert both / voxels >= 0.995


def test_a_single_prompt_gives_one_prediction_and_none_give_none(small_model, volume):
    predictor = Predictor(small_model)
    assert predictor.predict(volume, []) == []
    assert np.array_equal(
        predictor.predict(volume, PROMPTS[1], protocol="slicewise").mask,
        predictor.predict(volume, [PROMPTS[1]], protocol="slicewise")[0].mask,
    )


def test_three_lines_from_a_file_to_a_mask(small_model, volume, tmp_path):
    metadata = {"architecture": small_model.architecture.to_json()}
    save_file(small_model.module.state_dict(), tmp_path / "w.safetensors", metadata=metadata)
    truth = volume > np.percentile(volume, 90)

    predictor = load_predictor(tmp_path / "w.safetensors", device="cpu")
    (prompt,) = simulate(truth, "box")
    mask = predictor.predict(volume, prompt).mask

    assert mask.shape == truth.shape


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (Prompt("box", 10, box=(0, 0, 1, 1)), "got slice 10, expected one of the volume's 10; use a prompt of this"),
        (Prompt("box", 1, box=(0, 0, 36, 1)), r"got \(x, y\) = \(36, 1\), expected a place within its 36 x 40"),
        (Prompt("point", 1, points=((3, -1),)), r"got \(x, y\) = \(3, -1\)"),
        (Prompt("mask", 1, mask=np.ones((36, 40), bool)), r"a mask of \(36, 40\), expected \(40, 36\)"),
    ],
)
def test_prompts_of_another_volume_are_refused(prompt, said, small_model, volume):
    with pytest.raises(PromptError, match=said):
        Predictor(small_model).predict(volume, prompt)


def test_wrong_protocols_volumes_and_encodings(small_model, volume, make_lively):
    predictor = Predictor(small_model)
    with pytest.raises(OptionError, match="protocol: got 'backward', expected one of bidirectional, forward"):
        predictor.predict(volume, PROMPTS, protocol="backward")
    with pytest.raises(DataError, match=r"got shape \(40, 36\), expected \(D, H, W\)"):
        predictor.predict(volume[0], PROMPTS)
    with pytest.raises(OptionError, match="encoded by another model"):
        Predictor(make_lively(seed=5)).predict(predictor.encode(volume), PROMPTS)
