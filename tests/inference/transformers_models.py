"""Random `Sam2VideoModel`s of transformers. Only `tox -e transformers` has it.

PyPI's torchvision does not import beside a CPU's torch, and transformers imports it wherever it is installed.
"""

from __future__ import annotations

import sys
import warnings

import torch

from medsam_core.inference.architectures import Architecture
from medsam_core.prompts.prompt import Prompt

sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel


def config_of(architecture: Architecture) -> Sam2VideoConfig:
    """transformers' configuration of one of our architectures."""
    width, memory = architecture.d_model, architecture.memory_dim
    widths = [architecture.embed_dim * 2**stage for stage in range(len(architecture.stages))]
    size, grid = architecture.image_size, architecture.feature_size
    return Sam2VideoConfig(
        image_size=size,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[grid * step, grid * step] for step in (4, 2, 1)],
            "fpn_hidden_size": width,
            "fpn_top_down_levels": list(architecture.fpn_top_down_levels),
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "image_size": [size, size],
                "hidden_size": widths[0],
                "blocks_per_stage": list(architecture.stages),
                "embed_dim_per_stage": widths,
                "num_attention_heads": architecture.num_heads,
                "num_attention_heads_per_stage": [architecture.num_heads * 2**stage for stage in range(len(widths))],
                "global_attention_blocks": list(architecture.global_att_blocks),
                "window_size_per_stage": list(architecture.window_spec),
                "window_positional_embedding_background_size": list(architecture.window_pos_embed_bkg_spatial_size),
                "num_query_pool_stages": architecture.q_pool,
            },
        },
        prompt_encoder_config={"image_size": size, "hidden_size": width},
        mask_decoder_config={"hidden_size": width},
        memory_attention_hidden_size=width,
        memory_attention_num_layers=architecture.memory_attention_layers,
        memory_attention_feed_forward_hidden_size=architecture.memory_attention_feedforward,
        memory_attention_rope_feat_sizes=[grid, grid],
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=memory,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=4 * width,
        enable_occlusion_spatial_embedding=architecture.no_obj_embed_spatial,
        enable_temporal_pos_encoding_for_object_pointers=architecture.proj_tpos_enc_in_obj_ptrs,
    )


def lively_model(architecture: Architecture, *, seed: int = 2, presence: float = 6.0) -> Sam2VideoModel:
    """Made-up weights with which masks are neither empty nor full.

    presence: what is added to the object score, so that the object is there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam2VideoModel(config_of(architecture)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # transformers' random layers are smaller than torch's own, which vary by the inputs of each output
                inputs = parameter[0].numel() if parameter.ndim > 1 else 625
                parameter.add_(0.8 * torch.randn_like(parameter) / inputs**0.5)
            # one matrix in sam2, and the same values twice in the published files
            model.shared_image_embedding.load_state_dict(model.prompt_encoder.shared_embedding.state_dict())
            model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(presence)
    return model


def tracked(
    model: Sam2VideoModel, frames: torch.Tensor, prompt: Prompt, shape: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask logits (D, s, s) and object scores (D,) by transformers' own tracking, from the first slice to the last.

    frames: (D, 3, S, S). prompt: a box or points on the first slice. shape: (D, H, W) of the volume.
    """
    depth, height, width = shape
    size = frames.shape[-1]
    corners = [] if prompt.box is None else [prompt.box[:2], prompt.box[2:]]
    labels = [2] * len(corners[:1]) + [3] * len(corners[1:]) + list(prompt.point_labels)
    places = torch.tensor([*corners, *prompt.points]) * torch.tensor([size / width, size / height])
    session = Sam2VideoInferenceSession(frames, height, width, dtype=torch.float32)
    number = session.obj_id_to_idx(1)
    inputs = {"point_coords": places[None, None], "point_labels": torch.tensor([[labels]])}
    session.add_point_inputs(number, 0, inputs)
    session.obj_with_new_inputs.append(1)
    with torch.inference_mode():
        outputs = [model(session, frame_idx=index) for index in range(depth)]
    scores = torch.stack([output.object_score_logits.reshape(()) for output in outputs])
    return torch.stack([output.pred_masks[0, 0] for output in outputs]), scores
