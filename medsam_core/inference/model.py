"""From an architecture and weights to sam2's modules, without torchvision."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine, compute_axial_cis
from sam2.modeling.sam.transformer import Attention, RoPEAttention
from sam2.modeling.sam2_base import SAM2Base

from medsam_core.errors import CheckpointError
from medsam_core.inference import ambient
from medsam_core.inference.architectures import BACKBONE_STRIDE, Architecture, architecture_named
from medsam_core.inference.checkpoints import CheckpointFile, resolve
from medsam_core.inference.devices import resolve_device, resolve_precision
from medsam_core.inference.recognition import recognise
from medsam_core.inference.weights import Weights, load_weights
from medsam_core.text import few


class _RotaryAttention(RoPEAttention):
    """sam2's RoPEAttention with its table on the model's device.

    sam2's constructor moves the table to "cuda" whenever a GPU exists. This would start CUDA for a model on the CPU,
    and fail if the GPU is busy or not allowed.
    """

    def __init__(self, side: int, rope_theta: float, rope_k_repeat: bool, **attention: Any) -> None:
        Attention.__init__(self, **attention)
        self.compute_cis = partial(compute_axial_cis, dim=self.internal_dim // self.num_heads, theta=rope_theta)
        self.freqs_cis = self.compute_cis(end_x=side, end_y=side)
        self.rope_k_repeat = rope_k_repeat


def _position_encoding(features: int) -> PositionEmbeddingSine:
    # without the warm-up, which fills the cache on "cuda" whenever a GPU exists
    return PositionEmbeddingSine(num_pos_feats=features, normalize=True, temperature=10000, warmup_cache=False)


def _image_encoder(arch: Architecture) -> ImageEncoder:
    trunk = Hiera(
        embed_dim=arch.embed_dim,
        num_heads=arch.num_heads,
        drop_path_rate=arch.drop_path,
        q_pool=arch.q_pool,
        stages=arch.stages,
        global_att_blocks=arch.global_att_blocks,
        window_pos_embed_bkg_spatial_size=arch.window_pos_embed_bkg_spatial_size,
        window_spec=arch.window_spec,
    )
    neck = FpnNeck(
        position_encoding=_position_encoding(arch.d_model),
        d_model=arch.d_model,
        backbone_channel_list=[arch.embed_dim * 2**stage for stage in reversed(range(len(arch.stages)))],
        fpn_top_down_levels=list(arch.fpn_top_down_levels),
        fpn_interp_model=arch.fpn_interp_model,
    )
    return ImageEncoder(trunk=trunk, neck=neck, scalp=arch.scalp)


def _memory_attention(arch: Architecture) -> MemoryAttention:
    attention = partial(
        _RotaryAttention,
        side=arch.feature_size,
        rope_theta=arch.rope_theta,
        embedding_dim=arch.d_model,
        num_heads=arch.memory_attention_heads,
        downsample_rate=1,
        dropout=arch.dropout,
    )
    layer = MemoryAttentionLayer(
        activation="relu",
        cross_attention=attention(rope_k_repeat=True, kv_in_dim=arch.memory_dim),
        d_model=arch.d_model,
        dim_feedforward=arch.memory_attention_feedforward,
        dropout=arch.dropout,
        pos_enc_at_attn=False,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=attention(rope_k_repeat=False),
    )
    return MemoryAttention(
        d_model=arch.d_model, pos_enc_at_input=True, layer=layer, num_layers=arch.memory_attention_layers
    )


def _memory_encoder(arch: Architecture) -> MemoryEncoder:
    width, kernel = arch.d_model, arch.fuser_kernel
    block = CXBlock(dim=width, kernel_size=kernel, padding=kernel // 2, layer_scale_init_value=1e-6)
    downsampler = MaskDownSampler(embed_dim=width, kernel_size=3, stride=2, padding=1, total_stride=BACKBONE_STRIDE)
    return MemoryEncoder(
        out_dim=arch.memory_dim,
        mask_downsampler=downsampler,
        fuser=Fuser(block, num_layers=arch.fuser_layers),
        position_encoding=_position_encoding(arch.memory_dim),
        in_dim=width,
    )


def build(architecture: Architecture, device: str | torch.device = "cpu") -> SAM2Base:
    """sam2's model with random weights (from torch's global random state), in eval mode, on `device`.

    Parameters require gradients, so `build(...).train()` can be trained. CUDA is used only if `device` is on it. The
    state dict has the same keys and shapes as that of sam2's own model of the same configuration.
    """
    arch = architecture
    names = [field.name for field in fields(arch)]
    of_base, of_decoder = names[names.index("num_maskmem") : -3], names[-3:]
    model = SAM2Base(
        image_encoder=_image_encoder(arch),
        memory_attention=_memory_attention(arch),
        memory_encoder=_memory_encoder(arch),
        image_size=arch.image_size,
        backbone_stride=BACKBONE_STRIDE,
        sam_mask_decoder_extra_args={name: getattr(arch, name) for name in of_decoder},
        **{name: getattr(arch, name) for name in of_base},
    )
    return _to_device(model, device).eval()


def _to_device(model: SAM2Base, device: str | torch.device) -> SAM2Base:
    for module in model.modules():
        if isinstance(module, _RotaryAttention):
            # not a buffer in sam2, so the model's .to() does not move it
            module.freqs_cis = module.freqs_cis.to(device)
    return model.to(device)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """sam2's model with its weights, ready to predict, and the decisions made while loading."""

    module: SAM2Base
    """In eval mode, float32, on `device`. Parameters require gradients, else autocast would not cache their casts."""
    architecture: Architecture
    checkpoint: CheckpointFile
    device: torch.device
    precision: str
    """"fp32" or "bf16" (autocast; on the CPU except in the prompt encoder and the mask decoder)."""
    notes: tuple[str, ...] = ()
    """Decisions that a reader of the results should see, such as an assumed image size; one sentence each."""


@ambient.set_aside()
def load_model(
    checkpoint: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    architecture: str | Architecture | None = None,
    image_size: int | None = None,
    weights: str | None = None,
) -> LoadedModel:
    """The model for weights by path or name; None: the embedded ones.

    device, precision: see `resolve_device` and `resolve_precision`.
    architecture: a preset's name or an Architecture, instead of the one recognised from the weights.
    image_size: side of the image that the model sees, in pixels, instead of the architecture's own; a multiple of 32.
    weights: "model" or "ema" where the file holds both; None for "model".
    Raises CheckpointError (naming the keys that do not fit, or if the image size is not known), DeviceError or
    OptionError.
    """
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    if isinstance(architecture, str):
        architecture_named(architecture)  # a wrong name is an error before anything is downloaded
    loaded = load_weights(resolve(checkpoint), choice=weights)
    notes: tuple[str, ...] = ()
    if isinstance(architecture, Architecture):
        architecture = architecture if image_size is None else architecture.with_image_size(image_size)
    else:
        architecture, notes = recognise(loaded, image_size=image_size, name=architecture)
    with torch.random.fork_rng(devices=[]):  # random weights, soon replaced: keep the caller's random state
        module = _built(architecture, loaded)
    _check_keys(module, loaded, architecture)
    module.load_state_dict(loaded.state_dict)
    notes = (*loaded.notes, *notes)
    return LoadedModel(_to_device(module, device), architecture, loaded.file, device, precision, notes)


def _built(architecture: Architecture, weights: Weights) -> SAM2Base:
    if "architecture" not in weights.metadata:
        return build(architecture)
    try:
        return build(architecture)
    except Exception as error:  # numbers from a file can make sam2's constructors raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise CheckpointError(
            f"checkpoint {weights.file.path}: got an architecture in its metadata that cannot be built ({reason}), "
            "expected one of SAM 2; save it again with the metadata of its own architecture."
        ) from None


def _check_keys(module: SAM2Base, weights: Weights, architecture: Architecture) -> None:
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.state_dict.items()}
    differences = {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [key for key in found if key not in wanted],
        "of another shape": [key for key in wanted if key in found and wanted[key] != found[key]],
    }
    problems = [f"{len(keys)} {what} ({few(keys)})" for what, keys in differences.items() if keys]
    if problems:
        raise CheckpointError(
            f"checkpoint {weights.file.path}: got tensors that do not fit {architecture.name}: {'; '.join(problems)}; "
            f"expected exactly its {len(wanted)}; give the --medsam-architecture that they were trained for."
        )
