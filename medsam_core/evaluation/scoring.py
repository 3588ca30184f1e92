"""The scores of one case: of the model's mask in three scopes, and of the controls that use no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medsam_core.cases import score_key
from medsam_core.metrics import score
from medsam_core.metrics.boxes import around
from medsam_core.metrics.masks import bounding_box
from medsam_core.metrics.overlap import Counts, count, dice, iou
from medsam_core.prompts.controls import CONTROLS
from medsam_core.prompts.prompt import Prompt
from medsam_core.prompts.truth import Truth, slice_areas
from medsam_core.settings import Settings


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray | Truth,
    spacing_mm: tuple[float, float, float],
    prompts: Sequence[Prompt],
    settings: Settings,
    predicted_iou: np.ndarray | None = None,
    region: str | None = None,
) -> dict[str, float]:
    """Scores of the three scopes: the whole volume, the slices where the region exists, the prompted slices.

    prediction, truth: (D, H, W) bool.
    predicted_iou: (D,), the model's own estimates; the metrics that need them are NaN without.
    region: its name, on which the rule of some profiles for lesions depends.
    Keys as in `CaseRecord.scores`. A scope without a slice (the region is absent) is scored as two empty masks.
    The half-life counts slices of the volume and is NaN in the other scopes.
    """
    truth = Truth.of(truth)
    key_slices = np.array(sorted({prompt.key_slice for prompt in prompts}), dtype=int)
    # what is outside of the box around both masks is counted, not read
    boxes = [box for box in (truth.box, bounding_box(prediction)) if box]
    _, rows, columns = around(*boxes) if boxes else (slice(0), slice(0, 1), slice(0, 1))
    predicted, true = (np.ascontiguousarray(mask[:, rows, columns]) for mask in (prediction, truth.mask))
    scores: dict[str, float] = {}
    for scope, slices in (("volume", slice(None)), ("region_slices", truth.slices), ("key_slice", key_slices)):
        found, wanted, estimates = predicted[slices], true[slices], None
        if not len(found):
            found, wanted = np.zeros_like(predicted[:1]), np.zeros_like(true[:1])
        elif predicted_iou is not None:
            estimates = predicted_iou[slices]
        values = score(
            found,
            wanted,
            spacing_mm,
            profile=settings.profile,
            metrics=settings.metrics,
            key_slices=key_slices.tolist() if scope == "volume" else (),
            predicted_iou=estimates,
            region=region,
            image_shape=(len(found), *prediction.shape[1:]),
            truth_lesions=truth.lesions_on(slices),
        )
        scores |= {f"{key}@{scope}": value for key, value in values.items()}
    return scores


def count_case(prediction: np.ndarray, truth: np.ndarray | Truth, prompts: Sequence[Prompt]) -> dict[str, Counts]:
    """The voxels of the three scopes of `score_case`, counted apart from the metrics, so that the two can be compared.

    prediction, truth: (D, H, W) bool.
    """
    truth = Truth.of(truth)
    predicted, both = slice_areas(prediction), np.zeros(len(prediction), np.int64)
    for index in truth.slices[predicted[truth.slices] > 0]:
        both[index] = np.count_nonzero(prediction[index] & truth.mask[index])
    key_slices = sorted({prompt.key_slice for prompt in prompts})
    found = {}
    for scope, slices in (("volume", slice(None)), ("region_slices", truth.slices), ("key_slice", key_slices)):
        tp = int(both[slices].sum())
        fp, fn = int(predicted[slices].sum()) - tp, int(truth.areas[slices].sum()) - tp
        planes = len(predicted[slices]) or 1  # no slice is scored as two empty masks of one
        found[scope] = Counts(tp, fp, fn, planes * prediction[0].size - tp - fp - fn)
    return found


def score_controls(
    image: np.ndarray, truth: np.ndarray | Truth, prompts: Sequence[Prompt], protocol: str, settings: Settings
) -> dict[str, dict[str, float]]:
    """Dice and IoU of every control over the whole volume and on the prompted slices; {} without prompts.

    image: (D, H, W), finite. truth: (D, H, W) bool.
    Returns {control: scores with keys as in `CaseRecord.scores`}. Only the control's window is compared. No control
    is empty, so the profile's rule for empty masks is not needed.
    """
    found: dict[str, dict[str, float]] = {}
    if not prompts:
        return found
    truth = Truth.of(truth)
    key_slices = sorted({prompt.key_slice for prompt in prompts})
    for name, control in CONTROLS.items():
        window = control(image, prompts, truth.mask, protocol)
        own, found[name] = truth.mask[window.where], {}
        rows = [index - window.where[0].start for index in key_slices]
        for scope, slices, part in (("volume", slice(None), slice(None)), ("key_slice", key_slices, rows)):
            inside = count(window.mask[part], own[part])
            areas = truth.areas[slices]
            fn = int(areas.sum()) - inside.tp
            counts = replace(inside, fn=fn, tn=len(areas) * truth.mask[0].size - inside.prediction - fn)
            found[name] |= {
                score_key(settings.profile, "dice", scope): dice(counts),
                score_key(settings.profile, "iou", scope): iou(counts),
            }
    return found
