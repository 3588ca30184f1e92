"""Recognise the architecture of weights from their file's metadata, hash, tensors and name. No torch.

The tensors distinguish SAM 2 from 2.1, and the sizes, but not MedSAM2 from SAM 2.1 tiny: these two have the same
tensors and differ only in the image size, 512 or 1024. A wrong image size would not fail, it would give scores. So the
size comes from the most reliable source, and if it had to be assumed, a note in the report says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from medsam_core.errors import CheckpointError
from medsam_core.inference.architectures import ARCHITECTURES, Architecture
from medsam_core.inference.checkpoints import EMBEDDED_NAME, NAMES, Weights

if TYPE_CHECKING:
    import torch

_PATCH = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.norm2\.weight")
_SAM21_KEY = "obj_ptr_tpos_proj.weight"


def recognise(weights: Weights, *, image_size_given: bool = False) -> tuple[Architecture, tuple[str, ...]]:
    """(architecture, notes on what was assumed).

    The sources, in this order: "architecture" in the file's metadata; the name by which the checkpoint was requested,
    or its SHA-256 as published; the tensors. MedSAM2 and SAM 2.1 tiny, which have the same tensors, are distinguished
    by the file's name ("medsam" or "sam2.1_hiera"); any other name means MedSAM2, since this is its gate.
    image_size_given: the user gave the image size, so no note on it is needed.
    Raises CheckpointError if the tensors belong to no known architecture.
    """
    if "architecture" in weights.metadata:
        return Architecture.from_json(weights.metadata["architecture"]), ()
    for name, source in NAMES.items():
        if name == weights.file.name or (source.sha256 and source.sha256 == weights.file.sha256):
            return ARCHITECTURES[source.architecture], ()
    found = _by_tensors(weights.state_dict, str(weights.file.path))
    if found.name == "embedded" and weights.file.name != EMBEDDED_NAME and not image_size_given:
        return found, (
            f"{weights.file.name} has the embedded architecture without metadata: image size {found.image_size} is "
            "assumed; give --image-size for another.",
        )
    if found.name != "sam2.1-tiny":
        return found, ()
    return _medsam2_or_tiny(weights.file.path.name, image_size_given)


def _medsam2_or_tiny(file_name: str, image_size_given: bool) -> tuple[Architecture, tuple[str, ...]]:
    medsam2, tiny = ARCHITECTURES["medsam2"], ARCHITECTURES["sam2.1-tiny"]
    name = file_name.lower()
    if "medsam" in name:
        chosen, reason = medsam2, "its file name says MedSAM2"
    elif re.search(r"sam2[._]1_?hiera", name):
        chosen, reason = tiny, "its file name says SAM 2.1"
    else:
        chosen, reason = medsam2, "nothing in the file distinguishes it from SAM 2.1 tiny, which has 1024"
    if image_size_given:
        return chosen, ()
    note = (
        f"{file_name} is treated as {chosen.name} with image size {chosen.image_size}, because {reason}; "
        "give --image-size for another."
    )
    return chosen, (note,)


def _by_tensors(tensors: Mapping[str, torch.Tensor], path: str) -> Architecture:
    if _PATCH not in tensors:
        raise CheckpointError(
            f"checkpoint {path}: got tensors such as {', '.join(list(tensors)[:3])}, expected those of SAM 2 "
            f"({_PATCH}); use a SAM 2, SAM 2.1 or MedSAM2 checkpoint."
        )
    depths = {int(match[1]): tensors[key].shape[0] for key in tensors if (match := _BLOCK.fullmatch(key))}
    widths = [depths[block] for block in sorted(depths)]
    stages = tuple(len(list(blocks)) for _, blocks in groupby(widths))
    found = tensors[_PATCH].shape[0], stages, _SAM21_KEY in tensors
    for known in ARCHITECTURES.values():
        if found == (known.embed_dim, known.stages, known.proj_tpos_enc_in_obj_ptrs):
            return known
    raise CheckpointError(
        f"checkpoint {path}: got a trunk of width {found[0]} with stages {stages} of SAM 2{'.1' if found[2] else ''}, "
        f"expected one of {', '.join(ARCHITECTURES)}; store its architecture in the file's metadata."
    )
