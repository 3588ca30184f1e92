"""Faults in truth and cohort: the model is healthy, it is compared with something else, or on other subjects."""

# ruff: noqa: ARG001   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from medsam_core.data.cohort import load
from medsam_core.data.regions import LabelConvention
from medsam_core.data.volume import Volume
from medsam_core.evaluation import subject as evaluation
from medsam_core.plugin import configuration as configuration_module
from medsam_core.plugin import recorder
from tests.faults.fault import fault


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


def _labels(patch: Any, change: Callable[[Any, Volume], np.ndarray]) -> None:
    """change: from the subject and its labels to the voxels that are read in their place."""
    load = evaluation.load

    def other(subject, modality, **more):
        own = load(subject, modality, **more)
        return dataclasses.replace(
            own, labels=dataclasses.replace(own.labels, voxels=np.ascontiguousarray(change(subject, own.labels)))
        )

    patch.setattr(evaluation, "load", other)


@fault("truth of another subject", "features")
def _(patch, runner):
    subjects = runner.subjects
    voxels = [load(subject, "t1ce").labels.voxels for subject in subjects]

    def mixed(subject, labels):
        other = voxels[subjects.index(subject) - 1]
        # as many slices as the own image has, else the shapes would tell
        return other[np.linspace(0, len(other) - 1, len(labels.voxels)).round().astype(int)]

    _labels(patch, mixed)


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


@fault("the hardest subject's labels empty", "masks")
def _(patch, runner):
    _empty(patch, runner.hardest)


@fault("the easiest subject's labels empty", "masks")
def _(patch, runner):
    _empty(patch, runner.easiest)


def _empty(patch: Any, name: str) -> None:
    _labels(patch, lambda subject, labels: labels.voxels * (subject.id != name))


@fault("the hardest subject's enhancing tumour relabelled as core", "masks")
def _(patch, runner):
    name = runner.hardest
    _labels(patch, lambda subject, labels: np.where((labels.voxels == 4) & (subject.id == name), 1, labels.voxels))


@fault("labels resampled: every second slice repeated", "features")
def _(patch, runner):
    _labels(patch, lambda _, labels: np.repeat(labels.voxels[::2], 2, axis=0)[: len(labels.voxels)])


@fault("truth dilated by one voxel in the slice", "masks")
def _(patch, runner):
    score_case = evaluation.score_case
    element = np.ones((1, 3, 3), bool)
    patch.setattr(
        evaluation,
        "score_case",
        lambda mask, truth, *more: score_case(mask, ndimage.binary_dilation(truth.mask, element), *more),
    )


@fault("one subject under two names in place of the hardest", "masks")
def _(patch, runner):
    find = configuration_module.find_subjects
    easy, hard = runner.easiest, runner.hardest

    def doubled(root, **more):
        found = {subject.id: subject for subject in find(root, **more)}
        found[hard] = dataclasses.replace(found[easy], id=hard)
        return tuple(found.values())

    patch.setattr(configuration_module, "find_subjects", doubled)


@fault("only the easiest subject is scored", "masks")
def _(patch, runner):
    find, kept = configuration_module.find_subjects, runner.easiest
    patch.setattr(
        configuration_module,
        "find_subjects",
        lambda root, **more: tuple(s for s in find(root, **more) if s.id == kept),
    )
