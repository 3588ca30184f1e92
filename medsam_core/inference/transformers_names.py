"""Weights of Hugging Face transformers' `Sam2VideoModel` under sam2's names. Neither torch nor transformers.

The values are the same; only four embeddings of points are one tensor there. The table was written from the names of
both models; tests compare it with a list of transformers' names, `tox -e transformers` with transformers itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core import decoding
from medsam_core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

PATCH = "vision_encoder.backbone.patch_embed.projection.weight"
"""A tensor that every such model has."""

# applied in this order, each to the result of those before it
_TABLE = (
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^vision_encoder\.backbone\.patch_embed\.projection\.", "image_encoder.trunk.patch_embed.proj."),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
    (r"^(memory_encoder\.fuser\..*)\.scale$", r"\1.gamma"),
    (r"\.layer_norm", ".norm"),
    (r"\.o_proj\.", ".out_proj."),
)
_POINTS = "sam_prompt_encoder.point_embed.weight"
_GAUSSIAN = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_SHARED = "shared_image_embedding.positional_embedding"  # the same matrix again
_MEMORY = "memory_encoder.feature_projection.weight"
_DOWNSAMPLER = re.compile(r"^(memory_encoder\.mask_downsampler)\.(?:layers\.(\d+)\.(conv|norm)|final_conv)\.(.*)$")
_MLP = re.compile(r"^(.*)\.(?:(proj_in|proj_out)|layers\.(\d+))\.(weight|bias)$")
_MODEL_TYPES = ("sam2_video", "sam2")


def is_transformers(names: Iterable[str]) -> bool:
    """Whether these are the names of transformers' SAM 2."""
    return PATCH in names


def in_sam2_names(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The tensors under sam2's names; a name that the table does not know stays.

    Raises CheckpointError if the file is of `Sam2Model`, which has no memory, or if it does not fit sam2's model.
    """
    if _MEMORY not in tensors:
        raise CheckpointError(
            f"checkpoint {path}: got weights of transformers' Sam2Model, which has no memory, expected those of "
            "Sam2VideoModel; save that model."
        )
    renamed: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        if name == _SHARED:
            continue
        for pattern, replacement in _TABLE:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    shared = tensors.get(_SHARED)
    own = renamed.get(_GAUSSIAN)
    if own is None and shared is not None:
        renamed[_GAUSSIAN] = shared
    elif own is not None and shared is not None and (own.shape != shared.shape or bool((own != shared).any())):
        raise CheckpointError(
            f"checkpoint {path}: got two different position embeddings for the image and for prompts, expected the "
            f"same values in {_SHARED} as in the prompt encoder, as sam2 has only one; save a model whose two are tied."
        )
    hidden = _hidden_layers(renamed)
    levels = len({match[2] for name in renamed if (match := _DOWNSAMPLER.match(name)) and match[2]})
    found = {_numbered(name, hidden, levels): value for name, value in renamed.items() if name != _POINTS}
    points = renamed.get(_POINTS)
    for row in range(len(points) if points is not None and points.ndim else 0):
        found[f"sam_prompt_encoder.point_embeddings.{row}.weight"] = renamed[_POINTS][row : row + 1]
    return found


def _hidden_layers(names: Iterable[str]) -> dict[str, int]:
    """How many layers there are between the first and the last one of each MLP."""
    parts = [match for name in names if (match := _MLP.match(name)) and match[4] == "weight"]
    hidden = {match[1]: 0 for match in parts if match[2]}
    for match in parts:
        if match[3] and match[1] in hidden:
            hidden[match[1]] += 1
    return hidden


def _numbered(name: str, hidden: Mapping[str, int], levels: int) -> str:
    """The name with the layers of MLPs and of the mask's downsampling numbered as in sam2."""
    if match := _DOWNSAMPLER.match(name):
        number = 3 * levels if match[2] is None else 3 * int(match[2]) + (match[3] == "norm")
        return f"{match[1]}.encoder.{number}.{match[4]}"
    match = _MLP.match(name)
    if match is None or match[1] not in hidden:
        return name
    numbers = {"proj_in": 0, "proj_out": hidden[match[1]] + 1, None: int(match[3] or 0) + 1}
    return f"{match[1]}.layers.{numbers[match[2]]}.{match[4]}"


def image_size_beside(path: Path) -> int | None:
    """The image size in the config.json that transformers writes beside the weights, None if it is not given there.

    Raises CheckpointError if the file cannot be read as JSON, or if it gives several sizes.
    """
    file = path.with_name("config.json")
    if not file.is_file():
        return None
    fix = "correct it, or give --medsam-image-size"
    content = decoding.read_content(file, what="transformers' configuration", error=CheckpointError, fix=fix)
    try:
        config = decoding.parse(content)
    except decoding.Malformed as problem:
        raise CheckpointError(f"{file}: {problem}, expected transformers' configuration; {fix}.") from None
    if not isinstance(config, dict) or config.get("model_type") not in _MODEL_TYPES:
        return None
    sizes = set(_sizes(config))
    if len(sizes) > 1:
        raise CheckpointError(
            f"{file}: got the image sizes {', '.join(map(str, sorted(sizes)))}, expected one; give --medsam-image-size."
        )
    return next(iter(sizes), None)


def _sizes(config: Mapping[str, Any]) -> list[int]:
    """Every whole number under the key image_size, of whichever part of the model."""
    found = []
    for key, value in config.items():
        if key == "image_size":
            found += [one for one in (value if isinstance(value, list) else [value]) if type(one) is int]
        elif isinstance(value, dict):
            found += _sizes(value)
    return found
