"""The engine against sam2's own video predictor in MedSAM2's flow, on the same made-up weights."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.prompts.prompt import Prompt

TOLERANCE = 1e-4  # of a logit, in fp32
# sam2 makes the prompted slice's mask binary for its memory: where a logit is as near to 0 as this, rounding decides,
# and the memories of one pixel more or less differ by 0.1
UNDECIDED = 2e-5
WAYS = {"growing": Plan(), "fixed": Plan(fixed=True), "narrow": Plan(fixed=True, narrow_values=True)}
LONG = (26, 40, 36)  # more slices than the 7 memories and 16 pointers reach back

DRAWN = np.zeros(LONG[1:], bool)
DRAWN[10:25, 8:20] = True
BOX = (8.0, 10.0, 19.5, 24.0)
POINT = ((14.0, 18.0),)
DIAMETER = ((9.0, 11.0), (11.0, 14.0), (13.0, 17.0), (15.0, 20.0), (17.0, 23.0))
POINTS3 = (*POINT, (10.0, 12.0), (20.0, 22.0))


def prompts_for(depth):
    first, middle, last = 0, depth // 2, depth - 1
    return {
        "box, first": Prompt("box", first, box=BOX),
        "box, middle": Prompt("box", middle, box=BOX),
        "box, last": Prompt("box", last, box=BOX),
        "point, first": Prompt("point", first, points=POINT),
        "point, middle": Prompt("point", middle, points=POINT),
        "point, last": Prompt("point", last, points=POINT),
        "points3, near the end": Prompt("points3", max(last - 4, 0), points=POINTS3, point_labels=(1, 1, 0)),
        "box+point, near the start": Prompt("box+point", min(2, last), box=BOX, points=POINT),
        "mask, off the middle": Prompt("mask", min(middle + 3, last), mask=DRAWN),
        "box-to-mask, middle": Prompt("box-to-mask", middle, box=BOX),
        "recist, near the start": Prompt("recist", min(2, last), points=DIAMETER),
    }


def assert_equal(prediction, expected):
    """expected: (D, H, W) logits of sam2, NaN where not tracked."""
    seen = ~np.isnan(expected[:, 0, 0])
    assert np.flatnonzero(seen).tolist() == list(prediction.slices)
    assert not prediction.mask[~seen].any()
    logits = torch.from_numpy(prediction.logits)[:, None]
    mine = interpolate(logits, size=expected.shape[1:], mode="bilinear", align_corners=False)[:, 0].numpy()
    assert np.abs(mine - expected[seen]).max() <= TOLERANCE
    # a logit within rounding of 0 may fall on either side; every other voxel is the same
    assert (np.abs(expected[prediction.mask != (expected > 0)]) <= TOLERANCE).all()


def assert_lively(prediction):
    assert 0.02 < prediction.mask.mean() < 0.98
    assert prediction.logits.std() > 0.3


@pytest.fixture(scope="module")
def long_volume(make_volume):
    return make_volume(LONG)


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    """How the tracks advance: as on a CPU, or as on a GPU."""
    return WAYS[request.param]


@pytest.fixture(scope="module")
def together(small_model, long_volume, way):
    """Every prompt at once, both directions, in one batch."""
    prompts = prompts_for(LONG[0])
    predictor = Predictor(small_model, batch_size=32, plan=way)
    found = predictor.predict(long_volume, list(prompts.values()), keep_logits=True)
    return dict(zip(prompts, found, strict=True))


@pytest.fixture(scope="module")
def expected(small_model, long_volume, oracle):
    """(name of a prompt) -> sam2's logits, computed once for all ways."""
    flow, prompts = oracle(small_model, long_volume), prompts_for(LONG[0])
    return functools.cache(lambda which: flow.logits(prompts[which]))


@pytest.mark.parametrize("which", prompts_for(LONG[0]))
def test_one_batch_of_every_prompt_equals_sam2s_predictor_one_by_one(which, together, expected):
    assert_lively(together[which])
    assert_equal(together[which], expected(which))


@pytest.mark.parametrize("limit", ["num_maskmem", "max_obj_ptrs_in_encoder"])
def test_the_comparison_would_notice_a_memory_one_slice_shorter(
    limit, together, way, small_model, long_volume, monkeypatch
):
    monkeypatch.setattr(small_model.module, limit, getattr(small_model.module, limit) - 1)
    predictor = Predictor(small_model, plan=way)
    prediction = predictor.predict(long_volume, prompts_for(LONG[0])["box, first"], keep_logits=True)
    assert np.abs(prediction.logits - together["box, first"].logits).max() > 10 * TOLERANCE


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_volumes_of_few_slices(depth, way, small_model, make_volume, oracle):
    volume = make_volume((depth, 40, 36))
    prompts = [p for name, p in prompts_for(depth).items() if depth > 1 or "first" in name or "mask" in name]
    reference = oracle(small_model, volume)
    for prediction in Predictor(small_model, plan=way).predict(volume, prompts, keep_logits=True):
        assert_equal(prediction, reference.logits(prediction.prompt))


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_several_heads(heads, way, make_lively, make_volume, oracle):
    """With eight, a head's keys are narrower than a memory."""
    architecture = ARCHITECTURES["embedded"].with_image_size(64)
    model = make_lively(dataclasses.replace(architecture, memory_attention_heads=heads))
    volume = make_volume((12, 40, 36))
    prompts = [prompts_for(12)[name] for name in ("box, middle", "point, first")]
    for prediction in Predictor(model, plan=way).predict(volume, prompts, keep_logits=True):
        assert_lively(prediction)
        assert_equal(prediction, oracle(model, volume).logits(prediction.prompt))


def test_forward_tracks_from_the_key_slice_on(way, small_model, long_volume, oracle):
    volume = long_volume[:9]
    prompts = [prompts_for(9)[name] for name in ("box, first", "point, middle")]
    found = Predictor(small_model, plan=way).predict(volume, prompts, protocol="forward", keep_logits=True)
    for prediction in found:
        assert_equal(prediction, oracle(small_model, volume).logits(prediction.prompt, "forward"))
        assert not prediction.mask[: prediction.prompt.key_slice].any()


def test_slicewise_is_the_prompted_slice_alone(together, small_model, long_volume):
    prompts = list(prompts_for(LONG[0]).values())
    found = Predictor(small_model).predict(long_volume, prompts, protocol="slicewise", keep_logits=True)
    for prediction, tracked in zip(found, together.values(), strict=True):
        key = prediction.prompt.key_slice
        assert list(prediction.slices) == [key]
        np.testing.assert_allclose(prediction.logits[0], tracked.logits[key], atol=TOLERANCE)
        assert np.array_equal(prediction.mask[key], tracked.mask[key])
        assert prediction.mask.sum() == prediction.mask[key].sum()


def test_sam2s_newer_predictor_agrees_too(together, small_model, long_volume, oracle):
    prediction = together["point, middle"]
    assert_equal(prediction, oracle(small_model, long_volume, legacy=False).logits(prediction.prompt))


def test_objects_that_come_and_go(way, make_lively, make_volume, oracle):
    model, volume = make_lively(seed=3, presence=1.05), make_volume((12, 40, 36))
    prompts = [prompts_for(12)[name] for name in ("box, middle", "mask, off the middle")]
    found = Predictor(model, plan=way).predict(volume, prompts, keep_logits=True)
    scores = np.concatenate([prediction.object_score for prediction in found])
    assert (scores > 0).any()
    assert (scores < 0).any()
    for prediction in found:
        assert_equal(prediction, oracle(model, volume).logits(prediction.prompt))
        gone = prediction.object_score <= 0
        assert (prediction.logits[gone] == -1024).all()


def test_sam2_of_july_2024(way, make_lively, make_volume, oracle):
    old = ARCHITECTURES["sam2-tiny"]
    flags = ("no_obj_embed_spatial", "add_tpos_enc_to_obj_ptrs", "proj_tpos_enc_in_obj_ptrs")
    small = dataclasses.replace(
        ARCHITECTURES["embedded"].with_image_size(64),
        use_signed_tpos_enc_to_obj_ptrs=False,
        **{flag: getattr(old, flag) for flag in flags},
    )
    model, volume = make_lively(small), make_volume((9, 40, 36))
    prediction = Predictor(model, plan=way).predict(volume, prompts_for(9)["box, middle"], keep_logits=True)
    assert_lively(prediction)
    assert_equal(prediction, oracle(model, volume).logits(prediction.prompt))


def moved(prompt, by):
    """The prompt some pixels to the right."""
    box = prompt.box and (prompt.box[0] + by, prompt.box[1], prompt.box[2] + by, prompt.box[3])
    return dataclasses.replace(prompt, box=box, points=tuple((x + by, y) for x, y in prompt.points))


def decided(model, volume, prompts):
    """The first of the prompts that has no logit near 0 in the mask that becomes a memory."""
    size = (model.architecture.image_size,) * 2
    for prediction in Predictor(model).predict(volume, prompts, protocol="slicewise", keep_logits=True):
        logits = torch.from_numpy(prediction.logits)[:, None]
        if interpolate(logits, size=size, mode="bilinear", align_corners=False).abs().min() > UNDECIDED:
            return prediction.prompt
    raise AssertionError(f"each of {len(prompts)} prompts has a logit within {UNDECIDED} of 0")


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("which", ["box, middle", "point, first", "mask, off the middle"])
@pytest.mark.parametrize("plan", [Plan(), Plan(fixed=True)], ids=["growing", "fixed"])
def test_medsam2_at_full_size(which, threads, plan, make_lively, make_volume, oracle):
    model, volume = make_lively(ARCHITECTURES["medsam2"], seed=0), make_volume((4, 240, 240))
    prompt = prompts_for(4)[which]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        if prompt.mask is not None:
            prompt = Prompt("mask", 3, mask=np.pad(DRAWN, ((50, 150), (60, 144))))
        else:
            prompt = decided(model, volume, [moved(prompt, 2.0 * by) for by in range(64)])
        prediction = Predictor(model, plan=plan).predict(volume, prompt, keep_logits=True)
        assert_equal(prediction, oracle(model, volume).logits(prompt))
    finally:
        torch.set_num_threads(before)
