"""Recognise the architecture and the image size of weights. No torch.

The tensors distinguish SAM 2 from 2.1, and the sizes of the trunk, but not the image size: the same tensors run at 512
and at 1024. A wrong image size would not fail, it would give scores. So it is never guessed: it is known from the
file's metadata, from its hash, or from the user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from itertools import groupby
from typing import TYPE_CHECKING

from medsam_core.errors import CheckpointError
from medsam_core.inference.architectures import ARCHITECTURES, Architecture
from medsam_core.inference.published import NAMES, published_as
from medsam_core.inference.state_dicts import PATCH
from medsam_core.inference.transformers_names import image_size_beside
from medsam_core.inference.weights import Weights

if TYPE_CHECKING:
    import torch

_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.norm2\.weight")
_SAM21_KEY = "obj_ptr_tpos_proj.weight"

# fields of an architecture that decide how much memory its model takes: the tensor and the axis where each is seen
_SEEN_IN: dict[str, tuple[str, int]] = {
    "embed_dim": (PATCH, 0),
    "d_model": ("no_mem_embed", 2),
    "num_maskmem": ("maskmem_tpos_enc", 0),
    "memory_dim": ("maskmem_tpos_enc", 3),
    "memory_attention_feedforward": ("memory_attention.layers.0.linear1.weight", 0),
    "fuser_kernel": ("memory_encoder.fuser.layers.0.dwconv.weight", 2),
}
_BACKGROUND = "image_encoder.trunk.pos_embed"
_COUNTED = {
    "memory_attention_layers": re.compile(r"memory_attention\.layers\.\d+\.linear1\.weight"),
    "fuser_layers": re.compile(r"memory_encoder\.fuser\.layers\.\d+\.dwconv\.weight"),
}


def recognise(
    weights: Weights, *, image_size: int | None = None, name: str | None = None
) -> tuple[Architecture, tuple[str, ...]]:
    """(architecture, notes on where its image size is from).

    image_size: as the user gave it, in pixels; a multiple of 32. name: the preset that the user named.
    The sources, in this order: the user; "architecture" in the file's metadata; the published file that has this hash
    or that was downloaded by name; the tensors, which do not say the image size. That is then read from the config.json
    beside weights of transformers. Raises CheckpointError if the tensors belong to no known architecture,
    or if the image size is not known; OptionError for an unusable image size.
    """
    notes: tuple[str, ...] = ()
    known = weights.file.published or published_as(weights.file.sha256)
    if name is not None:
        found = ARCHITECTURES[name]
        if image_size is None and not (known and NAMES[known].architecture == name):
            notes = (f"The image size {found.image_size} is that of the architecture {name}, which was given by name.",)
    elif "architecture" in weights.metadata:
        found = Architecture.from_json(weights.metadata["architecture"])
        _check_sizes(found, weights)
    elif known:
        found = ARCHITECTURES[NAMES[known].architecture]
    else:
        found = by_tensors(weights.state_dict, str(weights.file.path))
        if image_size is None and weights.transformers:
            image_size = image_size_beside(weights.file.path)
            notes = (f"The image size {image_size} is from the config.json beside {weights.file.name}.",)
        if image_size is None:
            raise _size_unknown(found, weights)
        if found == ARCHITECTURES["sam2.1-tiny"] and image_size == ARCHITECTURES["medsam2"].image_size:
            found = ARCHITECTURES["medsam2"]
    return (found if image_size is None else found.with_image_size(image_size)), notes


def _size_unknown(found: Architecture, weights: Weights) -> CheckpointError:
    fits = "SAM 2.1 tiny and MedSAM2" if found.name == "sam2.1-tiny" else found.name
    own = ARCHITECTURES["embedded"]
    usual = "=512 (MedSAM2 and models trained from it) or --medsam-image-size=1024 (SAM 2 and 2.1)"
    if found.name == own.name:
        usual = f"={own.image_size} (the embedded checkpoint)"
    return CheckpointError(
        f"checkpoint {weights.file.path}: got tensors of {fits} and no image size, expected the one they were trained "
        f"for (they run at any, with other scores); give --medsam-image-size{usual}."
    )


def by_tensors(tensors: Mapping[str, torch.Tensor], path: str) -> Architecture:
    """The preset with this trunk. Its image size is only the usual one. Raises CheckpointError if there is none."""
    if PATCH not in tensors or tensors[PATCH].ndim != 4:
        raise CheckpointError(
            f"checkpoint {path}: got tensors such as {', '.join(list(tensors)[:3])}, expected those of SAM 2 "
            f"({PATCH}); use a SAM 2, SAM 2.1 or MedSAM2 checkpoint, or --medsam-predictor=command for another model."
        )
    found = tensors[PATCH].shape[0], _stages(tensors), _SAM21_KEY in tensors
    for known in ARCHITECTURES.values():
        if found == (known.embed_dim, known.stages, known.proj_tpos_enc_in_obj_ptrs):
            return known
    raise CheckpointError(
        f"checkpoint {path}: got a trunk of width {found[0]} with stages {found[1]} of SAM 2{'.1' if found[2] else ''},"
        f" expected one of {', '.join(ARCHITECTURES)}; store its architecture in the file's metadata."
    )


def _stages(tensors: Mapping[str, torch.Tensor]) -> tuple[int, ...]:
    """How many blocks of the trunk have the same width, from the first to the last."""
    depths = {
        int(match[1]): len(value) for key, value in tensors.items() if value.ndim and (match := _BLOCK.fullmatch(key))
    }
    return tuple(len(list(blocks)) for _, blocks in groupby(depths[block] for block in sorted(depths)))


def _check_sizes(architecture: Architecture, weights: Weights) -> None:
    """Raise CheckpointError where metadata and tensors differ in a size: a model of the former may fill the memory."""
    tensors = weights.state_dict
    seen: dict[str, object] = {"stages": _stages(tensors)}
    if _BACKGROUND in tensors:
        seen["window_pos_embed_bkg_spatial_size"] = tuple(tensors[_BACKGROUND].shape[2:])
    for field, (name, axis) in _SEEN_IN.items():
        shape = tensors[name].shape if name in tensors else ()
        seen[field] = shape[axis] if axis < len(shape) else None
    for field, pattern in _COUNTED.items():
        seen[field] = sum(1 for name in tensors if pattern.fullmatch(name))
    for field in (one.name for one in fields(architecture) if one.name in seen):
        stated = getattr(architecture, field)
        if stated != seen[field]:
            raise CheckpointError(
                f"checkpoint {weights.file.path}: got {field} {stated} in its metadata and "
                f"{'no such tensor' if seen[field] is None else seen[field]} in its tensors, expected the same; "
                "save it again with the metadata of its own architecture."
            )
