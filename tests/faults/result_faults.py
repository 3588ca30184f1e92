"""Faults in truth, cohort and scores: the model is healthy, what is made of its masks is wrong."""

# ruff: noqa: ARG001   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from medsam_core.data.regions import LabelConvention
from medsam_core.evaluation import scoring
from medsam_core.evaluation import subject as evaluation
from medsam_core.plugin import configuration as configuration_module
from medsam_core.plugin import evaluator as session
from medsam_core.plugin import recorder
from tests.faults.fault import fault

# --- truth and cohort -----------------------------------------------------------------------------------------------


def _regions(patch: Any, **regions: set[int]) -> None:
    mask = evaluation.region_mask

    def other(labels, region, convention):
        changed = {**convention.regions, **{name: frozenset(values) for name, values in regions.items()}}
        return mask(labels, region, LabelConvention(convention.name, convention.meanings, changed))

    patch.setattr(evaluation, "region_mask", other)


@fault("wrong label map: enhancing tumour read as 3, not 4", "features")
def _(patch, runner):
    _regions(patch, WT={1, 2, 3}, TC={1, 3}, ET={3})


@fault("oedema counted as core", "features")
def _(patch, runner):
    _regions(patch, TC={1, 2, 4})


@fault("truth of another subject", "features")
def _(patch, runner):
    load, subjects = evaluation.load, runner.subjects

    def mixed(subject, modality, **more):
        own = load(subject, modality, **more)
        place = [other.id for other in subjects].index(subject.id)
        return dataclasses.replace(own, labels=load(subjects[place - 1], modality, **more).labels)

    patch.setattr(evaluation, "load", mixed)


@fault("truth shifted by one slice", "masks")
def _(patch, runner):
    mask = evaluation.region_mask
    patch.setattr(evaluation, "region_mask", lambda *given: np.roll(mask(*given), 1, axis=0))


@fault("a subject silently dropped from the cohort", "masks")
def _(patch, runner):
    find = configuration_module.find_subjects
    dropped = runner.subjects[0].id
    patch.setattr(
        configuration_module,
        "find_subjects",
        lambda root, **more: tuple(s for s in find(root, **more) if s.id != dropped),
    )


@fault("a subject silently dropped from the results", "masks")
def _(patch, runner):
    add, dropped = recorder.Recorder.add, runner.subjects[0].id

    def forgetful(self, evaluated):
        if evaluated.record.case.subject != dropped:
            add(self, evaluated)

    patch.setattr(recorder.Recorder, "add", forgetful)


# --- scores ---------------------------------------------------------------------------------------------------------


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
