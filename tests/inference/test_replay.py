"""Recorded steps and encoders, with a stand-in for the recording, which only CUDA can do: everything else is real."""

import numpy as np
import pytest
import torch

from medsam_core.inference import replay
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.inference.replay import Replayed
from medsam_core.prompts.prompt import Prompt
from tests.inference.test_parity import LONG, assert_equal, prompts_for

CPU = torch.device("cpu")
ONE = torch.ones(3)


def stand_in(call, _device):
    """Repeats the call where a graph would, into the same results, from the arguments' same places."""
    results = [result.clone() for result in call()]

    def again():
        for own, made in zip(results, call(), strict=True):
            own.copy_(made)

    return again, results


def doubled(record=stand_in, plain=lambda x: [2 * x]):
    notes = []
    return Replayed(plain, "doubling", CPU, "fp32", notes, record=record), notes


def test_a_recording_reads_new_arguments_from_its_own_places():
    doubling, notes = doubled()
    first, second = ONE.clone(), 5 * ONE
    assert doubling("s", first)[0].tolist() == [2, 2, 2]  # the plain result
    found = doubling("s", second)[0]
    assert found.tolist() == [10, 10, 10]
    assert first.tolist() == [5, 5, 5]  # what it was recorded with
    assert doubling("s", ONE)[0].data_ptr() == found.data_ptr()
    assert found.tolist() == [2, 2, 2]  # overwritten
    assert notes == []


def test_each_shape_is_recorded_once():
    recorded = []
    doubling, _ = doubled(lambda call, device: recorded.append(device) or stand_in(call, device))
    for size in (3, 4, 3, 4, 3):
        assert doubling(size, torch.ones(size))[0].tolist() == [2] * size
    assert recorded == [CPU, CPU]
    doubling.forget()
    doubling(3, ONE)
    assert len(recorded) == 3


def test_a_recording_that_differs_is_never_used():
    def wrong(call, device):
        again, results = stand_in(call, device)
        return lambda: again() or results[0].add_(1), results

    doubling, notes = doubled(wrong)
    for _ in range(3):
        assert doubling("s", ONE.clone())[0].tolist() == [2, 2, 2]
    assert notes == [
        "doubling: recorded as a CUDA graph for s it differs by 0.5, more than 0.0001; went on without the graph"
    ]


def test_what_cannot_be_recorded_runs_without_and_says_so():
    def failing(_call, _device):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    doubling, notes = doubled(failing)
    for _ in range(2):
        assert doubling("s", ONE)[0].tolist() == [2, 2, 2]
    assert notes == [
        "doubling: not recorded as a CUDA graph (RuntimeError: operation not permitted when stream is capturing)"
    ]


@pytest.fixture
def predictor(small_model, monkeypatch):
    monkeypatch.setattr(replay, "recorded_on_cuda", stand_in)
    return Predictor(small_model, batch_size=32, plan=Plan(fixed=True, replayed=True))


def test_replayed_steps_give_sam2s_masks_in_one_subject_after_another(predictor, small_model, make_volume, oracle):
    """The second subject has more tracks, so wider buffers; the third fewer, which leaves old rows in them."""
    prompts = prompts_for(LONG[0])
    wide = list(prompts.values())
    for seed, asked in enumerate([wide[:2], wide, [prompts["points3, near the end"]]]):
        volume = make_volume(LONG, seed=seed)
        for prediction in predictor.predict(volume, asked, keep_logits=True):
            assert_equal(prediction, oracle(small_model, volume).logits(prediction.prompt))
    assert predictor.notes == []
    assert set(predictor.fixed.run.checks) == {(24, True), (8, True), (8, False)}
    assert None not in predictor.fixed.run.checks.values()
    assert list(predictor._encoder.checks) == [predictor.encoder_batch]


def test_an_exhausted_device_goes_on_with_smaller_buffers(predictor, small_model, make_volume, monkeypatch):
    volume, prompts = make_volume((8, 40, 36)), list(prompts_for(8).values())
    expected = Predictor(small_model).predict(volume, prompts, keep_logits=True)
    memory = predictor.fixed.step.memory

    def crowded(features, *given):
        if len(features) > 8:
            raise torch.OutOfMemoryError
        return memory(features, *given)

    monkeypatch.setattr(predictor.fixed.step, "memory", crowded)
    found = predictor.predict(volume, prompts, keep_logits=True)
    assert predictor.batch_size == 8
    assert len(predictor.fixed._bank.values) == 8
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)


def test_a_halved_encoder_batch_is_recorded_for_its_own_size(predictor, small_model, make_volume, monkeypatch):
    volume, prompt = make_volume((9, 40, 36)), Prompt("box", 4, box=(8, 10, 20, 25))
    expected = Predictor(small_model).predict(volume, prompt, keep_logits=True)
    image = small_model.module.forward_image

    def crowded(images):
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return image(images)

    monkeypatch.setattr(small_model.module, "forward_image", crowded)
    found = predictor.predict(volume, prompt, keep_logits=True)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    assert list(predictor._encoder.checks) == [2]
