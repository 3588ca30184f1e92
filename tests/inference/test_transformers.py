"""Weights that transformers saved, against transformers: `tox -e transformers`."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch

if importlib.util.find_spec("transformers") is None:  # not imported here: that would import torchvision
    pytest.skip("needs transformers: tox -e transformers", allow_module_level=True)

from benchmarks.sam2_flow import frames_as_medsam2_makes_them
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.model import load_model
from medsam_core.inference.predictor import Predictor
from medsam_core.prompts.prompt import Prompt
from tests.inference import transformers_models

# transformers has 64 in its code, where sam2 has the width of a memory
SMALL = dataclasses.replace(ARCHITECTURES["embedded"], name="small", memory_dim=64)
BOX = (12.0, 14.0, 30.0, 32.0)


@pytest.mark.parametrize(
    ("architecture", "size", "slices"),
    [
        (SMALL, 64, 9),
        (SMALL, 96, 9),
        (ARCHITECTURES["medsam2"], 128, 4),
        (ARCHITECTURES["sam2-tiny"], 128, 4),
        (ARCHITECTURES["sam2.1-base+"], 128, 3),
    ],
    ids=["small at 64", "small at 96", "medsam2 at 128", "sam2-tiny at 128", "sam2.1-base+ at 128"],
)
def test_logits_are_those_of_transformers(tmp_path, make_volume, architecture, size, slices):
    architecture = architecture.with_image_size(size)
    theirs = transformers_models.lively_model(architecture)
    theirs.save_pretrained(tmp_path)
    known = {"architecture": architecture} if architecture.name == SMALL.name else {}  # no preset
    ours = load_model(tmp_path / "model.safetensors", device="cpu", precision="fp32", **known)
    assert ours.architecture.image_size == size
    volume = make_volume((slices, 40, 36))
    frames = frames_as_medsam2_makes_them(volume, size)
    expected = transformers_models.logits_by_box(theirs, frames, BOX, volume.shape)
    found = Predictor(ours).predict(volume, Prompt("box", 0, box=BOX), protocol="forward", keep_logits=True)
    assert expected.std(dim=(1, 2)).min() > 1e-2, "masks that do not vary would compare nothing"
    assert 0.02 < (expected > 0).float().mean() < 0.98
    difference = np.abs(found.logits - expected.numpy()).max()
    print(f"{architecture.name} at {size} px: std {expected.std():.2f}, largest difference {difference:.1e}")
    assert difference < 1e-4


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
