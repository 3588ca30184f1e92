"""Faults in tracking: what the model remembers of other slices, and how far it goes."""

# ruff: noqa: ARG001, ARG005   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import interpolate as torch_interpolate

from medsam_core.inference import encoding, predictions, tracking
from medsam_core.inference.attention import Bank
from medsam_core.inference.tracking import Memory, Track, Tracker
from tests.faults.fault import fault


def _bank(patch: Any, change: Callable[[int, Memory, list[Memory]], tuple[Memory, list[Memory]]]) -> None:
    bank = Tracker._bank

    def changed(self, t, first, recent):
        return bank(self, t, *change(t, first, list(recent)))

    patch.setattr(Tracker, "_bank", changed)


def _interpolate(patch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The memory is made from other logits than the mask."""
    patch.setattr(tracking, "interpolate", lambda logits, **more: change(torch_interpolate(logits, **more)))


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


@fault("memory made from another threshold: logit 1 instead of 0", "features")
def _(patch, runner):
    _interpolate(patch, lambda logits: logits - 1)


@fault("memory made from the thresholded mask", "features")
def _(patch, runner):
    _interpolate(patch, lambda logits: torch.where(logits > 0, 20.0, -20.0))


def _kept(patch: Any, change: Callable[[list[Any]], list[Any]]) -> None:
    """The memory bank's masks are changed: pairs of an age's row and a memory, the prompted slice's first."""
    bank = Tracker._bank

    def changed(self, t, first, recent):
        made = bank(self, t, first, recent)
        return dataclasses.replace(made, memories=change(list(made.memories)))

    patch.setattr(Tracker, "_bank", changed)


@fault("a bank of six memories instead of seven", "features")
def _(patch, runner):
    _kept(patch, lambda memories: memories[:6])


@fault("a bank without the prompted slice", "features")
def _(patch, runner):
    _kept(patch, lambda memories: memories[1:] or memories)


@fault("every memory one slice older", "features")
def _(patch, runner):
    _kept(patch, lambda memories: [memories[0], *((min(age + 1, 5), memory) for age, memory in memories[1:])])


@fault("pointer of the prompted slice only", "features")
def _(patch, runner):
    bank = Tracker._bank

    def changed(self, t, first, recent):
        made = bank(self, t, first, recent)
        return Bank(made.memories, made.pointers[:1], made.pointer_ages[:1])

    patch.setattr(Tracker, "_bank", changed)


@fault("every second slice is not remembered", "features")
def _(patch, runner):
    _bank(patch, lambda t, first, recent: (first, recent[::-2][::-1]))


@fault("backward pass reusing forward memories", "features")
def _(patch, runner):
    advance, bank = Tracker.advance, Tracker._bank
    forward: list[Memory] = []
    newest: list[Memory] = []

    def filled(self, t, first, recent):
        newest[:] = recent
        return bank(self, t, first, [*forward, *recent])

    def advanced(self, tracks, first):
        for row, track in enumerate(tracks):
            own = first.of(slice(row, row + 1))
            steps = min(8, self.volume.shape[0] - 1 - track.key_slice)
            forward.clear()
            if track.direction < 0 and steps:
                for _ in advance(self, [Track(track.prompt, track.key_slice, 1, steps)], own):
                    pass
                forward.extend(newest[::-1])  # the slice nearest to the key slice is the newest
            yield from advance(self, [track], own)

    patch.setattr(Tracker, "_bank", filled)
    patch.setattr(Tracker, "advance", advanced)


@fault("one attention layer skipped: the memory attention's last", "features")
def _(patch, runner):
    layer = runner.model.module.memory_attention.layers[-1]
    for last in (layer.self_attn.out_proj, layer.cross_attn_image.out_proj, layer.linear2):
        patch.setattr(last, "forward", lambda x, width=last.out_features: x.new_zeros((*x.shape[:-1], width)))


@fault("tracking cut off after 25 slices", "features")
def _(patch, runner):
    cut_off(patch)


def cut_off(patch: Any) -> None:
    """No track goes further than 25 slices."""
    tracks = predictions.PredictionBuilder.tracks
    patch.setattr(
        predictions.PredictionBuilder,
        "tracks",
        lambda self: [dataclasses.replace(track, steps=min(track.steps, 25)) for track in tracks(self)],
    )


@fault("a slice that was encoded again after 40 others gets another slice's features", "features")
def _(patch, runner):
    features = encoding.EncodedVolume.features

    def evicted(self, slices, upcoming=()):
        return features(self, [index if index < 40 else index - 40 for index in slices], ())

    patch.setattr(encoding.EncodedVolume, "features", evicted)
