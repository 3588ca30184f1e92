"""Regression gate for MedSAM-2 on BraTS brain-tumour MRI: read, prompt, segment, score, judge.

    import medsam_core as mc
    predictor = mc.load_predictor()                            # the embedded checkpoint
    volume = mc.read_image("t1ce.nii.gz")
    mask = predictor.predict(volume, mc.Prompt("box", key_slice=95, box=(88, 60, 140, 121))).mask

Importing this package is cheap: each name below is imported when it is first used, and torch and sam2 when a model
is first loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medsam_core.data.cohort import find_subjects, load
    from medsam_core.data.regions import region_mask
    from medsam_core.data.volume import Volume, read_image, read_labels, write_mask
    from medsam_core.errors import MedsamError
    from medsam_core.inference.predictor import Predictor, load_predictor
    from medsam_core.metrics import score
    from medsam_core.prompts.prompt import Prompt
    from medsam_core.prompts.simulation import simulate

__version__ = "0.1.0"

_HOMES = {
    "data.cohort": ("find_subjects", "load"),
    "data.regions": ("region_mask",),
    "data.volume": ("Volume", "read_image", "read_labels", "write_mask"),
    "errors": ("MedsamError",),
    "inference.predictor": ("Predictor", "load_predictor"),
    "metrics": ("score",),
    "prompts.prompt": ("Prompt",),
    "prompts.simulation": ("simulate",),
}

__all__ = ["MedsamError", "Predictor", "Prompt", "Volume", "find_subjects", "load", "load_predictor", "read_image"]
__all__ += ["read_labels", "region_mask", "score", "simulate", "write_mask"]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
