"""sam2's own video predictor, driven as MedSAM2's scripts drive it: slow, and what the engine is compared with.

Written from bowang-lab/MedSAM2's `medsam2_infer_*.py` and sam2's interface, not from the engine: tests compare logits
with it, `benchmarks/test_speedup.py` time.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from medsam_core.errors import OptionError
from medsam_core.inference import ambient
from medsam_core.inference.devices import autocast
from medsam_core.inference.model import LoadedModel, load_model
from medsam_core.inference.preprocessing import background_of, to_uint8
from medsam_core.predictors.contract import PackedPrediction, PredictorIdentity
from medsam_core.predictors.engine import identity_of
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import PROTOCOLS, Prompt, objects_of

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume
    from medsam_core.predictors.choosing import PredictorRequest

_OFF = (
    "fill_hole_area",  # a no-op in MedSAM2's flow too, unless sam2's CUDA extension is there
    "non_overlap_masks",
    "clear_non_cond_mem_around_input",
    "clear_non_cond_mem_for_multi_obj",
    "add_all_frames_to_correct_as_cond",
)


class Sam2Predictor:
    """sam2's video predictor in MedSAM2's flow, one prompt after the other; the predicted IoU is not known to it."""

    model: LoadedModel
    """sam2's modules with the weights."""
    identity: PredictorIdentity
    """The name "sam2", sam2's version, and the SHA-256 of the checkpoint."""
    notes: list[str]
    """The model's notes, and one for each volume whose background is not 0."""
    several_slices = True
    """See `abilities.takes_several_slices`."""
    made_masks = True
    """See `abilities.takes_made_masks`."""
    three_sequences = True
    """See `abilities.takes_three_sequences`."""
    corrections = True
    """See `abilities.takes_corrections`."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.identity = identity_of(model, "sam2", metadata.version("sam2"))
        self.notes = list(model.notes)

    @ambient.set_aside()
    def encode(self, volume: Volume | np.ndarray) -> tuple[torch.Tensor, tuple[int, ...]]:
        """The volume's frames (D, 3, S, S) on the CPU, and its shape. Raises DataError as the engine does."""
        voxels = np.asarray(getattr(volume, "voxels", volume))
        channels = getattr(volume, "channels", ()) or (voxels,)
        for one in channels:
            to_uint8(one)  # refuses what cannot be segmented, in a sentence
            background = background_of(one)
            if background != 0:
                self.notes.append(
                    f"the background of a volume is {background:g}; MedSAM2's scripts take 0 for it, so the predictor "
                    "sam2 sees other pixels than the engine."
                )
        return frames_as_medsam2_makes_them(channels, self.model.architecture.image_size), voxels.shape

    @ambient.set_aside()
    def predict(
        self, encoded: tuple[torch.Tensor, tuple[int, ...]], prompts: Sequence[Prompt], *, protocol: str
    ) -> list[PackedPrediction]:
        """One prediction for each prompt. Raises OptionError for another protocol than those of PROTOCOLS."""
        if protocol not in PROTOCOLS:
            raise OptionError(
                f"protocol: got {protocol!r}, expected one of {', '.join(PROTOCOLS)}; choose one of them."
            )
        frames, shape = encoded
        flow = Sam2Flow(self.model, frames=frames, shape=shape)
        found = {}
        for own in objects_of(prompts, protocol):
            found.update(dict.fromkeys(map(id, own), PackedPrediction.of(flow.mask(own, protocol))))
        return [found[id(prompt)] for prompt in prompts]

    @ambient.set_aside()
    def refine(
        self, encoded: tuple[torch.Tensor, tuple[int, ...]], prompts: Sequence[Prompt], *, protocol: str
    ) -> Sam2PredictorRounds:
        """The objects of the prompts, to be corrected; their states stay in memory. protocol: not `slicewise`."""
        frames, shape = encoded
        flow = Sam2Flow(self.model, frames=frames, shape=shape)
        return Sam2PredictorRounds([flow.rounds(own, protocol) for own in objects_of(prompts, protocol)])


class Sam2PredictorRounds:
    """The objects of one call of `Sam2Predictor.refine`, one after the other."""

    predictions: list[PackedPrediction]
    """Of the last round, one for each object."""

    def __init__(self, objects: Sequence[Sam2Rounds]) -> None:
        self._objects = objects
        self.predictions = [self._predicted(one) for one in objects]

    def correct(self, corrections: Sequence[Correction | None]) -> list[PackedPrediction]:
        """As `contract.Rounds.correct`."""
        for place, (one, correction) in enumerate(zip(self._objects, corrections, strict=True)):
            if correction is not None:
                with ambient.set_aside():
                    one.correct(correction)
                self.predictions[place] = self._predicted(one)
        return self.predictions

    @ambient.set_aside()
    def _predicted(self, one: Sam2Rounds) -> PackedPrediction:
        return PackedPrediction.of(one.mask())


def from_request(request: PredictorRequest) -> Sam2Predictor:
    """sam2's predictor for what a session asked. Raises CheckpointError, DeviceError, OptionError or PredictorError."""
    request.refuse("sam2", "compiled")
    request.known_options("sam2", ())
    return Sam2Predictor(
        load_model(
            request.checkpoint,
            device=request.device,
            precision=request.precision,
            architecture=request.architecture,
            image_size=request.image_size,
            weights=request.weights,
        )
    )


class Sam2Flow:
    """One volume in sam2's predictor: for each object alone prompt, forward, reset, prompt, backward.

    Where an object has prompts on several slices, all are given before each pass, which starts at the first of them.

    volume: (D, H, W), background 0. legacy: the predictor that MedSAM2 uses, else sam2's newer one.
    frames, shape: instead of a volume, what `frames_as_medsam2_makes_them` made of one, and (D, H, W).
    Slices are made into frames once, which is kinder than MedSAM2's scripts. Each pass encodes them again, as theirs
    do.
    """

    def __init__(
        self,
        model: LoadedModel,
        volume: np.ndarray | None = None,
        *,
        legacy: bool = True,
        frames: torch.Tensor | None = None,
        shape: tuple[int, ...] = (),
    ) -> None:
        self.model = model
        if volume is not None:
            shape, frames = volume.shape, frames_as_medsam2_makes_them([volume], model.architecture.image_size)
        assert frames is not None
        self.shape = shape
        self.frames = frames.to(model.device)
        self._sam2 = _predictor_module(legacy)
        self.predictor = copy.copy(model.module)
        self.predictor.__class__ = self._sam2.SAM2VideoPredictor
        for option in _OFF:
            setattr(self.predictor, option, 0)

    def logits(self, prompts: Prompt | Sequence[Prompt], protocol: str = "bidirectional") -> np.ndarray:
        """(D, H, W) float32, NaN where not tracked. prompts: of one object."""
        found = np.full(self.shape, np.nan, np.float32)
        for index, logits in self._track(prompts, protocol):
            found[index] = logits.float().cpu().numpy()
        return found

    def mask(self, prompts: Prompt | Sequence[Prompt], protocol: str = "bidirectional") -> np.ndarray:
        """(D, H, W) bool, thresholded on the device and copied slice by slice as MedSAM2's scripts do."""
        found = np.zeros(self.shape, bool)
        for index, logits in self._track(prompts, protocol):
            found[index] = (logits > 0.0).cpu().numpy()
        return found

    def _track(self, prompts: Prompt | Sequence[Prompt], protocol: str) -> Iterator[tuple[int, torch.Tensor]]:
        prompts = [prompts] if isinstance(prompts, Prompt) else prompts
        steps = 0 if protocol == "slicewise" else None  # None: to the end of the volume
        with self.patched():
            state = self.predictor.init_state("unused")
            for reverse in (False, True):
                for prompt in prompts:
                    self.prompt(state, prompt)
                tracked = self.predictor.propagate_in_video(state, prompts[0].key_slice, steps, reverse=reverse)
                for index, _, logits in tracked:
                    yield index, logits[0, 0]
                if protocol != "bidirectional":
                    return
                self.predictor.reset_state(state)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """The context in which sam2 reads the volume's frames, in the model's precision."""
        frames = (self.frames, *self.shape[1:])
        # sam2 reads frames from a video file only; MedSAM2's fork has this change in its copy of sam2
        names: dict[str, Any] = {"load_video_frames": lambda **_: frames, "tqdm": lambda steps, **_: steps}
        with patch.multiple(self._sam2, **names), autocast(self.model.device, self.model.precision):
            yield

    def rounds(self, prompts: Prompt | Sequence[Prompt], protocol: str = "bidirectional") -> Sam2Rounds:
        """The object, to be corrected round by round. prompts: of one object."""
        return Sam2Rounds(self, [prompts] if isinstance(prompts, Prompt) else list(prompts), protocol)

    def prompt(self, state: dict[str, Any], prompt: Prompt) -> None:
        """Give sam2 one prompt."""
        if prompt.mask is not None:
            self.predictor.add_new_mask(state, prompt.key_slice, 1, prompt.mask)
            return
        _, _, logits = self.predictor.add_new_points_or_box(
            state,
            frame_idx=prompt.key_slice,
            obj_id=1,
            box=None if prompt.box is None else np.array(prompt.box, np.float32),
            points=np.array(prompt.points, np.float32) if prompt.points else None,
            labels=np.array(prompt.point_labels, np.int32) if prompt.points else None,
        )
        if prompt.makes_mask:  # as MedSAM2's scripts for RECIST and LUNA25 do
            self.predictor.add_new_mask(state, prompt.key_slice, 1, (logits[0, 0] > 0.0).cpu().numpy())


class Sam2Rounds:
    """One object in sam2's predictor, corrected round by round with `add_all_frames_to_correct_as_cond`.

    MedSAM2's scripts reset the state between the two passes. To correct a slice sam2 needs the state of the pass that
    tracked it, so each pass has a state of its own, and what a correction gives is a conditioning frame of both.
    """

    def __init__(self, flow: Sam2Flow, prompts: Sequence[Prompt], protocol: str) -> None:
        self.flow, self.start = flow, prompts[0].key_slice
        self.predictor = copy.copy(flow.predictor)
        self.predictor.add_all_frames_to_correct_as_cond = True
        self.states: dict[bool, dict[str, Any]] = {}
        """By whether the pass goes down."""
        with flow.patched():
            for reverse in (False, True) if protocol == "bidirectional" else (False,):
                self.states[reverse] = self.predictor.init_state("unused")
                for prompt in prompts:
                    flow.prompt(self.states[reverse], prompt)

    def correct(self, correction: Correction) -> None:
        """Give the clicks of a round; the object must have been tracked."""
        index = correction.key_slice
        state = self.states[index < self.start]
        with self.flow.patched():
            self.predictor.add_new_points_or_box(
                state,
                frame_idx=index,
                obj_id=1,
                points=np.array(correction.points, np.float32),
                labels=np.array(correction.point_labels, np.int32),
                clear_old_points=False,
            )
        for other in self.states.values():
            if other is not state:
                clicks, drawn = other["point_inputs_per_obj"][0], other["mask_inputs_per_obj"][0]
                clicks[index] = state["point_inputs_per_obj"][0][index]
                drawn.pop(index, None)
                frames = (one["temp_output_dict_per_obj"][0]["cond_frame_outputs"] for one in (other, state))
                into, corrected = frames
                into[index] = corrected[index]

    def logits(self) -> np.ndarray:
        """(D, H, W) float32, NaN where not tracked: the object is tracked from its prompts and corrections."""
        found = np.full(self.flow.shape, np.nan, np.float32)
        for index, logits in self._track():
            found[index] = logits.float().cpu().numpy()
        return found

    def mask(self) -> np.ndarray:
        """(D, H, W) bool, as `logits`."""
        found = np.zeros(self.flow.shape, bool)
        for index, logits in self._track():
            found[index] = (logits > 0.0).cpu().numpy()
        return found

    def _track(self) -> Iterator[tuple[int, torch.Tensor]]:
        with self.flow.patched():
            for reverse, state in self.states.items():
                for index, _, logits in self.predictor.propagate_in_video(state, self.start, None, reverse=reverse):
                    yield index, logits[0, 0]


def frames_as_medsam2_makes_them(channels: Sequence[np.ndarray], image_size: int) -> torch.Tensor:
    """(D, 3, S, S) float32. channels: one volume (D, H, W) or three, which are red, green and blue."""
    colours = [_greys(volume) for volume in channels]
    frames = [
        Image.merge("RGB", [Image.fromarray(one) for one in planes])
        if len(planes) == 3
        else Image.fromarray(planes[0]).convert("RGB")
        for planes in zip(*colours, strict=True)
    ]
    resized = [np.array(frame.resize((image_size, image_size))).transpose(2, 0, 1) for frame in frames]
    images = torch.from_numpy(np.stack(resized) / 255.0)
    images -= torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    images /= torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return images.float()


def _greys(volume: np.ndarray) -> np.ndarray:
    """(D, H, W) uint8."""
    volume = volume.astype(np.float64)  # as NumPy makes of the integers that MRI comes in
    tissue = volume[volume > 0]
    low, high = np.percentile(tissue, 0.5), np.percentile(tissue, 99.5)
    scaled = np.clip(volume, low, high)
    scaled = (scaled - scaled.min()) / (scaled.max() - scaled.min()) * 255.0
    scaled[volume == 0] = 0
    return np.asarray(scaled.astype(np.uint8))


def _predictor_module(legacy: bool) -> ModuleType:
    from sam2 import sam2_video_predictor, sam2_video_predictor_legacy

    return sam2_video_predictor_legacy if legacy else sam2_video_predictor
