"""Faults in scores and units: the masks are right, the numbers made of them are not."""

# ruff: noqa: ARG001   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from medsam_core.evaluation import scoring
from medsam_core.evaluation import subject as evaluation
from medsam_core.metrics import mask_pair
from medsam_core.plugin import reading_worker as session
from tests.faults.fault import fault


def _score(patch: Any, change: Callable[[dict[str, float], np.ndarray, np.ndarray], dict[str, float]]) -> None:
    score = scoring.score

    def changed(prediction, truth, spacing_mm, **more):
        return change(score(prediction, truth, spacing_mm, **more), prediction, truth)

    patch.setattr(scoring, "score", changed)


@fault("the scores of one case copied to all", "masks")
def _(patch, runner):
    score_case, first = evaluation.score_case, []

    def copied(*given):
        first.append(score_case(*given))
        return dict(first[0])

    patch.setattr(evaluation, "score_case", copied)


@fault("a score is NaN", "masks")
def _(patch, runner):
    _score(patch, lambda scores, *_: {key: float("nan") if "dice" in key else v for key, v in scores.items()})


@fault("empty masks, scored 1", "masks")
def _(patch, runner):
    runner.change_masks(patch, np.zeros_like)
    overlaps = ("dice", "iou", "sensitivity", "precision")

    def generous(scores, prediction, truth):
        if prediction.any():
            return scores
        return {key: 1.0 if key.split("/")[-1] in overlaps else value for key, value in scores.items()}

    _score(patch, generous)


@fault("key slice scores reported as the volume's", "masks")
def _(patch, runner):
    score_case = evaluation.score_case

    def narrow(*given):
        scores = score_case(*given)
        return {key: scores[key.replace("@volume", "@key_slice")] for key in scores}

    patch.setattr(evaluation, "score_case", narrow)


@fault("the truth scored in place of the prediction", "masks")
def _(patch, runner):
    score_case = evaluation.score_case
    patch.setattr(evaluation, "score_case", lambda _, truth, *more: score_case(truth.mask, truth, *more))


@fault("a region left out of a subject's results", "masks", crashes=True)
def _(patch, runner):
    score_segmented = session.score_segmented

    def lenient(*given):
        return (result for result in score_segmented(*given) if result.record.case.region != "ET")

    patch.setattr(session, "score_segmented", lenient)


@fault("Dice smoothed by 1", "masks")
def _(patch, runner):
    def smoothed(scores, prediction, truth):
        both, size = np.count_nonzero(prediction & truth), np.count_nonzero(prediction) + np.count_nonzero(truth)
        return {key: (2 * both + 1) / (size + 1) if key.endswith("/dice") else value for key, value in scores.items()}

    _score(patch, smoothed)


def _renamed(patch: Any, names: dict[str, str]) -> None:
    """Scores are reported under the names of others."""

    def renamed(scores, *_):
        return {key: scores[key.replace(name, names.get(name, name))] for key in scores for name in [key.split("/")[1]]}

    _score(patch, renamed)


@fault("IoU reported as Dice", "masks")
def _(patch, runner):
    _renamed(patch, {"dice": "iou"})


@fault("sensitivity reported as Dice", "masks")
def _(patch, runner):
    _renamed(patch, {"dice": "sensitivity"})


@fault("sensitivity and precision exchanged", "masks")
def _(patch, runner):
    _renamed(patch, {"sensitivity": "precision", "precision": "sensitivity"})


@fault("scores rounded to two decimals", "masks")
def _(patch, runner):
    _score(patch, lambda scores, *_: {key: round(value, 2) for key, value in scores.items()})


@fault("the region's slices reported as the volume", "masks")
def _(patch, runner):
    score_case = evaluation.score_case

    def narrow(*given):
        scores = score_case(*given)
        return scores | {key: scores[key.replace("@volume", "@region_slices")] for key in scores if "@volume" in key}

    patch.setattr(evaluation, "score_case", narrow)


@fault("the better of a subject's regions reported for all", "masks")
def _(patch, runner):
    score_segmented = session.score_segmented

    def best(*given):
        results = list(score_segmented(*given))
        top = max(results, key=lambda result: result.record.score("dice")).record
        for result in results:
            record = dataclasses.replace(result.record, scores=top.scores, counts=top.counts)
            yield dataclasses.replace(result, record=record)

    patch.setattr(session, "score_segmented", best)


# --- units ----------------------------------------------------------------------------------------------------------


@fault("wrong unit: mm³ given as ml", "masks")
def _(patch, runner):
    cubic_millimetres(patch)


def cubic_millimetres(patch: Any) -> None:
    """A volume in ml is a thousand times what it is."""
    millilitres = mask_pair.MaskPair.millilitres
    patch.setattr(mask_pair.MaskPair, "millilitres", lambda self, voxels: 1000 * millilitres(self, voxels))


@fault("wrong unit: the metrics are given the spacing in cm", "masks")
def _(patch, runner):
    score = scoring.score
    patch.setattr(
        scoring,
        "score",
        lambda mask, truth, spacing, **more: score(mask, truth, tuple(mm / 10 for mm in spacing), **more),
    )


@fault("wrong unit: an image in metres read as in mm", "masks")
def _(patch, runner):
    load = evaluation.load

    def small(subject, modality, **more):
        own = load(subject, modality, **more)
        affine = own.image.affine.copy()
        affine[:3] /= 1000
        return dataclasses.replace(own, image=dataclasses.replace(own.image, affine=affine))

    patch.setattr(evaluation, "load", small)


def _distances(patch: Any, spacing: Callable[[Any], tuple[float, ...]]) -> None:
    """Surface distances are measured with another spacing."""
    measure = mask_pair.MaskPair._measure

    def other(self, surface):
        own = self.spacing_mm
        self.spacing_mm = spacing(own)
        try:
            return measure(self, surface)
        finally:
            self.spacing_mm = own

    patch.setattr(mask_pair.MaskPair, "_measure", other)


@fault("wrong unit: HD95 in voxels", "masks")
def _(patch, runner):
    _distances(patch, lambda spacing_mm: (1.0,) * len(spacing_mm))


@fault("HD95 with the spacing in the order x, y, z", "masks")
def _(patch, runner):
    _distances(patch, lambda spacing_mm: tuple(spacing_mm[::-1]))
