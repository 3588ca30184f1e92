"""Faults in images and masks: the pixels that the model sees, and the voxels that are made of what it says."""

# ruff: noqa: ARG001, ARG005   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from torch.nn.functional import interpolate as torch_interpolate

from medsam_core.evaluation import subject as evaluation
from medsam_core.inference import encoding, predictions, preprocessing
from medsam_core.plugin import evaluator as session
from tests.faults.fault import fault

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
        own = encode(volume)
        kept.append(own)
        last = kept[0].shape[0] - 1
        other = copy.copy(own)  # the runner keeps the volume itself for other faults
        other.features = lambda slices, upcoming=(): kept[0].features([min(one, last) for one in slices])
        return other

    patch.setattr(runner.predictor, "encode", stale)


def _resized(patch: Any, how: Image.Resampling, *sides: int) -> None:
    """Slices are resized in another way, first to each of the sides."""

    def resized(slices, image_size):
        found = []
        for one in slices:
            image = Image.fromarray(one)
            for side in (*sides, image_size):
                image = image.resize((side, side), how)
            found.append(np.asarray(image))
        return np.stack(found)

    patch.setattr(encoding, "resize_slices", resized)


@fault("half-resolution input", "nothing")
def _(patch, runner):
    _resized(patch, Image.Resampling.BICUBIC, 80)


@fault("resize bilinear", "nothing")
def _(patch, runner):
    _resized(patch, Image.Resampling.BILINEAR)


def _window(patch: Any, low: float, high: float) -> None:
    patch.setattr(preprocessing, "PERCENTILES", (low, high))


@fault("percentiles 5 and 95 instead of 0.5 and 99.5", "nothing")
def _(patch, runner):
    _window(patch, 5, 95)


@fault("scaled by the largest value instead of the percentile", "nothing")
def _(patch, runner):
    _window(patch, 0, 100)


@fault("bright voxels wrap around at 256", "nothing")
def _(patch, runner):
    def wrapped(voxels):
        inside = voxels[voxels != preprocessing.background_of(voxels)]
        low, high = np.percentile(inside, preprocessing.PERCENTILES)
        return np.where(voxels > low, (voxels - low) / (high - low) * 255, 0).astype(np.int64).astype(np.uint8)

    patch.setattr(encoding, "to_uint8", wrapped)


@fault("every slice normalised by itself", "nothing")
def _(patch, runner):
    to_uint8 = preprocessing.to_uint8
    patch.setattr(encoding, "to_uint8", lambda voxels: np.concatenate([to_uint8(one[None]) for one in voxels]))


@fault("the image mirrored along x, the mask not", "nothing")
def _(patch, runner):
    patch.setattr(encoding, "to_uint8", lambda voxels: preprocessing.to_uint8(voxels)[:, :, ::-1].copy())


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


@fault("mask threshold 0.5 in logits", "features")
def _(patch, runner):
    patch.setattr(predictions, "interpolate", lambda logits, **more: torch_interpolate(logits, **more) - 0.5)


@fault("largest component only", "masks")
def _(patch, runner):
    def largest(mask):
        parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
        return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if count else mask

    runner.change_masks(patch, largest)


@fault("holes filled in every slice", "masks")
def _(patch, runner):
    runner.change_masks(patch, lambda mask: np.stack([ndimage.binary_fill_holes(one) for one in mask]))


@fault("masks eroded by one voxel in the slice", "masks")
def _(patch, runner):
    runner.change_masks(patch, lambda mask: ndimage.binary_erosion(mask, np.ones((1, 3, 3), bool)))


@fault("the last three slices unwritten", "masks")
def _(patch, runner):
    last_unwritten(patch, runner)


def last_unwritten(patch: Any, runner: Any) -> None:
    """The mask is empty on the volume's last three slices."""
    runner.change_masks(patch, lambda mask: np.concatenate([mask[:-3], np.zeros_like(mask[-3:])]))


@fault("every sixteenth slice unwritten", "masks")
def _(patch, runner):
    runner.change_masks(patch, lambda mask: mask & (np.arange(len(mask)) % 16 != 7)[:, None, None])


# --- truth in the mask ----------------------------------------------------------------------------------------------


def _leak(patch: Any, leaked: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """leaked: from the mask and the truth to what is scored."""
    segment = session.segment

    def leaking(prepared, predictor):
        made = segment(prepared, predictor)
        masks = {case: leaked(mask, prepared.truths[case.region].mask) for case, mask in made.masks.items()}
        return dataclasses.replace(made, masks=masks)

    patch.setattr(session, "segment", leaking)


@fault("truth leaks into every fourth slice of the mask", "masks")
def _(patch, runner):
    _leak(patch, lambda mask, truth: np.where((np.arange(len(mask)) % 4 == 0)[:, None, None], truth, mask))


@fault("truth leaks into every sixteenth slice of the mask", "masks")
def _(patch, runner):
    _leak(patch, lambda mask, truth: np.where((np.arange(len(mask)) % 16 == 7)[:, None, None], truth, mask))


@fault("truth leaks into the key slice of the mask", "masks")
def _(patch, runner):
    def on_key_slice(mask, truth):
        key = truth.sum(axis=(1, 2)).argmax()
        return np.where((np.arange(len(mask)) == key)[:, None, None], truth, mask)

    _leak(patch, on_key_slice)


@fault("the mask is cut to the slices of the truth", "masks")
def _(patch, runner):
    _leak(patch, lambda mask, truth: mask & truth.any(axis=(1, 2), keepdims=True))


@fault("the mask is cut to the box around the truth", "masks")
def _(patch, runner):
    def cut(mask, truth):
        inside = np.zeros_like(mask)
        for box in ndimage.find_objects(truth.astype(np.uint8)):
            inside[box] = True
        return mask & inside

    _leak(patch, cut)
