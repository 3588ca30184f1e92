"""Many slices under a budget for far fewer: every slice is tracked, and the result is that of room for all."""

import dataclasses

import numpy as np
import pytest
import torch

from medsam_core.inference.architectures import architecture_named
from medsam_core.inference.checkpoints import CheckpointFile
from medsam_core.inference.model import LoadedModel, build
from medsam_core.inference.predictor import Predictor
from medsam_core.prompts.prompt import Prompt


def prompts_for(depth):
    """They meet half-way: what one track leaves behind, another comes to when it has long been dropped."""
    return [
        Prompt("box", depth // 4, box=(4, 4, 18, 18)),
        Prompt("point", depth * 7 // 10, points=((12.0, 11.0),)),
    ]


@pytest.fixture(scope="module")
def model():
    """The embedded architecture with as little in it as it runs with: steps cost little, there are many."""
    architecture = dataclasses.replace(
        architecture_named("embedded").with_image_size(32),
        d_model=32,
        memory_dim=16,
        memory_attention_layers=1,
        memory_attention_feedforward=32,
        fuser_layers=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = build(architecture)
    return LoadedModel(
        module, architecture, CheckpointFile("made-up", "/nowhere", "0" * 64), torch.device("cpu"), "fp32"
    )


def upsampled(logits, size):
    """(D, s, s) float32 to (D, H, W), as masks are made of them."""
    logits = torch.from_numpy(logits)[:, None]
    return torch.nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()


@pytest.mark.parametrize("depth", [90, pytest.param(600, marks=pytest.mark.slow)])
def test_many_slices_under_a_budget_for_sixteen(model, depth):
    volume = np.random.default_rng(4).integers(1, 1000, (depth, 24, 24)).astype(np.float32)
    prompts = prompts_for(depth)
    roomy, tight = Predictor(model), Predictor(model, feature_mib=0)
    everything, little = roomy.encode(volume), tight.encode(volume)

    expected = roomy.predict(everything, prompts, keep_logits=True)
    found = tight.predict(little, prompts, keep_logits=True)

    assert everything.encoded == depth
    assert little.encoded > depth, "slices that were dropped are encoded again"
    assert len(little.features([0])[0]) == 1
    for one, other in zip(found, expected, strict=True):
        assert np.isfinite(one.predicted_iou).all(), "a slice that was not tracked"
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
        assert one.mask.shape == volume.shape
        # the same voxels, but for those whose logit is 0 up to rounding
        assert not (one.mask != other.mask)[np.abs(upsampled(other.logits, volume.shape[1:])) > 1e-5].any()
    assert len({one.predicted_iou.tobytes() for one in found}) == 2
