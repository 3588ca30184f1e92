"""What the engine is held against: sam2's own video predictor, driven as MedSAM2's scripts drive it.

Written from bowang-lab/MedSAM2's `medsam2_infer_*.py` and sam2's interface, not from the package: tests compare logits
with it, `benchmarks/test_speedup.py` time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from medsam_core.inference.architectures import Architecture
from medsam_core.inference.checkpoints import CheckpointFile
from medsam_core.inference.devices import autocast
from medsam_core.inference.model import LoadedModel, build
from medsam_core.prompts.prompt import Prompt

_OFF = (
    "fill_hole_area",  # a no-op in MedSAM2's flow too, unless sam2's CUDA extension is there
    "non_overlap_masks",
    "clear_non_cond_mem_around_input",
    "clear_non_cond_mem_for_multi_obj",
    "add_all_frames_to_correct_as_cond",
)


class Sam2Flow:
    """One volume in sam2's predictor: for each prompt alone prompt, forward, reset, prompt, backward.

    volume: (D, H, W), background 0. legacy: the predictor that MedSAM2 uses, else sam2's newer one.
    Slices are made into frames once, which is kinder than MedSAM2's scripts; each pass encodes them anew, as theirs do.
    """

    def __init__(self, model: LoadedModel, volume: np.ndarray, *, legacy: bool = True) -> None:
        self.model = model
        self.shape = volume.shape
        self.frames = frames_as_medsam2_makes_them(volume, model.architecture.image_size).to(model.device)
        self._sam2 = _predictor_module(legacy)
        self.predictor = copy.copy(model.module)
        self.predictor.__class__ = self._sam2.SAM2VideoPredictor
        for option in _OFF:
            setattr(self.predictor, option, 0)

    def logits(self, prompt: Prompt, protocol: str = "bidirectional") -> np.ndarray:
        """(D, H, W) float32, NaN where not tracked."""
        found = np.full(self.shape, np.nan, np.float32)
        for index, logits in self._track(prompt, protocol):
            found[index] = logits.float().cpu().numpy()
        return found

    def mask(self, prompt: Prompt, protocol: str = "bidirectional") -> np.ndarray:
        """(D, H, W) bool, thresholded on the device and copied slice by slice as MedSAM2's scripts do."""
        found = np.zeros(self.shape, bool)
        for index, logits in self._track(prompt, protocol):
            found[index] = (logits > 0.0).cpu().numpy()
        return found

    def _track(self, prompt: Prompt, protocol: str) -> Iterator[tuple[int, torch.Tensor]]:
        frames = (self.frames, *self.shape[1:])
        names = {"load_video_frames": lambda **_: frames, "tqdm": lambda steps, **_: steps}
        with patch.multiple(self._sam2, **names), autocast(self.model.device, self.model.precision):
            state = self.predictor.init_state("unused")
            for reverse in (False, True):
                self._prompt(state, prompt)
                for index, _, logits in self.predictor.propagate_in_video(state, prompt.key_slice, reverse=reverse):
                    yield index, logits[0, 0]
                if protocol == "forward":
                    return
                self.predictor.reset_state(state)

    def _prompt(self, state: dict[str, Any], prompt: Prompt) -> None:
        if prompt.mask is not None:
            self.predictor.add_new_mask(state, prompt.key_slice, 1, prompt.mask)
            return
        self.predictor.add_new_points_or_box(
            state,
            frame_idx=prompt.key_slice,
            obj_id=1,
            box=None if prompt.box is None else np.array(prompt.box, np.float32),
            points=np.array(prompt.points, np.float32) if prompt.points else None,
            labels=np.array(prompt.point_labels, np.int32) if prompt.points else None,
        )


def frames_as_medsam2_makes_them(volume: np.ndarray, image_size: int) -> torch.Tensor:
    """(D, 3, S, S) float32."""
    volume = volume.astype(np.float64)  # as NumPy makes of the integers that MRI comes in
    tissue = volume[volume > 0]
    low, high = np.percentile(tissue, 0.5), np.percentile(tissue, 99.5)
    scaled = np.clip(volume, low, high)
    scaled = (scaled - scaled.min()) / (scaled.max() - scaled.min()) * 255.0
    scaled[volume == 0] = 0
    frames = [Image.fromarray(s).convert("RGB").resize((image_size, image_size)) for s in np.uint8(scaled)]
    images = torch.from_numpy(np.stack([np.array(frame).transpose(2, 0, 1) for frame in frames]) / 255.0)
    images -= torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    images /= torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return images.float()


def lively_model(
    architecture: Architecture,
    *,
    seed: int = 1,
    presence: float = 2.0,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
) -> LoadedModel:
    """Made-up weights with which masks are neither empty nor full and memory matters.

    presence: what is added to the object score, so that the object is mostly there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(architecture)
        with torch.no_grad():
            for parameter in module.parameters():
                # fresh models hold many zeros (position embeddings, layer scales), which would hide errors
                parameter.add_(torch.randn_like(parameter) * 0.04)
            decoder = module.sam_mask_decoder
            decoder.pred_obj_score_head.layers[-1].weight.mul_(3)
            decoder.pred_obj_score_head.layers[-1].bias.add_(presence)
            for mlp in decoder.output_hypernetworks_mlps:
                mlp.layers[-1].weight.mul_(4)
    file = CheckpointFile("made-up", "/nowhere", "0" * 64)  # type: ignore[arg-type]
    return LoadedModel(module.to(device), architecture, file, torch.device(device), precision)


def _predictor_module(legacy: bool) -> ModuleType:
    from sam2 import sam2_video_predictor, sam2_video_predictor_legacy

    return sam2_video_predictor_legacy if legacy else sam2_video_predictor
