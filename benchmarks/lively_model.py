"""Made-up weights whose masks are neither empty nor full: for tests and for timing without a checkpoint."""

from __future__ import annotations

import torch

from medsam_core.inference.architectures import Architecture
from medsam_core.inference.checkpoints import CheckpointFile
from medsam_core.inference.model import LoadedModel, build


def lively_model(
    architecture: Architecture,
    *,
    seed: int = 1,
    presence: float = 2.0,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
) -> LoadedModel:
    """Made-up weights with which masks are neither empty nor full and memory matters.

    presence: what is added to the object score, so that the object is mostly there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(architecture)
        with torch.no_grad():
            for parameter in module.parameters():
                # fresh models hold many zeros (position embeddings, layer scales), which would hide errors
                parameter.add_(torch.randn_like(parameter) * 0.04)
            decoder = module.sam_mask_decoder
            decoder.pred_obj_score_head.layers[-1].weight.mul_(3)
            decoder.pred_obj_score_head.layers[-1].bias.add_(presence)
            for mlp in decoder.output_hypernetworks_mlps:
                mlp.layers[-1].weight.mul_(4)
    file = CheckpointFile("made-up", "/nowhere", "0" * 64)  # type: ignore[arg-type]
    return LoadedModel(module.to(device), architecture, file, torch.device(device), precision)
