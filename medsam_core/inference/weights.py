"""Read the weights in a file, in any of the forms that docs/checkpoints.md lists. Never runs pickled code.

Torch and safetensors are imported when first needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import CheckpointError
from medsam_core.inference.architectures import WHOLE_SLICE
from medsam_core.inference.checkpoints import CheckpointFile, resolve
from medsam_core.inference.foreign import refuse_foreign_file, refuse_other_models
from medsam_core.inference.state_dicts import find_state_dict, without_prefixes
from medsam_core.inference.transformers_names import in_sam2_names, is_transformers
from medsam_core.text import counted, few

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Weights:
    """A file of weights and its content."""

    file: CheckpointFile
    state_dict: Mapping[str, torch.Tensor]
    """Tensors on the CPU by their names in sam2."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The metadata of a .safetensors file; {} for a .pt."""
    notes: tuple[str, ...] = ()
    """What was taken from the file and renamed, one sentence each."""
    transformers: bool = False
    """Whether the file has the names of Hugging Face transformers."""


def load_weights(file: CheckpointFile | str | Path, *, choice: str | None = None) -> Weights:
    """Read weights onto the CPU: a .safetensors, or with `weights_only=True` any other name as torch.save's.

    choice: "model" or "ema" where a file holds both; None for "model". Raises CheckpointError if the file is damaged,
    would run code, has no model, or has tensors that are no weights.
    """
    if not isinstance(file, CheckpointFile):
        file = resolve(file)
    refuse_foreign_file(file.path)
    content, metadata = _read_safetensors(file) if file.path.suffix == ".safetensors" else (_read_torch(file), {})
    refuse_other_models(content, file)
    found = without_prefixes(find_state_dict(content, file.path, choice), file.path)
    tensors, notes = found.tensors, found.notes
    _check_tensors(tensors, file.path)
    stored = re.search(r'"field_of_view": *"([^"]*)"', metadata.get("architecture", ""))
    if stored and stored[1] != WHOLE_SLICE:  # an older version's: the masks would differ
        raise CheckpointError(
            f"checkpoint {file.path}: got weights for the field of view {stored[1]!r}, expected ones that see the "
            "whole slice; use other weights, or an older version of medsam-core that has this field of view."
        )
    transformers = is_transformers(tensors)
    if transformers:
        tensors = in_sam2_names(tensors, file.path)
        notes = (*notes, f"{file.name} has the names of Hugging Face transformers, which were mapped to sam2's.")
    part = file if found.part is None else file.part(found.part)
    return Weights(part, tensors, metadata, notes, transformers)


def _check_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise CheckpointError, with the names, unless all are dense floating-point tensors of finite numbers."""
    import torch

    floating = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    problems: dict[str, list[str]] = {}
    for name, value in tensors.items():
        if value.is_meta:
            problems.setdefault("without data (on the device meta)", []).append(name)
        elif value.layout is not torch.strided:
            problems.setdefault(f"in the layout {str(value.layout).removeprefix('torch.')}", []).append(name)
        elif value.dtype not in floating:
            problems.setdefault(f"of type {str(value.dtype).removeprefix('torch.')}", []).append(name)
        elif value.numel() and not all(map(math.isfinite, map(float, value.float().aminmax()))):
            problems.setdefault("with NaN or infinity", []).append(name)
    if problems:
        found = "; ".join(f"{counted(len(names), 'tensor')} {what} ({few(names)})" for what, names in problems.items())
        raise CheckpointError(
            f"checkpoint {path}: got {found}, expected dense floating-point tensors of finite numbers; save the "
            "model's whole float weights, from before its training failed."
        )


def _read_safetensors(file: CheckpointFile) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file.path, framework="pt", device="cpu") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from None


def _read_torch(file: CheckpointFile) -> Any:
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():  # about the pickle's protocol; real problems are reported below
            warnings.simplefilter("ignore")
            return torch.load(file.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|global:?|class:?) *([\w.]+\.[\w.]+)", str(error))
        if code is None:
            raise _damaged(file, error) from None
        raise CheckpointError(
            f"checkpoint {file.path}: got a pickle that calls {code[1]} (not run), expected only tensors; "
            "use the published file or save the weights as .safetensors."
        ) from None
    except Exception as error:  # arbitrary bytes can make the unpickler raise anything
        raise _damaged(file, error) from None


def _damaged(file: CheckpointFile, error: Exception) -> CheckpointError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return CheckpointError(
        f"checkpoint {file.path}: got a damaged or cut-off file of {file.path.stat().st_size} bytes ({reason[:120]}), "
        "expected a whole .pt or .safetensors; copy or download it again."
    )
