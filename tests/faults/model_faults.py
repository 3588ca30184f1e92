"""Faults in prompts, geometry, tracking, images, masks and weights: the model sees or gives something wrong."""

# ruff: noqa: ARG001, ARG005   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate as torch_interpolate

from medsam_core.evaluation import subject as evaluation
from medsam_core.inference import encoding, predictions, preprocessing, tracking
from medsam_core.inference.model import build
from medsam_core.inference.tracking import Memory, Tracker
from medsam_core.prompts import simulation
from medsam_core.prompts.prompt import Prompt
from tests.faults.fault import Put, fault

if TYPE_CHECKING:
    from tests.faults.runner import Runner

# --- geometry and prompts -------------------------------------------------------------------------------------------


def _ask(patch: Any, change: Callable[[Prompt], Prompt]) -> None:
    """The model gets other prompts than those simulated and recorded."""
    inputs = Tracker._inputs
    patch.setattr(Tracker, "_inputs", lambda self, asked: inputs(self, [change(prompt) for prompt in asked]))


@fault("x and y of a prompt swapped", "features")
def _(patch, runner):
    _ask(patch, lambda p: dataclasses.replace(p, box=(p.box[1], p.box[0], p.box[3], p.box[2])))


@fault("a prompt moved by 8 voxels", "features")
def _(patch, runner):
    width = runner.shape[2]

    def moved(p):
        x0, y0, x1, y1 = p.box
        step = 8 if x1 + 8 < width else -8
        return dataclasses.replace(p, box=(x0 + step, y0, x1 + step, y1))

    _ask(patch, moved)


@fault("key slice wrong: the prompt 5 slices too high", "features")
def _(patch, runner):
    top = runner.shape[0] - 1
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


# --- tracking -------------------------------------------------------------------------------------------------------


def _bank(patch: Any, change: Callable[[int, Memory, list[Memory]], tuple[Memory, list[Memory]]]) -> None:
    bank = Tracker._bank

    def changed(self, t, first, recent):
        return bank(self, t, *change(t, first, list(recent)))

    patch.setattr(Tracker, "_bank", changed)


def _blank(memory: Memory) -> Memory:
    return Memory(torch.zeros_like(memory.mask), torch.zeros_like(memory.pointer))


@fault("memory dropped after one slice", "features")
def _(patch, runner):
    _bank(patch, lambda t, first, recent: (first, recent) if t == 1 else (_blank(first), [_blank(m) for m in recent]))


@fault("memory of the prompted slice only", "features")
def _(patch, runner):
    _bank(patch, lambda t, first, recent: (first, []))


@fault("object pointers zeroed", "features")
def _(patch, runner):
    def zeroed(memory):
        return Memory(memory.mask, torch.zeros_like(memory.pointer))

    _bank(patch, lambda t, first, recent: (zeroed(first), [zeroed(m) for m in recent]))


@fault("memories in reverse order of age", "features")
def _(patch, runner):
    _bank(patch, lambda t, first, recent: (first, recent[::-1]))


@fault("forward pass only", "features")
def _(patch, runner):
    tracks = predictions.PredictionBuilder.tracks
    patch.setattr(predictions.PredictionBuilder, "tracks", lambda self: [t for t in tracks(self) if t.direction > 0])


@fault("sigmoid before upsampling in the memory's mask", "features")
def _(patch, runner):
    def early(logits, **more):
        return torch_interpolate(torch.sigmoid(logits), **more)

    patch.setattr(tracking, "interpolate", early)


@fault("the object is judged absent", "nothing")
def _(patch, runner):
    bias = runner.name_of(runner.model.module.sam_mask_decoder.pred_obj_score_head.layers[-1].bias)
    runner.change_weights(lambda name, weight: weight - 100 if name == bias else weight)


# --- images and pixels ----------------------------------------------------------------------------------------------


@fault("percentiles of all voxels instead of the foreground", "nothing")
def _(patch, runner):
    def everywhere(voxels):
        low, high = np.percentile(voxels, preprocessing.PERCENTILES)
        return ((np.clip(voxels, low, high) - low) / (high - low) * 255).astype(np.uint8)

    patch.setattr(encoding, "to_uint8", everywhere)


@fault("ImageNet mean omitted", "nothing")
def _(patch, runner):
    std = np.array(preprocessing.IMAGENET_STD)[:, None]
    patch.setattr(encoding, "normalisation_table", lambda: (np.arange(256) / 255.0 / std).astype(np.float32))


@fault("resize nearest", "nothing")
def _(patch, runner):
    def nearest(slices, image_size):
        size = (image_size, image_size)
        return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.NEAREST)) for one in slices])

    patch.setattr(encoding, "resize_slices", nearest)


@fault("intensities inverted", "nothing")
def _(patch, runner):
    patch.setattr(encoding, "to_uint8", lambda voxels: 255 - preprocessing.to_uint8(voxels))


@fault("wrong modality: T1 read in place of T1ce", "nothing")
def _(patch, runner):
    load = evaluation.load
    patch.setattr(evaluation, "load", lambda subject, modality, **more: load(subject, "t1", **more))


@fault("stale cache: every subject gets the first one's features", "features")
def _(patch, runner):
    encode = runner.predictor.encode
    kept: list[Any] = []

    def stale(volume):
        if not kept:
            kept.append(encode(volume))
        return kept[0]

    patch.setattr(runner.predictor, "encode", stale)


# --- masks ----------------------------------------------------------------------------------------------------------


@fault("mask thresholded before it is upsampled", "features")
def _(patch, runner):
    def early(logits, size, **more):
        return torch_interpolate((logits > 0).float(), size=size, mode="nearest") - 0.5

    patch.setattr(predictions, "interpolate", early)


@fault("threshold shifted: logit above 2 instead of 0", "features")
def _(patch, runner):
    patch.setattr(predictions, "interpolate", lambda logits, **more: torch_interpolate(logits, **more) - 2)


@fault("batch elements permuted", "masks")
def _(patch, runner):
    predict = runner.predictor.predict

    def permuted(volume, asked, **more):
        found = predict(volume, asked, **more)
        return found[1:] + found[:1]

    patch.setattr(runner.predictor, "predict", permuted)


@fault("masks dilated by two voxels in the slice", "masks")
def _(patch, runner):
    from scipy import ndimage

    element = np.ones((1, 3, 3), bool)
    runner.change_masks(patch, lambda mask: ndimage.binary_dilation(mask, element, iterations=2))


@fault("no mask at all", "masks")
def _(patch, runner):
    runner.change_masks(patch, np.zeros_like)


# --- weights --------------------------------------------------------------------------------------------------------


def _half(name_part: str) -> Put:
    def put(patch: Any, runner: Runner) -> None:
        def halved(name: str, weight: torch.Tensor) -> torch.Tensor:
            if name_part not in name:
                return weight
            weight = weight.clone()
            weight[: len(weight) // 2] = 0
            return weight

        runner.change_weights(halved)

    return put


fault("half the channels zeroed: the neck's coarsest level", "nothing")(_half("image_encoder.neck.convs.1."))
fault("half the channels zeroed: a block of the trunk", "nothing")(_half("image_encoder.trunk.blocks.4.mlp.layers.0."))
fault("half the channels zeroed: the memory encoder's output", "nothing")(_half("memory_encoder.out_proj."))


@fault("weights rounded to fp8", "nothing")
def _(patch, runner):
    runner.change_weights(lambda _, w: w.to(torch.float8_e4m3fn).to(w.dtype))


@fault("earlier checkpoint: weights a quarter of the way back to random", "nothing")
def _(patch, runner):
    torch.manual_seed(0)
    start = build(runner.model.architecture).state_dict()
    runner.change_weights(lambda name, w: torch.lerp(w, start[name].to(w), 0.25))


@fault("an untrained checkpoint", "nothing")
def _(patch, runner):
    torch.manual_seed(0)
    start = build(runner.model.architecture).state_dict()
    runner.change_weights(lambda name, w: start[name].to(w))


@fault("the model left in training mode", "nothing")
def _(patch, runner):
    torch.manual_seed(0)
    runner.afterwards(runner.model.module.eval)
    runner.model.module.train()
