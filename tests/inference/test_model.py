from collections.abc import Mapping, Sequence

import pytest
import torch

from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.model import build

SAM2_CONFIGS = {
    "sam2-tiny": "configs/sam2/sam2_hiera_t.yaml",
    "sam2.1-tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "sam2.1-small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "sam2-base+": "configs/sam2/sam2_hiera_b+.yaml",
    "sam2.1-large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}
SLOW = ("sam2.1-small", "sam2-base+", "sam2.1-large")


def settings(model):
    """Every plain attribute of every module: what the configuration decided beside the weights."""
    found = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Sequence) and not isinstance(value, str):
                value = tuple(value)  # sam2's own come as omegaconf's lists
            elif isinstance(value, Mapping) and key == "sam_mask_decoder_extra_args":
                value = dict(value)
            if isinstance(value, bool | int | float | str | tuple | dict | None) and not key.startswith("_"):
                found[name, key] = value
    return {key: value for key, value in found.items() if key[1] != "cache"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SAM2_CONFIGS]
)
def test_presets_are_what_sam2_builds_from_its_own_configuration(name):
    from sam2.build_sam import build_sam2

    binarize = ["++model.binarize_mask_from_pts_for_mem_enc=true"]
    theirs = build_sam2(SAM2_CONFIGS[name], device="cpu", hydra_overrides_extra=binarize)
    ours = build(ARCHITECTURES[name])
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours_settings, theirs_settings = settings(ours), settings(theirs)
    assert ours_settings.keys() == theirs_settings.keys()
    assert {k: v for k, v in ours_settings.items() if v != theirs_settings[k]} == {}


@pytest.mark.parametrize("size", [128, 192, 256])
def test_the_embedded_architecture_builds_and_trains_at_small_image_sizes(size):
    model = build(ARCHITECTURES["embedded"].with_image_size(size))
    assert not model.training
    out = model.train().forward_image(torch.rand(1, 3, size, size))
    assert [f.shape[-1] for f in out["backbone_fpn"]] == [size // 4, size // 8, size // 16]
    out["vision_features"].sum().backward()
    assert model.image_encoder.trunk.patch_embed.proj.weight.grad is not None


def test_the_embedded_architecture_has_some_four_million_parameters():
    parameters = sum(p.numel() for p in build(ARCHITECTURES["embedded"]).parameters())
    assert 3.5e6 < parameters < 4.5e6


def test_a_cpu_model_never_touches_cuda_though_a_gpu_seems_to_exist(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model = build(ARCHITECTURES["embedded"].with_image_size(128))
    tables = [m.freqs_cis for m in model.modules() if hasattr(m, "freqs_cis")]
    assert len(tables) == 4
    assert all(table.device.type == "cpu" and table.shape == (64, 64) for table in tables)
