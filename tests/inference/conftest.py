"""Lively small models, small volumes, and sam2's own predictor in MedSAM2's flow as the oracle."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.checkpoints import CheckpointFile
from medsam_core.inference.model import LoadedModel, build

SMALL = ARCHITECTURES["embedded"].with_image_size(96)


def lively(architecture=SMALL, seed=1, presence=2.0):
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
    file = CheckpointFile("made-up", "/nowhere", "0" * 64)
    return LoadedModel(module, architecture, file, torch.device("cpu"), "fp32")


def blobs(shape, seed=0):
    """(D, H, W) float32 with a smooth positive texture in an ellipsoid, 0 outside."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=shape), (1, 3, 3))
    grid = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")
    inside = sum(axis**2 for axis in grid) < 1.4
    return np.where(inside, 300 + 2000 * (texture - texture.min()), 0).astype(np.float32)


def frames_as_medsam2_makes_them(volume, image_size):
    """(D, 3, S, S) float32: written from MedSAM2's scripts, not from the package."""
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


class Oracle:
    """sam2's video predictor on the modules of a model: prompt, forward, reset, prompt, backward."""

    def __init__(self, module_of_sam2, loaded, volume, monkeypatch):
        frames = frames_as_medsam2_makes_them(volume, loaded.architecture.image_size)
        frames = (frames, *volume.shape[1:])
        monkeypatch.setattr(module_of_sam2, "load_video_frames", lambda **_: frames)
        monkeypatch.setattr(module_of_sam2, "tqdm", lambda steps, **_: steps)
        self.predictor = copy.copy(loaded.module)
        self.predictor.__class__ = module_of_sam2.SAM2VideoPredictor
        for option in (
            "fill_hole_area",
            "non_overlap_masks",
            "clear_non_cond_mem_around_input",
            "clear_non_cond_mem_for_multi_obj",
            "add_all_frames_to_correct_as_cond",
        ):
            setattr(self.predictor, option, 0)
        self.shape = volume.shape

    def logits(self, prompt, protocol="bidirectional"):
        """(D, H, W) float32, NaN where not tracked."""
        found = np.full(self.shape, np.nan, np.float32)
        state = self.predictor.init_state("unused")
        for reverse in (False, True):
            self._prompt(state, prompt)
            for index, _, masks in self.predictor.propagate_in_video(state, prompt.key_slice, reverse=reverse):
                found[index] = masks[0, 0].float().numpy()
            if protocol == "forward":
                break
            self.predictor.reset_state(state)
        return found

    def _prompt(self, state, prompt):
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


@pytest.fixture(scope="session")
def make_lively():
    return lively


@pytest.fixture(scope="session")
def make_volume():
    return blobs


@pytest.fixture(scope="session")
def small_model():
    return lively()


@pytest.fixture
def oracle(monkeypatch):
    """A function (loaded model, volume) -> Oracle on sam2's legacy predictor, MedSAM2's own."""

    def make(loaded, volume, *, legacy=True):
        from sam2 import sam2_video_predictor, sam2_video_predictor_legacy

        return Oracle(sam2_video_predictor_legacy if legacy else sam2_video_predictor, loaded, volume, monkeypatch)

    return make
