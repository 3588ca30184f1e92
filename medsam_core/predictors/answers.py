"""What a predictor's answer must be: mask and predicted IoU of the right type, shape and slices. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from medsam_core.prompts.prompt import Prompt


def problem_of(prediction: Any, prompt: Prompt, shape: tuple[int, int, int], protocol: str) -> str | None:
    """What is wrong with an answer, in words; None if nothing is.

    prompt: the object's first. shape: (D, H, W) of the volume.
    """
    found = {}
    for name in ("mask", "predicted_iou"):
        try:
            found[name] = getattr(prediction, name)  # once: a mask may be unpacked at every call
        except AttributeError:
            return f"got a {type(prediction).__name__} without .{name}, expected both; return PlainPrediction objects"
    return _mask_problem(found["mask"], prompt, shape, protocol) or _iou_problem(found["predicted_iou"], shape[0])


def _mask_problem(mask: Any, prompt: Prompt, shape: tuple[int, int, int], protocol: str) -> str | None:
    if not isinstance(mask, np.ndarray):
        return f"got a mask of type {type(mask).__name__}, expected a NumPy array; convert it"
    if mask.shape != shape:
        return f"got a mask of shape {mask.shape}, expected {shape} as the volume has; return it on the volume's grid"
    if mask.dtype.kind == "f" and np.isnan(mask).any():
        return f"got a mask of {mask.dtype} with {int(np.isnan(mask).sum())} NaN, expected bool; find where they arise"
    if mask.dtype != np.bool_:
        return f"got a mask of {mask.dtype}, expected bool; threshold it, such as logits > 0"
    seen = prompt.slices_seen(shape[0], protocol)
    outside = [
        *np.flatnonzero(mask[: seen.start].any((1, 2))),
        *(np.flatnonzero(mask[seen.stop :].any((1, 2))) + seen.stop),
    ]
    if outside:
        span = f"{seen.start}" if len(seen) == 1 else f"{seen.start} to {seen.stop - 1}"
        return (
            f"got a mask on slice {outside[0]} for a prompt on slice {prompt.key_slice}, expected one on {span} alone "
            f"as protocol {protocol} has it; leave the other slices empty"
        )
    return None


def _iou_problem(iou: Any, depth: int) -> str | None:
    if not isinstance(iou, np.ndarray):
        return f"got a predicted_iou of type {type(iou).__name__}, expected a NumPy array; give NaN where it is unknown"
    if iou.shape != (depth,):
        return f"got a predicted_iou of shape {iou.shape}, expected {(depth,)}; give one number for each slice"
    if iou.dtype.kind != "f":
        return f"got a predicted_iou of {iou.dtype}, expected floats; convert it"
    wrong = ~(np.isnan(iou) | ((iou >= 0) & (iou <= 1)))
    if wrong.any():
        return f"got a predicted_iou of {iou[wrong][0]:g}, expected 0 to 1, or NaN; give the estimate itself, no logit"
    return None
