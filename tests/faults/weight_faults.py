"""Faults in weights and layers: another model than the one that the run names."""

# ruff: noqa: ARG001   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import relu

from medsam_core.inference.model import build
from tests.faults.fault import Put, fault

if TYPE_CHECKING:
    from tests.faults.runner import Runner

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


def _noise(share: float) -> Put:
    def put(patch: Any, runner: Runner) -> None:
        generator = torch.Generator().manual_seed(0)

        def noisy(_: str, weight: torch.Tensor) -> torch.Tensor:
            if weight.ndim < 2:
                return weight
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            return (1 - share) * weight + share * weight.std() * noise

        runner.change_weights(noisy)

    return put


fault("all matrices 2 % towards noise", "nothing")(_noise(0.02))
fault("all matrices 5 % towards noise", "nothing")(_noise(0.05))
fault("all matrices 10 % towards noise", "nothing")(_noise(0.10))


def _fresh(name_part: str) -> Put:
    """Weights of one part from another checkpoint, freshly initialised."""

    def put(patch: Any, runner: Runner) -> None:
        torch.manual_seed(1)
        other = build(runner.model.architecture).state_dict()
        runner.change_weights(lambda name, weight: other[name].to(weight) if name_part in name else weight)

    return put


fault("one layer of another checkpoint: a block of the trunk", "nothing")(_fresh("image_encoder.trunk.blocks.5."))
fault("one layer of another checkpoint: the memory attention's first", "nothing")(_fresh("memory_attention.layers.0."))
fault("one layer of another checkpoint: the mask decoder's first", "nothing")(
    _fresh("sam_mask_decoder.transformer.layers.0.")
)


@fault("keys and queries of the memory attention swapped", "nothing")
def _(patch, runner):
    state = {name: weight.clone() for name, weight in runner.model.module.state_dict().items()}

    def swapped(name, weight):
        if "memory_attention" not in name or "self_attn" not in name:
            return weight
        turned = {"q_proj": "k_proj", "k_proj": "q_proj"}
        return next((state[name.replace(old, new)] for old, new in turned.items() if old in name), weight)

    runner.change_weights(swapped)


@fault("the position embedding of the image left out", "nothing")
def _(patch, runner):
    runner.change_weights(lambda name, w: torch.zeros_like(w) if "trunk.pos_embed" in name else w)


@fault("weights rounded to 6 bits for each tensor", "nothing")
def _(patch, runner):
    def rounded(_, weight):
        step = weight.abs().max() / 31
        return weight if weight.ndim < 2 or not step else (weight / step).round() * step

    runner.change_weights(rounded)


def _each(runner: Runner, kind: type[nn.Module]) -> list[Any]:
    return [module for module in runner.model.module.modules() if isinstance(module, kind)]


@fault("GELU: the tanh approximation instead of the exact one", "nothing")
def _(patch, runner):
    for module in _each(runner, nn.GELU):
        patch.setattr(module, "approximate", "tanh")


@fault("GELU: ReLU in its place", "nothing")
def _(patch, runner):
    for module in _each(runner, nn.GELU):
        patch.setattr(module, "forward", relu)


@fault("LayerNorm: eps 0.001 instead of 0.000001 in the trunk", "nothing")
def _(patch, runner):
    for module in _each(runner, nn.LayerNorm):
        patch.setattr(module, "eps", 0.001)


@fault("LayerNorm: eps 0.01", "nothing")
def _(patch, runner):
    for module in _each(runner, nn.LayerNorm):
        patch.setattr(module, "eps", 0.01)


@fault("LayerNorm: biases left out", "nothing")
def _(patch, runner):
    biases = {f"{name}.bias" for name, one in runner.model.module.named_modules() if isinstance(one, nn.LayerNorm)}
    runner.change_weights(lambda name, weight: torch.zeros_like(weight) if name in biases else weight)


@fault("one attention layer skipped: a block of the trunk", "nothing")
def _(patch, runner):
    patch.setattr(runner.model.module.image_encoder.trunk.blocks[5], "forward", lambda x: x)
