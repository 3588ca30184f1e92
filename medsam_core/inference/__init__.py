"""From a volume and prompts to masks: prompts, checkpoints, the model, the predictor.

The names below are imported when first used, so that prompts can be made without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medsam_core.inference.checkpoints import NAMES
    from medsam_core.inference.manifest import read_manifest, write_manifest
    from medsam_core.inference.model import LoadedModel, load_model
    from medsam_core.inference.predictor import EncodedVolume, Prediction, Predictor, load_predictor
    from medsam_core.inference.prompts import Prompt, simulate

__all__ = [
    "NAMES",
    "EncodedVolume",
    "LoadedModel",
    "Prediction",
    "Predictor",
    "Prompt",
    "load_model",
    "load_predictor",
    "read_manifest",
    "simulate",
    "write_manifest",
]

_HOME = {
    "NAMES": "checkpoints",
    "LoadedModel": "model",
    "load_model": "model",
    "EncodedVolume": "predictor",
    "Prediction": "predictor",
    "Predictor": "predictor",
    "load_predictor": "predictor",
    "Prompt": "prompts",
    "read_manifest": "manifest",
    "simulate": "prompts",
    "write_manifest": "manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
