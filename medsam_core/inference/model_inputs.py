"""Prompts and clicks as sam2's heads take them: tensors in pixels of the model's image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate

from medsam_core.inference.encoding import EncodedVolume
from medsam_core.prompts.prompt import Prompt

Points = dict[str, torch.Tensor]
"""sam2's form: `point_coords` (n, p, 2) float32 and `point_labels` (n, p) int32."""
Place = tuple[float, float, int]
"""(x, y) in voxels of the slice, and what is there: 0 outside, 1 inside, 2 and 3 the two corners of a box."""


def model_inputs(prompts: Sequence[Prompt], volume: EncodedVolume) -> tuple[Points | None, torch.Tensor | None]:
    """(points and boxes, masks (n, 1, S, S)); one of the two is None. The prompts must be of one kind (`kind_of`)."""
    drawn = [prompt.mask for prompt in prompts if prompt.mask is not None]
    if not drawn:
        return points_of([places_of(prompt) for prompt in prompts], volume), None
    return None, mask_input(torch.from_numpy(np.stack(drawn)[:, None]).float().to(volume.model.device), volume)


def mask_input(masks: torch.Tensor, volume: EncodedVolume) -> torch.Tensor:
    """Masks of a slice, (n, 1, H, W) float32 of 0 and 1, in the model's image: (n, 1, S, S)."""
    size = volume.model.module.image_size
    if masks.shape[-2:] == (size, size):
        return masks
    resized = interpolate(masks, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return (resized >= 0.5).float()


def kind_of(prompt: Prompt) -> tuple[bool, bool, int, bool]:
    """(mask or not, box or not, number of points, makes a mask or not): prompts of one kind can be in one batch."""
    return prompt.mask is not None, prompt.box is not None, len(prompt.points), prompt.makes_mask


def places_of(prompt: Prompt) -> tuple[Place, ...]:
    """The corners of a prompt's box, then its points; () for a mask."""
    corners = () if prompt.box is None else ((*prompt.box[:2], 2), (*prompt.box[2:], 3))
    points = ((x, y, label) for (x, y), label in zip(prompt.points, prompt.point_labels, strict=True))
    return (*corners, *points)


def points_of(places: Sequence[Sequence[Place]], volume: EncodedVolume) -> Points:
    """For each batch element its places, of which all must have equally many."""
    device, size = volume.model.device, volume.model.module.image_size
    _, height, width = volume.shape
    points = torch.tensor([[place[:2] for place in own] for own in places], dtype=torch.float32)
    labels = torch.tensor([[place[2] for place in own] for own in places], dtype=torch.int32, device=device)
    scaled = (points / torch.tensor([width, height]) * size).to(device)
    return {"point_coords": scaled, "point_labels": labels}
