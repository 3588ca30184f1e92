"""Faults in prompts and geometry: the model is asked something else, or its slices and axes are mixed up."""

# ruff: noqa: ARG001   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from medsam_core.inference import encoding, preprocessing, tracking
from medsam_core.prompts import simulation
from medsam_core.prompts.prompt import Prompt
from tests.faults.fault import fault


def _ask(patch: Any, change: Callable[[Prompt], Prompt]) -> None:
    """The model gets other prompts than those simulated and recorded."""
    inputs = tracking.model_inputs
    patch.setattr(tracking, "model_inputs", lambda asked, volume: inputs([change(prompt) for prompt in asked], volume))


@fault("x and y of a prompt swapped", "features")
def _(patch, runner):
    _ask(patch, lambda p: dataclasses.replace(p, box=(p.box[1], p.box[0], p.box[3], p.box[2])))


@fault("a prompt moved by 8 voxels", "features")
def _(patch, runner):
    width = runner.shapes[0][2]

    def moved(p):
        x0, y0, x1, y1 = p.box
        step = 8 if x1 + 8 < width else -8
        return dataclasses.replace(p, box=(x0 + step, y0, x1 + step, y1))

    _ask(patch, moved)


@fault("key slice wrong: the prompt 5 slices too high", "features")
def _(patch, runner):
    top = min(shape[0] for shape in runner.shapes) - 1
    runner.ask_with(
        patch, lambda p: dataclasses.replace(p, key_slice=p.key_slice + (5 if p.key_slice + 5 <= top else -5))
    )


@fault("key slice wrong: the region's first instead of its largest", "features")
def _(patch, runner):
    patch.setattr(simulation, "key_slice_of", lambda truth, _: int(truth.slices[0]))


@fault("slice off by one: the features of the next slice", "features")
def _(patch, runner):
    features = encoding.EncodedVolume.features

    def next_slice(self, slices, upcoming=()):
        return features(self, [min(index + 1, self.shape[0] - 1) for index in slices], ())

    patch.setattr(encoding.EncodedVolume, "features", next_slice)


@fault("slice off by one: masks written one slice too high", "masks")
def _(patch, runner):
    runner.change_masks(patch, lambda mask: np.roll(mask, 1, axis=0))


@fault("axes reversed: the image upside down along z", "nothing")
def _(patch, runner):
    patch.setattr(encoding, "to_uint8", lambda voxels: preprocessing.to_uint8(voxels)[::-1].copy())


@fault("axes reversed: masks mirrored along x", "masks")
def _(patch, runner):
    runner.change_masks(patch, lambda mask: mask[:, :, ::-1])


@fault("masks transposed in the slice", "masks")
def _(patch, runner):
    runner.change_masks(patch, lambda mask: mask.transpose(0, 2, 1))


def _corners(patch: Any, *steps: float) -> None:
    """The model gets boxes with moved corners; steps: added to x0, y0, x1 and y1."""
    _ask(patch, lambda p: dataclasses.replace(p, box=tuple(at + step for at, step in zip(p.box, steps, strict=True))))


@fault("box off by one voxel", "features")
def _(patch, runner):
    _corners(patch, 1, 1, 1, 1)


@fault("box with exclusive corners", "features")
def _(patch, runner):
    _corners(patch, 0, 0, 1, 1)


@fault("box drawn for an image of four fifths the size", "features")
def _(patch, runner):
    _ask(patch, lambda p: dataclasses.replace(p, box=tuple(0.8 * at for at in p.box)))


@fault("key slice wrong: the region's second largest", "features")
def _(patch, runner):
    patch.setattr(simulation, "key_slice_of", lambda truth, _: int(np.argsort(-truth.areas, kind="stable")[1]))


@fault("prompts of another subject", "features")
def _(patch, runner):
    predict, earlier = runner.predictor.predict, []

    def late(volume, asked, **more):
        earlier.append(asked)
        return predict(volume, earlier[-2:][0], **more)

    patch.setattr(runner.predictor, "predict", late)


@fault("the whole tumour's prompt for every region", "features")
def _(patch, runner):
    predict = runner.predictor.predict

    def same(volume, asked, **more):
        return predict(volume, [asked[0]] * len(asked), **more)

    patch.setattr(runner.predictor, "predict", same)
