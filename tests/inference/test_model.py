import json
from collections.abc import Mapping, Sequence

import pytest
import torch
from safetensors.torch import save_file

from medsam_core.errors import CheckpointError, DeviceError, OptionError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.devices import resolve_device, resolve_precision
from medsam_core.inference.model import build, load_model

SAM2_CONFIGS = {
    "sam2-tiny": "configs/sam2/sam2_hiera_t.yaml",
    "sam2.1-tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "sam2.1-small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "sam2-base+": "configs/sam2/sam2_hiera_b+.yaml",
    "sam2.1-large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}
SLOW = ("sam2.1-small", "sam2-base+", "sam2.1-large")


def settings(model):
    """Every plain attribute of every module: what the configuration decided, without the weights."""
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


SMALL = ARCHITECTURES["embedded"].with_image_size(128)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return build(SMALL)


@pytest.fixture
def small_file(small, tmp_path):
    save_file(small.state_dict(), tmp_path / "w.safetensors", metadata={"architecture": SMALL.to_json()})
    return tmp_path / "w.safetensors"


def test_a_model_loads_with_its_architecture_weights_and_hash(small, small_file):
    torch.manual_seed(3)
    expected_next = torch.rand(1)
    torch.manual_seed(3)
    loaded = load_model(small_file, device="cpu")
    assert torch.rand(1) == expected_next, "loading leaves the random state be"
    assert (loaded.architecture, loaded.precision, loaded.device.type, loaded.notes) == (SMALL, "fp32", "cpu", ())
    assert not loaded.module.training
    theirs = small.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in loaded.module.state_dict().items())
    assert len(loaded.checkpoint.sha256) == 64


def test_options_override_what_was_recognised(small, tmp_path):
    torch.save({"model": small.state_dict()}, tmp_path / "w.pt")
    assert load_model(tmp_path / "w.pt", architecture="embedded").architecture.image_size == 320
    assert load_model(tmp_path / "w.pt", image_size=192).module.image_size == 192
    assert load_model(tmp_path / "w.pt", architecture=SMALL).module.image_size == 128
    with pytest.raises(CheckpointError, match="and no image size, expected the one they were trained for"):
        load_model(tmp_path / "w.pt")
    with pytest.raises(OptionError, match="image size: got 100"):
        load_model(tmp_path / "w.pt", image_size=100)
    with pytest.raises(OptionError, match="architecture: got 'big'"):
        load_model(tmp_path / "w.pt", architecture="big")


def test_weights_of_another_architecture_name_their_keys(small, tmp_path):
    state_dict = dict(small.state_dict())
    del state_dict["no_mem_embed"]
    state_dict["extra"] = torch.zeros(1)
    state_dict["no_obj_ptr"] = torch.zeros(1, 7)
    torch.save({"model": state_dict}, tmp_path / "w.pt")
    with pytest.raises(
        CheckpointError,
        match=r"w\.pt: got tensors that do not fit embedded: 1 missing \(no_mem_embed\); 1 unexpected \(extra\); "
        r"1 of another shape \(no_obj_ptr\); expected exactly its \d+; give the --medsam-architecture",
    ):
        load_model(tmp_path / "w.pt", image_size=320)
    with pytest.raises(CheckpointError, match=r"do not fit medsam2: \d+ missing \(.* more\)"):
        load_model(tmp_path / "w.pt", architecture="medsam2")


def test_devices_and_precisions(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    for wrong, said in (("tpu", "'tpu', expected auto, cpu, cuda or cuda:N"), ("cuda", "torch sees 0 CUDA devices")):
        with pytest.raises(DeviceError, match=said):
            resolve_device(wrong)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="got cuda:2 where torch sees 2"):
        resolve_device("cuda:2")
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [resolve_precision(word, cpu) for word in ("auto", "fp32", "bf16")] == ["fp32", "fp32", "bf16"]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert [resolve_precision(word, cuda) for word in ("auto", "fp32", "bf16")] == ["bf16", "fp32", "bf16"]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "T4")
    assert resolve_precision("auto", cuda) == "fp32"
    with pytest.raises(DeviceError, match="got bf16 on T4"):
        resolve_precision("bf16", cuda)
    with pytest.raises(DeviceError, match="'fp16', expected one of auto, fp32, bf16"):
        resolve_precision("fp16", cpu)


@pytest.mark.parametrize(("field", "value"), [("q_pool", 9), ("memory_attention_heads", 3)])
def test_an_architecture_that_sam2_cannot_build_is_one_sentence(small, tmp_path, field, value):
    stored = json.dumps(json.loads(SMALL.to_json()) | {field: value})
    save_file(small.state_dict(), tmp_path / "w.safetensors", metadata={"architecture": stored})
    with pytest.raises(CheckpointError, match="got an architecture in its metadata that cannot be built"):
        load_model(tmp_path / "w.safetensors")
