"""A `Prediction` for each prompt: collected step by step on the device, copied to the host once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from medsam_core.inference.devices import on_device
from medsam_core.inference.encoding import EncodedVolume
from medsam_core.inference.tracking import Output, Track
from medsam_core.prompts.prompt import Prompt


@dataclass(frozen=True, eq=False)
class Prediction:
    """The mask and the model's own estimates for one prompt."""

    prompt: Prompt
    shape: tuple[int, int, int]
    """(D, H, W) of the volume."""
    slices: range
    """The slices that the model saw; the mask is empty on every other one."""
    predicted_iou: np.ndarray
    """(D,) float32, the model's own estimate in [0, 1]; NaN on slices it did not see, 1 where a mask was given."""
    object_score: np.ndarray
    """(D,) float32 logits, above 0 where the model finds the object; NaN on slices it did not see."""
    packed: np.ndarray
    """(len(slices), H, ceil(W / 8)) uint8, the mask as `np.packbits` along the last axis: an eighth of the memory."""
    logits: np.ndarray | None = None
    """(len(slices), s, s) float32, s a quarter of the model's image size; None unless requested. The mask is these
    logits resized bilinearly to (H, W), above 0."""

    @property
    def mask(self) -> np.ndarray:
        """(D, H, W) bool at the volume's own resolution, unpacked at every call."""
        mask = np.zeros(self.shape, bool)
        mask[self.slices.start : self.slices.stop] = np.unpackbits(self.packed, axis=-1, count=self.shape[2])
        return mask


class PredictionBuilder:
    """Plans the slices of each object, and collects the outputs of all steps on the device."""

    def __init__(
        self, objects: Sequence[Sequence[Prompt]], volume: EncodedVolume, protocol: str, *, keep_logits: bool
    ) -> None:
        """objects: the prompts of each, first the one where its tracks start."""
        self.objects = objects
        self.shape = depth, height, width = volume.shape
        self.spans = [prompts[0].slices_seen(depth, protocol) for prompts in objects]
        self._starts = np.cumsum([0, *map(len, self.spans)]).tolist()
        total, side, device = self._starts[-1], volume.model.architecture.mask_size, volume.model.device
        self._device = device
        self._packed = torch.zeros((total, height, -(-width // 8)), dtype=torch.uint8, device=device)
        self._scores = torch.full((2, total), torch.nan, device=device)
        self._logits = torch.empty((total, side, side), device=device) if keep_logits else None
        self._bits = 2 ** torch.arange(7, -1, -1, dtype=torch.uint8, device=device)

    def tracks(self) -> list[Track]:
        """The tracks to follow after the key slices, in no particular order."""
        return [
            Track(place, start, direction, steps, tuple(others))
            for place, (prompts, span) in enumerate(zip(self.objects, self.spans, strict=True))
            for start, *others in [[prompt.key_slice for prompt in prompts]]
            for direction, steps in ((1, span.stop - 1 - start), (-1, start - span.start))
            if steps
        ]

    def record(self, places: Sequence[int], slices: Sequence[int], output: Output) -> None:
        """Store the outputs of one step. places, slices: each batch element's object (by index) and slice."""
        _, height, width = self.shape
        rows = [self._starts[p] + self.spans[p].index(index) for p, index in zip(places, slices, strict=True)]
        at = on_device(rows, self._device)
        logits = output.logits
        if logits.shape[-2:] != (height, width):
            logits = interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        # eight voxels to a byte, as np.packbits does
        eights = pad(logits[:, 0] > 0, (0, -width % 8)).unflatten(-1, (-1, 8))
        self._packed[at] = (eights * self._bits).sum(-1, dtype=torch.uint8)
        self._scores[:, at] = torch.stack([output.predicted_iou, output.object_score])
        if self._logits is not None:
            self._logits[at] = output.logits[:, 0]

    def predictions(self) -> list[Prediction]:
        """One prediction for each object, in their order, on the host; its prompt is the first."""
        packed, scores = self._packed.cpu().numpy(), self._scores.cpu().numpy()
        logits = None if self._logits is None else self._logits.cpu().numpy()
        found = []
        for place, ((prompt, *_), span) in enumerate(zip(self.objects, self.spans, strict=True)):
            own = slice(self._starts[place], self._starts[place + 1])
            per_slice = np.full((2, self.shape[0]), np.nan, np.float32)
            per_slice[:, span.start : span.stop] = scores[:, own]
            own_logits = None if logits is None else logits[own]
            found.append(Prediction(prompt, self.shape, span, per_slice[0], per_slice[1], packed[own], own_logits))
        return found
