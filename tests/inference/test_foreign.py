"""Files that are no weights, and weights of other models: each is named, with the way that does judge it."""

import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medsam_core.errors import CheckpointError
from medsam_core.inference.checkpoints import CheckpointFile
from medsam_core.inference.foreign import refuse_foreign_file, refuse_other_models
from medsam_core.inference.model import load_model

OTHER_WAY = (
    "expected weights of SAM 2, SAM 2.1 or MedSAM2; judge it with a program that runs it: --medsam-predictor=command "
    "(docs/adding-a-predictor.md)."
)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_git_lfs_pointer_says_how_to_fetch_the_file(tmp_path, suffix):
    path = tmp_path / f"MedSAM2_latest.{suffix}"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'c9' * 32}\nsize 156040129\n")
    with pytest.raises(CheckpointError) as raised:
        load_model(path)
    assert str(raised.value) == (
        f"checkpoint {path}: got a Git LFS pointer to 156040129 bytes, expected the file itself; fetch it with "
        "`git lfs pull`."
    )


@pytest.mark.parametrize(
    "page",
    [
        "<!doctype html><html><title>wanglab/MedSAM2</title>",
        "\n<!-- a page -->\n<!DOCTYPE HTML PUBLIC>",
        "<html lang='en'>",
    ],
)
def test_a_page_saved_as_weights_is_a_page(tmp_path, page):
    (tmp_path / "w.pt").write_text(page)
    with pytest.raises(CheckpointError, match=r"w\.pt: got an HTML page, expected a .* has /resolve/ where"):
        load_model(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("name", "what"), [("w.onnx", "an ONNX model"), ("w.engine", "a TensorRT engine"), ("w.PT2", "a program of torch")]
)
def test_an_exported_program_is_for_the_predictor_command(tmp_path, name, what):
    (tmp_path / name).write_bytes(b"\x08\x07")
    with pytest.raises(CheckpointError, match=rf"got {what}.*, {re.escape(OTHER_WAY)}$"):
        load_model(tmp_path / name)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_program_is_for_the_predictor_command(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(CheckpointError, match=f"got a TorchScript program, {re.escape(OTHER_WAY)}$"):
        load_model(tmp_path / "w.pt")


def test_a_file_of_weights_is_none_of_these(tmp_path):
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "w.pt")
    refuse_foreign_file(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda _: None, "no such file"),
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.symlink_to(path), "a link that leads back to itself"),
        (lambda path: (path.touch(), os.truncate(path, 17 * 1024**3)), "a file of 17 GiB"),
    ],
)
def test_what_may_not_be_opened_is_refused_before_it_is(make, got, tmp_path):
    path = tmp_path / "w.pt"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        refuse_foreign_file(path)
    assert str(caught.value).startswith(f"{path}: {got}, expected a checkpoint")


# Names from the models' own code: yformer/EfficientTAM, facebookresearch/EdgeTAM, ChaoningZhang/MobileSAM,
# facebookresearch/segment-anything, transformers' SamModel
NAMES = {
    "EfficientTAM": [
        "image_encoder.trunk.patch_embed.proj.weight",
        "image_encoder.trunk.blocks.0.norm1.weight",
        "image_encoder.neck.convs.0.conv_1x1.weight",
        "image_encoder.neck.convs.0.conv_3x3.weight",
        "memory_attention.layers.0.linear1.weight",
    ],
    "EdgeTAM": ["image_encoder.trunk.body.stem_0.c.weight", "spatial_perceiver.latents", "no_mem_embed"],
    "MobileSAM": ["image_encoder.patch_embed.seq.0.c.weight", "mask_decoder.iou_token.weight"],
    "SAM 1 or MedSAM": ["image_encoder.patch_embed.proj.weight", "image_encoder.blocks.0.attn.rel_pos_h"],
    "SAM 1 or MedSAM (transformers)": ["vision_encoder.layers.0.attn.rel_pos_h"],
}


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("form", ["dictionary", "bare", "prefixed", "safetensors"])
def test_weights_of_another_model_are_named(tmp_path, model, form):
    tensors = {name: torch.ones(2) for name in NAMES[model]}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(tensors, path)
    elif form == "prefixed":
        torch.save({"state_dict": {f"module.{name}": value for name, value in tensors.items()}}, path)
    else:
        torch.save({"model": tensors} if form == "dictionary" else tensors, path)
    with pytest.raises(CheckpointError) as raised:
        load_model(path, image_size=512)  # no option makes them run
    named = model.removesuffix(" (transformers)")
    assert str(raised.value) == f"checkpoint {path}: got weights of {named}, {OTHER_WAY}"


def test_what_medical_sam2s_2d_training_saves_is_named(tmp_path, small_model):
    # train_2d.py: {'model': net.state_dict(), 'parameter': net._parameters}; the names are SAM 2's
    torch.save({"model": small_model.module.state_dict(), "parameter": {}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"got weights of Medical-SAM2 \(MedSAM-2 by Zhu et al\., another model"):
        load_model(tmp_path / "w.pth", image_size=1024)


def test_the_published_medical_sam2_is_known_by_its_hash():
    sha256 = "059572b072eff2e41975bf85b0dcca96bc58889db60a89e9f5b1f075236735d7"  # jiayuanz3/MedSAM2_pretrain
    file = CheckpointFile("MedSAM2_pretrain.pth", Path("/nowhere/MedSAM2_pretrain.pth"), sha256)
    with pytest.raises(CheckpointError, match=r"got weights of Medical-SAM2 .*--medsam-predictor=command"):
        refuse_other_models({"no_mem_embed": torch.ones(2)}, file)


def test_sam2_in_its_own_and_in_transformers_names_is_none_of_these(small_model):
    file = CheckpointFile("w.pt", Path("/nowhere/w.pt"), "")
    refuse_other_models({"model": small_model.module.state_dict(), "optimizer": {}}, file)
    names = (Path(__file__).parent / "transformers_names.txt").read_text(encoding="utf-8").splitlines()
    refuse_other_models({line.split()[0]: torch.ones(1) for line in names}, file)
