"""The scores of one case: of the model's mask in three scopes, and of the controls that use no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medsam_core.cases import Settings, score_key
from medsam_core.metrics import score
from medsam_core.metrics.overlap import Counts, count, dice, iou
from medsam_core.prompts.controls import CONTROLS
from medsam_core.prompts.prompt import Prompt


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
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
    region_slices = np.flatnonzero(truth.any(axis=(1, 2)))
    key_slices = np.array(sorted({prompt.key_slice for prompt in prompts}), dtype=int)
    scores: dict[str, float] = {}
    for scope, slices in (("volume", slice(None)), ("region_slices", region_slices), ("key_slice", key_slices)):
        pair, estimates = (prediction[slices], truth[slices]), None
        if not len(pair[0]):
            pair = np.zeros_like(prediction[:1]), np.zeros_like(truth[:1])
        elif predicted_iou is not None:
            estimates = predicted_iou[slices]
        values = score(
            *pair,
            spacing_mm,
            profile=settings.profile,
            metrics=settings.metrics,
            key_slices=key_slices.tolist() if scope == "volume" else (),
            predicted_iou=estimates,
            region=region,
        )
        scores |= {f"{key}@{scope}": value for key, value in values.items()}
    return scores


def count_case(prediction: np.ndarray, truth: np.ndarray, prompts: Sequence[Prompt]) -> dict[str, Counts]:
    """The voxels of the three scopes of `score_case`, counted apart from the metrics, so that the two can be compared.

    prediction, truth: (D, H, W) bool.
    """
    key_slices = np.array(sorted({prompt.key_slice for prompt in prompts}), dtype=int)
    region_slices = np.flatnonzero(truth.any(axis=(1, 2)))
    found = {}
    for scope, slices in (("volume", slice(None)), ("region_slices", region_slices), ("key_slice", key_slices)):
        predicted, true = prediction[slices], truth[slices]
        if not len(predicted):  # scored as two empty masks of one slice
            predicted, true = np.zeros_like(prediction[:1]), np.zeros_like(truth[:1])
        tp, fp = np.count_nonzero(predicted & true), np.count_nonzero(predicted & ~true)
        fn = np.count_nonzero(true & ~predicted)
        found[scope] = Counts(int(tp), int(fp), int(fn), int(true.size - tp - fp - fn))
    return found


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
    wholes = {"volume": truth, "key_slice": truth[key_slices]}
    totals = {scope: int(np.count_nonzero(whole)) for scope, whole in wholes.items()}
    for name, control in CONTROLS.items():
        window = control(image, prompts, truth, protocol)
        own, found[name] = truth[window.where], {}
        rows = [index - window.where[0].start for index in key_slices]
        for scope, part in (("volume", slice(None)), ("key_slice", rows)):
            inside = count(window.mask[part], own[part])
            fn = totals[scope] - inside.tp
            counts = replace(inside, fn=fn, tn=wholes[scope].size - inside.prediction - fn)
            found[name] |= {
                score_key(settings.profile, "dice", scope): dice(counts),
                score_key(settings.profile, "iou", scope): iou(counts),
            }
    return found
