"""The faults: each is put into the running pipeline by replacing one of our functions or by damaging the weights.

A fault says what it leaves intact (`reuse`), so that the healthy run's work can be used again: "nothing" (images or
weights are touched), "features" (the slices' features are as before), "masks" (so are the predictions). Where a fault
changes what is asked, masks of other prompts are predicted anew.
"""

# ruff: noqa: ARG001, ARG005   every fault is put in by the same call, and replaces a function of a given signature

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate as torch_interpolate

from medsam_core.data.regions import LabelConvention
from medsam_core.evaluation import scoring
from medsam_core.evaluation import subject as evaluation
from medsam_core.inference import encoding, predictions, preprocessing, tracking
from medsam_core.inference.model import build
from medsam_core.inference.tracking import Memory, Tracker
from medsam_core.plugin import configuration as configuration_module
from medsam_core.plugin import evaluator as session
from medsam_core.prompts import prompt as prompts
from medsam_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    import pytest

    from tests.faults.bench import Bench

Put = Callable[["pytest.MonkeyPatch", "Bench"], None]


@dataclass(frozen=True)
class Fault:
    """name: what a person calls it. put: puts it in; the caller takes it out again.

    crashes: whether the fault ends in an exception that no user should meet, and not in a wrong number.
    """

    name: str
    reuse: str
    put: Put
    crashes: bool = False


FAULTS: list[Fault] = []


def fault(name: str, reuse: str, *, crashes: bool = False) -> Callable[[Put], Put]:
    def add(put: Put) -> Put:
        FAULTS.append(Fault(name, reuse, put, crashes))
        return put

    return add


# --- geometry and prompts -------------------------------------------------------------------------------------------


def _ask(patch: Any, change: Callable[[Prompt], Prompt]) -> None:
    """The model is asked something else than what was simulated and written down."""
    inputs = Tracker._inputs
    patch.setattr(Tracker, "_inputs", lambda self, asked: inputs(self, [change(prompt) for prompt in asked]))


@fault("x and y of a prompt swapped", "features")
def _(patch, bench):
    _ask(patch, lambda p: dataclasses.replace(p, box=(p.box[1], p.box[0], p.box[3], p.box[2])))


@fault("a prompt moved by 8 voxels", "features")
def _(patch, bench):
    width = bench.shape[2]

    def moved(p):
        x0, y0, x1, y1 = p.box
        step = 8 if x1 + 8 < width else -8
        return dataclasses.replace(p, box=(x0 + step, y0, x1 + step, y1))

    _ask(patch, moved)


@fault("key slice wrong: the prompt is put 5 slices higher", "features")
def _(patch, bench):
    top = bench.shape[0] - 1
    bench.ask_with(
        patch, lambda p: dataclasses.replace(p, key_slice=p.key_slice + (5 if p.key_slice + 5 <= top else -5))
    )


@fault("key slice wrong: the region's first instead of its largest", "features")
def _(patch, bench):
    patch.setattr(prompts, "key_slice_of", lambda truth, _: int(np.flatnonzero(truth.any(axis=(1, 2)))[0]))


@fault("slice off by one: the features of the next slice", "features")
def _(patch, bench):
    features = encoding.EncodedVolume.features

    def next_slice(self, slices, upcoming=()):
        return features(self, [min(index + 1, self.shape[0] - 1) for index in slices], ())

    patch.setattr(encoding.EncodedVolume, "features", next_slice)


@fault("slice off by one: masks written one slice too high", "masks")
def _(patch, bench):
    bench.change_masks(patch, lambda mask: np.roll(mask, 1, axis=0))


@fault("axes reversed: the image upside down along z", "nothing")
def _(patch, bench):
    patch.setattr(encoding, "to_uint8", lambda voxels: preprocessing.to_uint8(voxels)[::-1].copy())


@fault("axes reversed: masks mirrored along x", "masks")
def _(patch, bench):
    bench.change_masks(patch, lambda mask: mask[:, :, ::-1])


@fault("masks transposed in the slice", "masks")
def _(patch, bench):
    bench.change_masks(patch, lambda mask: mask.transpose(0, 2, 1))


# --- tracking -------------------------------------------------------------------------------------------------------


def _bank(patch: Any, change: Callable[[int, Memory, list[Memory]], tuple[Memory, list[Memory]]]) -> None:
    bank = Tracker._bank

    def changed(self, t, first, recent):
        return bank(self, t, *change(t, first, list(recent)))

    patch.setattr(Tracker, "_bank", changed)


def _blank(memory: Memory) -> Memory:
    return Memory(torch.zeros_like(memory.mask), torch.zeros_like(memory.pointer))


@fault("memory dropped after one slice", "features")
def _(patch, bench):
    _bank(patch, lambda t, first, recent: (first, recent) if t == 1 else (_blank(first), [_blank(m) for m in recent]))


@fault("memory of the prompted slice only", "features")
def _(patch, bench):
    _bank(patch, lambda t, first, recent: (first, []))


@fault("object pointers zeroed", "features")
def _(patch, bench):
    def zeroed(memory):
        return Memory(memory.mask, torch.zeros_like(memory.pointer))

    _bank(patch, lambda t, first, recent: (zeroed(first), [zeroed(m) for m in recent]))


@fault("memories in the wrong order of age", "features")
def _(patch, bench):
    _bank(patch, lambda t, first, recent: (first, recent[::-1]))


@fault("forward pass only", "features")
def _(patch, bench):
    tracks = predictions.Recorder.tracks
    patch.setattr(predictions.Recorder, "tracks", lambda self: [t for t in tracks(self) if t.direction > 0])


@fault("mask passed through the sigmoid before it is upsampled for the memory", "features")
def _(patch, bench):
    def early(logits, **more):
        return torch_interpolate(torch.sigmoid(logits), **more)

    patch.setattr(tracking, "interpolate", early)


@fault("the object is judged to be absent", "nothing")
def _(patch, bench):
    bias = bench.name_of(bench.model.module.sam_mask_decoder.pred_obj_score_head.layers[-1].bias)
    bench.change_weights(lambda name, weight: weight - 100 if name == bias else weight)


# --- images and pixels ----------------------------------------------------------------------------------------------


@fault("normalisation by global instead of foreground percentiles", "nothing")
def _(patch, bench):
    def everywhere(voxels):
        low, high = np.percentile(voxels, preprocessing.PERCENTILES)
        return ((np.clip(voxels, low, high) - low) / (high - low) * 255).astype(np.uint8)

    patch.setattr(encoding, "to_uint8", everywhere)


@fault("ImageNet mean omitted", "nothing")
def _(patch, bench):
    std = np.array(preprocessing.IMAGENET_STD)[:, None]
    patch.setattr(encoding, "normalisation_table", lambda: (np.arange(256) / 255.0 / std).astype(np.float32))


@fault("resize nearest", "nothing")
def _(patch, bench):
    def nearest(slices, image_size):
        size = (image_size, image_size)
        return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.NEAREST)) for one in slices])

    patch.setattr(encoding, "resize_slices", nearest)


@fault("intensities inverted", "nothing")
def _(patch, bench):
    patch.setattr(encoding, "to_uint8", lambda voxels: 255 - preprocessing.to_uint8(voxels))


@fault("another modality than the one asked for", "nothing")
def _(patch, bench):
    load = evaluation.load
    patch.setattr(evaluation, "load", lambda subject, modality, **more: load(subject, "t1", **more))


@fault("stale cache: the first subject's features for every subject", "features")
def _(patch, bench):
    encode = bench.predictor.encode
    kept: list[Any] = []

    def stale(volume):
        if not kept:
            kept.append(encode(volume))
        return kept[0]

    patch.setattr(bench.predictor, "encode", stale)


# --- masks ----------------------------------------------------------------------------------------------------------


@fault("mask cut off before it is upsampled", "features")
def _(patch, bench):
    def early(logits, size, **more):
        return torch_interpolate((logits > 0).float(), size=size, mode="nearest") - 0.5

    patch.setattr(predictions, "interpolate", early)


@fault("threshold shifted: logit above 2 instead of 0", "features")
def _(patch, bench):
    patch.setattr(predictions, "interpolate", lambda logits, **more: torch_interpolate(logits, **more) - 2)


@fault("batch elements permuted", "masks")
def _(patch, bench):
    predict = bench.predictor.predict

    def permuted(volume, asked, **more):
        found = predict(volume, asked, **more)
        return found[1:] + found[:1]

    patch.setattr(bench.predictor, "predict", permuted)


@fault("masks dilated by two voxels in the slice", "masks")
def _(patch, bench):
    from scipy import ndimage

    element = np.ones((1, 3, 3), bool)
    bench.change_masks(patch, lambda mask: ndimage.binary_dilation(mask, element, iterations=2))


@fault("no mask at all", "masks")
def _(patch, bench):
    bench.change_masks(patch, np.zeros_like)


# --- weights --------------------------------------------------------------------------------------------------------


def _half(name_part: str) -> Put:
    def put(patch: Any, bench: Bench) -> None:
        def halved(name: str, weight: torch.Tensor) -> torch.Tensor:
            if name_part not in name:
                return weight
            weight = weight.clone()
            weight[: len(weight) // 2] = 0
            return weight

        bench.change_weights(halved)

    return put


fault("half of the channels of one layer zeroed: the neck's coarsest level", "nothing")(
    _half("image_encoder.neck.convs.1.")
)
fault("half of the channels of one layer zeroed: a block of the trunk", "nothing")(
    _half("image_encoder.trunk.blocks.4.mlp.layers.0.")
)
fault("half of the channels of one layer zeroed: the memory encoder's output", "nothing")(
    _half("memory_encoder.out_proj.")
)


@fault("weights rounded to fp8", "nothing")
def _(patch, bench):
    bench.change_weights(lambda _, w: w.to(torch.float8_e4m3fn).to(w.dtype))


@fault("checkpoint of an earlier epoch: a quarter of the way back to the start", "nothing")
def _(patch, bench):
    torch.manual_seed(0)
    start = build(bench.model.architecture).state_dict()
    bench.change_weights(lambda name, w: torch.lerp(w, start[name].to(w), 0.25))


@fault("an untrained checkpoint", "nothing")
def _(patch, bench):
    torch.manual_seed(0)
    start = build(bench.model.architecture).state_dict()
    bench.change_weights(lambda name, w: start[name].to(w))


@fault("the model left in training mode", "nothing")
def _(patch, bench):
    torch.manual_seed(0)
    bench.afterwards(bench.model.module.eval)
    bench.model.module.train()


# --- truth and cohort -----------------------------------------------------------------------------------------------


def _regions(patch: Any, **regions: set[int]) -> None:
    mask = evaluation.region_mask

    def other(labels, region, convention):
        changed = {**convention.regions, **{name: frozenset(values) for name, values in regions.items()}}
        return mask(labels, region, LabelConvention(convention.name, convention.meanings, changed))

    patch.setattr(evaluation, "region_mask", other)


@fault("region map 4→3: enhancing tumour looked for under 3", "features")
def _(patch, bench):
    _regions(patch, WT={1, 2, 3}, TC={1, 3}, ET={3})


@fault("oedema counted as core", "features")
def _(patch, bench):
    _regions(patch, TC={1, 2, 4})


@fault("truth of another subject", "features")
def _(patch, bench):
    load, subjects = evaluation.load, bench.subjects

    def mixed(subject, modality, **more):
        own = load(subject, modality, **more)
        place = [other.id for other in subjects].index(subject.id)
        return dataclasses.replace(own, labels=load(subjects[place - 1], modality, **more).labels)

    patch.setattr(evaluation, "load", mixed)


@fault("truth shifted by one slice", "masks")
def _(patch, bench):
    mask = evaluation.region_mask
    patch.setattr(evaluation, "region_mask", lambda *given: np.roll(mask(*given), 1, axis=0))


@fault("a subject silently dropped from the cohort", "masks")
def _(patch, bench):
    find = configuration_module.find_subjects
    dropped = bench.subjects[0].id
    patch.setattr(configuration_module, "find_subjects", lambda root: tuple(s for s in find(root) if s.id != dropped))


@fault("a subject silently dropped from the results", "masks")
def _(patch, bench):
    add, dropped = session.Recorder.add, bench.subjects[0].id

    def forgetful(self, evaluated):
        if evaluated.record.case.subject != dropped:
            add(self, evaluated)

    patch.setattr(session.Recorder, "add", forgetful)


# --- scores ---------------------------------------------------------------------------------------------------------


def _score(patch: Any, change: Callable[[dict[str, float], np.ndarray, np.ndarray], dict[str, float]]) -> None:
    score = scoring.score

    def changed(prediction, truth, spacing_mm, **more):
        return change(score(prediction, truth, spacing_mm, **more), prediction, truth)

    patch.setattr(scoring, "score", changed)


@fault("results of one case copied to all", "masks")
def _(patch, bench):
    score_case, first = evaluation.score_case, []

    def copied(*given):
        first.append(score_case(*given))
        return dict(first[0])

    patch.setattr(evaluation, "score_case", copied)


@fault("NaN score", "masks")
def _(patch, bench):
    _score(patch, lambda scores, *_: {key: float("nan") if "dice" in key else v for key, v in scores.items()})


@fault("empty masks, scored 1", "masks")
def _(patch, bench):
    bench.change_masks(patch, np.zeros_like)
    overlaps = ("dice", "iou", "sensitivity", "precision")

    def generous(scores, prediction, truth):
        if prediction.any():
            return scores
        return {key: 1.0 if key.split("/")[-1] in overlaps else value for key, value in scores.items()}

    _score(patch, generous)


@fault("scores of the key slice given for the volume's", "masks")
def _(patch, bench):
    score_case = evaluation.score_case

    def narrow(*given):
        scores = score_case(*given)
        return {key: scores[key.replace("@volume", "@key_slice")] for key in scores}

    patch.setattr(evaluation, "score_case", narrow)


@fault("the truth given for the prediction", "masks")
def _(patch, bench):
    score_case = evaluation.score_case
    patch.setattr(evaluation, "score_case", lambda _, truth, *more: score_case(truth, truth, *more))


@fault("a region left out of a subject's results", "masks", crashes=True)
def _(patch, bench):
    score_segmented = session.score_segmented

    def lenient(*given):
        return (result for result in score_segmented(*given) if result.record.case.region != "ET")

    patch.setattr(session, "score_segmented", lenient)


def damaged_copy(state: dict[str, torch.Tensor], change: Callable[[str, torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """The weights with every floating-point one changed."""
    changed = copy.copy(state)
    for name, weight in state.items():
        if weight.is_floating_point():
            changed[name] = change(name, weight)
    return changed
