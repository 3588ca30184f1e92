"""Name files that are no weights, and weights of models that this engine does not run. No torch.

The engine computes SAM 2, SAM 2.1 and MedSAM2. For any other model the gate runs a program of the user's.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from medsam_core.errors import CheckpointError
from medsam_core.files import opened
from medsam_core.inference.checkpoints import LARGEST_CHECKPOINT, CheckpointFile

EXPECTED = "expected weights of SAM 2, SAM 2.1 or MedSAM2"
OTHER_WAY = "judge it with a program that runs it: --medsam-predictor=command (docs/adding-a-predictor.md)"

_LFS = b"version https://git-lfs.github.com/spec/"
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype html|html)\b", re.IGNORECASE | re.DOTALL)
_EXPORTS = {
    ".onnx": "an ONNX model",
    ".engine": "a TensorRT engine",
    ".plan": "a TensorRT engine",
    ".trt": "a TensorRT engine",
    ".tflite": "a TensorFlow Lite model",
    ".pt2": "a program of torch.export",
}
# the first that fits the name of a tensor; names from the models' own code
_MODELS = (
    (re.compile(r"\bimage_encoder\.neck\.convs\.\d+\.conv_3x3\."), "EfficientTAM"),
    (re.compile(r"\bspatial_perceiver\.|\bimage_encoder\.trunk\.body\."), "EdgeTAM"),
    (re.compile(r"\bimage_encoder\.patch_embed\.seq\.\d+\.c\."), "MobileSAM"),
    (
        re.compile(r"\b(image_encoder\.blocks|vision_encoder\.layers)\.\d+\.attn\.rel_pos_h$"),
        "SAM 1 or MedSAM",
    ),
)
_MEDICAL_SAM2 = "Medical-SAM2 (MedSAM-2 by Zhu et al., another model than bowang-lab's MedSAM2)"
_MEDICAL_SAM2_SHA256 = "059572b072eff2e41975bf85b0dcca96bc58889db60a89e9f5b1f075236735d7"  # MedSAM2_pretrain.pth
_MEDICAL_SAM2_KEYS = {"model", "parameter"}  # what its train_2d.py saves; its tensors have the names of SAM 2's


def refuse_foreign_file(path: Path) -> None:
    """Raise CheckpointError if a file is no weights but a Git LFS pointer, an HTML page or an exported program.

    So does a path that may not be opened: no regular file, or one beyond LARGEST_CHECKPOINT.
    """
    try:
        with opened(path, largest=LARGEST_CHECKPOINT, what="a checkpoint", error=CheckpointError) as file:
            start = file.read(1024)
            is_script = _is_torchscript(file)
    except OSError:
        return  # whoever reads it says why
    if start.startswith(_LFS):
        size = re.search(rb"^size (\d+)", start, re.MULTILINE)
        of = f" to {int(size[1])} bytes" if size else ""
        raise CheckpointError(
            f"checkpoint {path}: got a Git LFS pointer{of}, expected the file itself; fetch it with `git lfs pull`."
        )
    if _HTML.match(start):
        raise CheckpointError(
            f"checkpoint {path}: got an HTML page, expected a .pt or .safetensors file; download the file itself (on "
            "Hugging Face its address has /resolve/ where that of its page has /blob/)."
        )
    what = _EXPORTS.get(path.suffix.lower()) or ("a TorchScript program" if is_script else None)
    if what:
        raise CheckpointError(f"checkpoint {path}: got {what}, {EXPECTED}; {OTHER_WAY}.")


def refuse_other_models(content: Any, file: CheckpointFile) -> None:
    """Raise CheckpointError if a file's content is the weights of another model that is known."""
    names = list(_names(content))
    model = next((model for pattern, model in _MODELS if any(map(pattern.search, names))), None)
    saved_by_medical_sam2 = isinstance(content, Mapping) and content.keys() == _MEDICAL_SAM2_KEYS
    if file.sha256 == _MEDICAL_SAM2_SHA256 or saved_by_medical_sam2:
        model = _MEDICAL_SAM2
    if model:
        raise CheckpointError(f"checkpoint {file.path}: got weights of {model}, {EXPECTED}; {OTHER_WAY}.")


def _names(content: Any, depth: int = 3) -> Iterator[str]:
    """The keys of a table and of the tables in it."""
    if isinstance(content, Mapping) and depth:
        for key, value in content.items():
            yield str(key)
            yield from _names(value, depth - 1)


def _is_torchscript(file: BinaryIO) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
