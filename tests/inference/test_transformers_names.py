"""The table of names without transformers: against the list of names and shapes that transformers 5.24.0 gives."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medsam_core.errors import CheckpointError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.model import build, load_model
from medsam_core.inference.transformers_names import image_size_beside, in_sam2_names
from medsam_core.inference.weights import load_weights

LIST = Path(__file__).parent / "transformers_names.txt"
SHARED = "shared_image_embedding.positional_embedding"
GAUSSIAN = "prompt_encoder.shared_embedding.positional_embedding"


@pytest.fixture(scope="module")
def theirs():
    """A tensor for every name of a `Sam2VideoModel` of tiny size, each with values of its own."""
    torch.manual_seed(0)
    found = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        name, shape = line.split()
        found[name] = torch.randn([int(side) for side in shape.split("x")])
    found[SHARED] = found[GAUSSIAN].clone()
    return found


def config(size, **changes):
    sizes = {
        "image_size": size,
        "prompt_encoder_config": {"image_size": size},
        "vision_config": {"image_size": [size] * 2},
    }
    return json.dumps({"model_type": "sam2_video", **sizes, **changes})


def test_every_name_becomes_one_of_sam2s_with_the_shape_that_sam2_has(theirs):
    wanted = {name: value.shape for name, value in build(ARCHITECTURES["sam2.1-tiny"]).state_dict().items()}
    found = in_sam2_names(theirs, Path("w.safetensors"))
    assert {name: value.shape for name, value in found.items()} == wanted


def test_no_value_is_lost_or_used_twice(theirs):
    found = in_sam2_names(theirs, Path("w.safetensors"))
    sums = sorted(float(value.double().sum()) for name, value in found.items() if "point_embeddings" not in name)
    left_out = {SHARED, "prompt_encoder.point_embed.weight"}
    assert sums == sorted(float(value.double().sum()) for name, value in theirs.items() if name not in left_out)
    rows = [found[f"sam_prompt_encoder.point_embeddings.{row}.weight"] for row in range(4)]
    assert torch.equal(torch.cat(rows), theirs["prompt_encoder.point_embed.weight"])


@pytest.mark.parametrize(
    ("name", "sam2s"),
    [
        ("memory_attention.layers.1.self_attn.o_proj.bias", "memory_attention.layers.1.self_attn.out_proj.bias"),
        ("memory_attention.layers.3.layer_norm3.weight", "memory_attention.layers.3.norm3.weight"),
        (
            "memory_encoder.mask_downsampler.layers.2.layer_norm.weight",
            "memory_encoder.mask_downsampler.encoder.7.weight",
        ),
        ("memory_encoder.mask_downsampler.final_conv.bias", "memory_encoder.mask_downsampler.encoder.12.bias"),
        ("memory_encoder.memory_fuser.layers.1.scale", "memory_encoder.fuser.layers.1.gamma"),
        ("mask_decoder.iou_prediction_head.proj_in.weight", "sam_mask_decoder.iou_prediction_head.layers.0.weight"),
        ("mask_decoder.iou_prediction_head.layers.0.bias", "sam_mask_decoder.iou_prediction_head.layers.1.bias"),
        ("mask_decoder.pred_obj_score_head.proj_out.bias", "sam_mask_decoder.pred_obj_score_head.layers.2.bias"),
        ("object_pointer_proj.layers.0.weight", "obj_ptr_proj.layers.1.weight"),
        ("vision_encoder.backbone.blocks.3.mlp.proj_out.weight", "image_encoder.trunk.blocks.3.mlp.layers.1.weight"),
        ("vision_encoder.neck.convs.2.weight", "image_encoder.neck.convs.2.conv.weight"),
        ("no_memory_positional_encoding", "no_mem_pos_enc"),
    ],
)
def test_names_of_the_same_shape_are_not_confused(theirs, name, sam2s):
    assert in_sam2_names(theirs, Path("w.safetensors"))[sam2s] is theirs[name]


def test_the_position_embedding_may_be_stored_once(theirs):
    without = {name: value for name, value in theirs.items() if name != GAUSSIAN}
    found = in_sam2_names(without, Path("w.safetensors"))
    assert found["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] is theirs[SHARED]
    with pytest.raises(CheckpointError, match=r"w\.safetensors: got two different position embeddings"):
        in_sam2_names(theirs | {SHARED: theirs[SHARED] + 1}, Path("w.safetensors"))


def test_a_model_without_memory_is_sam2model(theirs):
    image_only = {name: value for name, value in theirs.items() if not name.startswith("memory_")}
    with pytest.raises(CheckpointError, match="got weights of transformers' Sam2Model, which has no memory, expected"):
        in_sam2_names(image_only, Path("w.safetensors"))


def test_a_file_is_loaded_with_notes_and_the_image_size_of_its_config(theirs, tmp_path):
    save_file(theirs, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(config(512))
    loaded = load_model(tmp_path / "model.safetensors", device="cpu")
    assert loaded.architecture == ARCHITECTURES["medsam2"]
    assert torch.equal(loaded.module.maskmem_tpos_enc, theirs["memory_temporal_positional_encoding"])
    mapped = "model.safetensors has the names of Hugging Face transformers, which were mapped to sam2's."
    assert loaded.notes == (mapped, "The image size 512 is from the config.json beside model.safetensors.")
    given = load_model(tmp_path / "model.safetensors", device="cpu", image_size=1024)
    assert (given.architecture, given.notes) == (ARCHITECTURES["sam2.1-tiny"], (mapped,))
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"tensors of SAM 2\.1 tiny and MedSAM2 and no image size"):
        load_model(tmp_path / "model.safetensors", device="cpu")


def test_a_prefix_is_left_out_of_these_names_too(theirs, tmp_path):
    torch.save({"state_dict": {f"model.{name}": value for name, value in theirs.items()}}, tmp_path / "w.ckpt")
    found = load_weights(tmp_path / "w.ckpt")
    assert found.transformers
    assert torch.equal(found.state_dict["no_mem_embed"], theirs["no_memory_embedding"])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (config(512), 512),
        (config(1024, model_type="sam2"), 1024),
        (config(512, model_type="vit"), None),
        ("[]", None),
        ('{"model_type": "sam2_video"}', None),
        ('{"model_type": "sam2_video", "image_size": 512.5}', None),
    ],
)
def test_the_image_size_of_a_config(tmp_path, text, size):
    (tmp_path / "config.json").write_text(text)
    assert image_size_beside(tmp_path / "model.safetensors") == size


def test_a_config_that_cannot_be_used_is_one_sentence(tmp_path):
    path = tmp_path / "model.safetensors"
    assert image_size_beside(path) is None
    for text, said in (
        ("{", "got text that is not JSON"),
        ("[" * 100_000, "got JSON that is nested too deep"),
        (config(512, prompt_encoder_config={"image_size": 1024}), "got the image sizes 512, 1024, expected one"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=rf"config\.json: {said}.*give --medsam-image-size\.$"):
            image_size_beside(path)
