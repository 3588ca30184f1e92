"""A case as scripts for a browser: the image as greys, the masks as bits, compressed.

A page that was opened from a file may not read other files, but it may load scripts. So the data are scripts, each one
call of `MedsamViewer.add(...)` with JSON. A subject's cases share the script of the image.

Image: the box of voxels around the head, 8-bit greys. Each voxel is stored as the difference, modulo 256, from the
mean (rounded down) of its three neighbours with a lower index, of which one outside the box counts as 0; then zlib,
then base64. Masks: the box around their voxels, 8 voxels a byte, the first in the highest bit; then the same.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from medsam_core.data.volume import Volume
from medsam_core.prompts.prompt import Prompt
from medsam_core.reports.overlay import shown_key_slice, shown_window, worst_slice

Array = np.ndarray[Any, Any]
Box = tuple[slice, slice, slice]

LARGEST = 2_000_000
"""Bytes of a script at most."""
MARGIN_VOXELS = 6
"""Around the head."""
_LARGEST_HEAD = 24_000_000
"""Voxels of the box around the head; in a larger image, the box around the regions is shown."""
_MARGIN_MM = 30.0
"""Around the regions."""


def image_text(image: Volume, truths: Iterable[Array], *, largest: int = LARGEST) -> str:
    """The script of an image.

    truths: the regions of its cases, (D, H, W) bool each. largest: bytes. An image that is too large after compression
    loses greys at first, then neighbouring voxels are joined, along the axis with the smallest spacing.
    """
    low, high = shown_window(image.voxels)
    box = _shown_box(image, list(truths))
    scaled = (image.voxels[box].astype(np.float32) - low) / (high - low)
    greys = (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)
    described: dict[str, Any] = {
        "shape": image.shape,
        "affine": image.affine.round(6).tolist(),
        "origin": [side.start for side in box],
        "size": greys.shape,
        "window": [float(low), float(high)],
    }
    shift, step = 0, [1, 1, 1]
    while True:
        stored = _joined(greys, step) >> shift
        text = _script({**described, "shift": shift, "step": step, "voxels": _packed(_differences(stored))})
        if len(text) <= largest or max(stored.shape) == 1:
            return text
        if shift < 2:
            shift += 1
        else:
            spacing = np.where(np.array(stored.shape) > 1, np.multiply(image.spacing_mm, step), np.inf)
            step[int(np.argmin(spacing))] *= 2


def case_text(
    case: str,
    image: str,
    truth: Array,
    prediction: Array | None,
    prompts: Sequence[Prompt],
    *,
    missing: str = "",
) -> str:
    """The script of a case.

    case: its id. image: the file name of its image's script. truth, prediction: (D, H, W) bool; None: not known.
    missing: why the prediction is not known, for a person.
    """
    predicted = np.zeros_like(truth) if prediction is None else prediction
    key = shown_key_slice(predicted, truth, prompts)
    worst = None if prediction is None else worst_slice(predicted, truth)
    return _script(
        {
            "id": case,
            "image": image,
            "shape": truth.shape,
            "truth": _mask(truth),
            "prediction": None if prediction is None else _mask(prediction),
            "missing": missing,
            "prompts": [dict(prompt.to_json()) for prompt in prompts],
            "keySlice": key,
            "worstSlice": worst,
        }
    )


def bounds(mask: Array, margin: Sequence[int] = (0, 0, 0)) -> Box:
    """The smallest box around the true voxels, and `margin` voxels more on each side of each axis; empty if none is."""
    sides = []
    for axis, more in enumerate(margin):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = (int(used[0]) - more, int(used[-1]) + 1 + more) if used.size else (0, 0)
        sides.append(slice(max(0, low), min(mask.shape[axis], high)))
    return sides[0], sides[1], sides[2]


def _shown_box(image: Volume, truths: Sequence[Array]) -> Box:
    """Around all that is not background, the value of the first voxel; of a very large head, around the regions."""
    voxels = image.voxels
    regions = np.logical_or.reduce(truths) if truths else np.zeros(image.shape, bool)
    box = bounds((voxels != voxels.flat[0]) | regions, (MARGIN_VOXELS,) * 3)
    if np.prod([side.stop - side.start for side in box]) > _LARGEST_HEAD and regions.any():
        margin = [round(_MARGIN_MM / mm) for mm in image.spacing_mm]
        return bounds(regions, margin)
    return box


def _joined(greys: Array, step: Sequence[int]) -> Array:
    """Means of blocks of `step` voxels; the last block of an axis may be smaller."""
    for axis, n in enumerate(step):
        if n > 1:
            starts = np.arange(0, greys.shape[axis], n)
            sums = np.add.reduceat(greys, starts, axis=axis, dtype=np.uint32)
            lengths = np.diff([*starts, greys.shape[axis]])
            shape = [1, 1, 1]
            shape[axis] = -1
            greys = (sums // lengths.reshape(shape)).astype(np.uint8)
    return greys


def _differences(greys: Array) -> Array:
    """Each grey minus the mean of its three neighbours, modulo 256; see the module's docstring."""
    total = np.zeros(greys.shape, np.uint16)
    total[1:] += greys[:-1]
    total[:, 1:] += greys[:, :-1]
    total[:, :, 1:] += greys[:, :, :-1]
    return greys - (total // 3).astype(np.uint8)


def _mask(mask: Array) -> Mapping[str, Any]:
    box = bounds(mask)
    inside = mask[box]
    bits = np.packbits(np.ascontiguousarray(inside).ravel())
    return {"origin": [side.start for side in box], "size": inside.shape, "bits": _packed(bits)}


def _packed(content: Array) -> str:
    return base64.b64encode(zlib.compress(content.tobytes(), 6)).decode()


def _script(content: Mapping[str, Any]) -> str:
    return f"MedsamViewer.add({json.dumps(content, separators=(',', ':'))});\n"


def error_text(sentence: str) -> str:
    """The script in place of data that cannot be had; the viewer shows the sentence."""
    return _script({"error": sentence})
