"""The scores of one case: of the model's mask in three scopes, and of the controls that use no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medsam_core.cases import Settings, score_key
from medsam_core.metrics import score
from medsam_core.metrics.overlap import Counts, dice, iou
from medsam_core.prompts.controls import CONTROLS
from medsam_core.prompts.prompt import Prompt


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: tuple[float, float, float],
    prompts: Sequence[Prompt],
    settings: Settings,
    predicted_iou: np.ndarray | None = None,
) -> dict[str, float]:
    """Scores of the three scopes: the whole volume, the slices where the region exists, the prompted slices.

    prediction, truth: (D, H, W) bool.
    predicted_iou: (D,), the model's own estimates; the metrics that need them are NaN without.
    Keys as in `CaseRecord.scores`. A scope without a slice (the region is absent) is scored as two empty masks.
    The half-life counts slices of the volume and is NaN in the other scopes.
    """
    region_slices = np.flatnonzero(truth.any(axis=(1, 2)))
    key_slices = np.array(sorted({prompt.key_slice for prompt in prompts}), dtype=int)
    scores: dict[str, float] = {}
    for scope, slices in (("volume", None), ("region_slices", region_slices), ("key_slice", key_slices)):
        estimates = predicted_iou
        if slices is None:
            pair = prediction, truth
        elif len(slices):
            pair = prediction[slices], truth[slices]
            estimates = None if predicted_iou is None else predicted_iou[slices]
        else:
            pair, estimates = (np.zeros_like(prediction[:1]), np.zeros_like(truth[:1])), None
        values = score(
            *pair,
            spacing_mm,
            profile=settings.profile,
            metrics=settings.metrics,
            key_slices=key_slices.tolist() if slices is None else (),
            predicted_iou=estimates,
        )
        scores.update({f"{key}@{scope}": value for key, value in values.items()})
    return scores


def score_controls(
    image: np.ndarray, truth: np.ndarray, prompts: Sequence[Prompt], protocol: str, settings: Settings
) -> dict[str, dict[str, float]]:
    """Dice and IoU of every control over the whole volume and on the prompted slices; {} without prompts.

    image: (D, H, W), finite. truth: (D, H, W) bool.
    Returns {control: scores with keys as in `CaseRecord.scores`}. Only the control's window is compared. No control
    is empty, so the profile's rule for empty masks is not needed.
    """
    found: dict[str, dict[str, float]] = {}
    if not prompts:
        return found
    key_slices = sorted({prompt.key_slice for prompt in prompts})
    truth_on_key_slices = int(np.count_nonzero(truth[key_slices]))
    truth_total = int(np.count_nonzero(truth))
    for name, control in CONTROLS.items():
        window = control(image, prompts, truth, protocol)
        own = truth[window.where]
        rows = [index - window.where[0].start for index in key_slices]
        found[name] = {}
        for scope, mask, inside, total, size in (
            ("volume", window.mask, own, truth_total, truth.size),
            ("key_slice", window.mask[rows], own[rows], truth_on_key_slices, truth[0].size * len(rows)),
        ):
            tp, predicted = int(np.count_nonzero(mask & inside)), int(np.count_nonzero(mask))
            counts = Counts(tp, predicted - tp, total - tp, size - predicted - total + tp)
            found[name] |= {
                score_key(settings.profile, "dice", scope): dice(counts),
                score_key(settings.profile, "iou", scope): iou(counts),
            }
    return found
