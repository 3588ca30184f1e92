"""Weights that transformers saved, against transformers: `tox -e transformers`."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch

if importlib.util.find_spec("transformers") is None:  # not imported here: that would import torchvision
    pytest.skip("needs transformers: tox -e transformers", allow_module_level=True)

from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.model import load_model
from medsam_core.inference.predictor import Predictor
from medsam_core.predictors.sam2_flow import frames_as_medsam2_makes_them
from medsam_core.prompts.prompt import Prompt
from tests.inference import transformers_models

# transformers has 64 in its code, where sam2 has the width of a memory
SMALL = dataclasses.replace(ARCHITECTURES["embedded"], name="small", memory_dim=64)
BOX = Prompt("box", 0, box=(12.0, 14.0, 30.0, 32.0))
POINT = Prompt("point", 0, points=((20.0, 22.0),), point_labels=(1,))  # its mask is the best of three


@pytest.mark.parametrize(
    ("architecture", "size", "slices", "presence", "prompt"),
    [
        (SMALL, 64, 9, 6.0, BOX),
        (SMALL, 96, 6, 6.0, POINT),
        (SMALL, 64, 5, -0.115, BOX),  # the object is absent from some slices
        (ARCHITECTURES["medsam2"], 128, 4, 6.0, BOX),
        (ARCHITECTURES["sam2-tiny"], 128, 4, 6.0, POINT),
        (ARCHITECTURES["sam2.1-base+"], 128, 3, 6.0, BOX),
    ],
    ids=["small box", "small point", "small absent", "medsam2 box", "sam2-tiny point", "sam2.1-base+ box"],
)
def test_logits_are_those_of_transformers(tmp_path, make_volume, architecture, size, slices, presence, prompt):
    architecture = architecture.with_image_size(size)
    theirs = transformers_models.lively_model(architecture, presence=presence)
    theirs.save_pretrained(tmp_path)
    known = {"architecture": architecture} if architecture.name == SMALL.name else {}  # no preset
    ours = load_model(tmp_path / "model.safetensors", device="cpu", precision="fp32", **known)
    assert ours.architecture.image_size == size
    volume = make_volume((slices, 40, 36))
    frames = frames_as_medsam2_makes_them([volume], size)
    expected, scores = transformers_models.tracked(theirs, frames, prompt, volume.shape)
    found = Predictor(ours).predict(volume, prompt, protocol="forward", keep_logits=True)
    there = scores > 0
    assert bool(there.all()) == (presence > 0)
    assert there.any()
    assert expected[there].std(dim=(1, 2)).min() > 0.1, "masks that do not vary would compare nothing"
    assert 0.02 < (expected[there] > 0).float().mean() < 0.98
    difference = np.abs(found.logits - expected.numpy()).max()
    apart = np.abs(found.object_score - scores.numpy()).max()
    print(f"{architecture.name}, {size} px: std {expected[there].std():.2f}, largest difference {difference:.1e}, "
          f"of the object score {apart:.1e}")  # fmt: skip
    assert max(difference, apart) < 1e-4


def test_every_tensor_is_mapped_to_the_value_that_transformers_holds(tmp_path):
    theirs = transformers_models.lively_model(ARCHITECTURES["sam2.1-tiny"])
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path / "model.safetensors", device="cpu", precision="fp32")
    assert ours.architecture == ARCHITECTURES["sam2.1-tiny"]
    assert ours.notes == (
        "model.safetensors has the names of Hugging Face transformers, which were mapped to sam2's.",
        "The image size 1024 is from the config.json beside model.safetensors.",
    )
    assert sum(p.numel() for p in ours.module.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert torch.equal(ours.module.maskmem_tpos_enc, theirs.memory_temporal_positional_encoding)
