"""The numbers that define a SAM 2 model: one frozen dataclass, and presets for the models in use. No torch.

The presets repeat `sam2==1.1.0`'s configs/sam2/*.yaml and configs/sam2.1/*.yaml with the post-processing of
`build_sam2_video_predictor(apply_postprocessing=True)`; `medsam2` is bowang-lab/MedSAM2's sam2.1_hiera_t512.yaml.
A test builds each from sam2's own configuration and compares.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from medsam_core import decoding
from medsam_core.errors import CheckpointError, OptionError

BACKBONE_STRIDE = 16  # pixels of the model's image per token of the memory attention
MASK_STRIDE = 4  # pixels of the model's image per logit of the mask decoder
WHOLE_SLICE = "slice"  # the only field of view; checkpoints of some versions name it
IMAGE_SIZE_STEP = 32  # the trunk's coarsest level: every level of the pyramid must be twice the next
MOST_PIXELS = 4096  # along the image's side: beyond it the tables of the memory attention alone take gigabytes
_MOST_BLOCKS = 512  # of one stage; SAM 2 large has 36
_LARGEST_WINDOW = 256  # tokens along a side; SAM 2 has at most 16, and the trunk pads to whole windows
_POSITIVE = ("embed_dim", "num_heads", "d_model", "memory_attention_heads", "memory_dim", "num_maskmem", "rope_theta")
_INTERPOLATIONS = ("nearest", "bilinear")  # those that sam2's neck can do


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Everything needed to build sam2's `SAM2Base`, except the weights.

    Fields without a description are sam2's, under sam2's names: those of the trunk (Hiera) from embed_dim to q_pool,
    those of `SAM2Base` from num_maskmem on, the last three for its mask decoder: `model.build` goes by this order.
    Raises OptionError if the numbers do not fit together.
    """

    name: str
    """For people; not used in building."""
    image_size: int
    """Side of the square image that the model sees, in pixels; a multiple of 32."""
    embed_dim: int = 96
    num_heads: int = 1
    stages: tuple[int, ...] = (1, 2, 7, 2)
    global_att_blocks: tuple[int, ...] = (5, 7, 9)
    window_spec: tuple[int, ...] = (8, 4, 14, 7)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)
    q_pool: int = 3
    drop_path: float = 0.0
    """Of the trunk, in training only."""
    d_model: int = 256
    """Width of the neck (FPN), the prompt encoder, the mask decoder and the memory attention."""
    fpn_top_down_levels: tuple[int, ...] = (2, 3)
    fpn_interp_model: str = "nearest"
    scalp: int = 1
    memory_attention_layers: int = 4
    memory_attention_heads: int = 1
    memory_attention_feedforward: int = 2048
    rope_theta: float = 10000.0
    dropout: float = 0.1
    """Of the memory attention, in training only."""
    memory_dim: int = 64
    """Width of a stored memory. d_model is a multiple: a pointer is stored as d_model / memory_dim tokens."""
    fuser_layers: int = 2
    fuser_kernel: int = 7
    num_maskmem: int = 7
    max_obj_ptrs_in_encoder: int = 16
    sigmoid_scale_for_mem_enc: float = 20.0
    sigmoid_bias_for_mem_enc: float = -10.0
    use_mask_input_as_output_without_sam: bool = True
    directly_add_no_mem_embed: bool = True
    no_obj_embed_spatial: bool = True
    use_high_res_features_in_sam: bool = True
    multimask_output_in_sam: bool = True
    iou_prediction_use_sigmoid: bool = True
    use_obj_ptrs_in_encoder: bool = True
    add_tpos_enc_to_obj_ptrs: bool = True
    proj_tpos_enc_in_obj_ptrs: bool = True
    use_signed_tpos_enc_to_obj_ptrs: bool = True
    only_obj_ptrs_in_the_past_for_eval: bool = True
    pred_obj_scores: bool = True
    pred_obj_scores_mlp: bool = True
    fixed_no_obj_ptr: bool = True
    multimask_output_for_tracking: bool = True
    use_multimask_token_for_obj_ptr: bool = True
    multimask_min_pt_num: int = 0
    multimask_max_pt_num: int = 1
    use_mlp_for_obj_ptr_proj: bool = True
    # from here on: the post-processing that MedSAM2 and sam2's video predictor switch on
    binarize_mask_from_pts_for_mem_enc: bool = True
    dynamic_multimask_via_stability: bool = True
    dynamic_multimask_stability_delta: float = 0.05
    dynamic_multimask_stability_thresh: float = 0.98

    def __post_init__(self) -> None:
        if not 0 < self.image_size <= MOST_PIXELS or self.image_size % IMAGE_SIZE_STEP:
            raise OptionError(
                f"image size: got {self.image_size}, expected a positive multiple of {IMAGE_SIZE_STEP} up to "
                f"{MOST_PIXELS}; give such a size, or none for the checkpoint's own."
            )
        for field, most in (("stages", _MOST_BLOCKS), ("window_spec", _LARGEST_WINDOW)):
            numbers = getattr(self, field)
            if not numbers or not all(0 < number <= most for number in numbers):
                raise OptionError(
                    f"architecture {self.name}: got {field} {numbers}, expected numbers from 1 to {most}; correct them."
                )
        for field in _POSITIVE:
            if getattr(self, field) <= 0:
                raise OptionError(
                    f"architecture {self.name}: got {field} {getattr(self, field)}, expected a positive number; "
                    "correct it."
                )
        if self.fpn_interp_model not in _INTERPOLATIONS:
            raise OptionError(
                f"architecture {self.name}: got fpn_interp_model {self.fpn_interp_model!r}, expected one of "
                f"{', '.join(_INTERPOLATIONS)}; correct it."
            )
        if self.d_model % self.memory_dim or self.d_model % 8:
            raise OptionError(
                f"architecture {self.name}: got d_model {self.d_model} with memory_dim {self.memory_dim}, "
                "expected a multiple of memory_dim and of 8; change one of them."
            )
        if len(self.stages) != len(self.window_spec):
            raise OptionError(
                f"architecture {self.name}: got {len(self.stages)} stages and {len(self.window_spec)} window sizes, "
                "expected the same number of both; give one window size per stage."
            )

    @property
    def feature_size(self) -> int:
        """Tokens along one side of the memory attention's square grid (32 for 512 pixels)."""
        return self.image_size // BACKBONE_STRIDE

    @property
    def mask_size(self) -> int:
        """Side of the mask decoder's square logits (128 for 512 pixels)."""
        return self.image_size // MASK_STRIDE

    def with_image_size(self, image_size: int) -> Architecture:
        """The same weights' architecture for square images of another size (a multiple of 32 pixels)."""
        return dataclasses.replace(self, image_size=image_size)

    def to_json(self) -> str:
        """One line of JSON, as stored under "architecture" in the metadata of a safetensors file."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """The inverse of `to_json`, which for a while also wrote a field of view: the whole slice.

        Raises CheckpointError for anything else.
        """
        try:
            values = decoding.parse(text)
            found: dict[str, Any] = values if isinstance(values, dict) else {}
            if found.get("field_of_view") == WHOLE_SLICE:
                del found["field_of_view"]
            fields = {field.name for field in dataclasses.fields(cls)}
            if found.keys() != fields:
                raise decoding.Malformed(
                    f"got {text[:20]!r}… with unknown fields {sorted(found.keys() - fields)[:5]} and without "
                    f"{sorted(fields - found.keys())[:5]}"
                )
            return decoding.shape(found, cls)
        except (decoding.Malformed, OptionError) as problem:
            reason = str(problem).rstrip(".")
            raise CheckpointError(
                f"architecture in the checkpoint's metadata: {reason}, expected JSON with the fields of this version; "
                "use a checkpoint written by it or name the architecture with --medsam-architecture."
            ) from None


_TRUNKS: dict[str, dict[str, Any]] = {
    "tiny": {},  # the dataclass's defaults
    "small": {"stages": (1, 2, 11, 2), "global_att_blocks": (7, 10, 13)},
    "base+": {
        "embed_dim": 112,
        "num_heads": 2,
        "stages": (2, 3, 16, 3),
        "global_att_blocks": (12, 16, 20),
        "window_pos_embed_bkg_spatial_size": (14, 14),
    },
    "large": {
        "embed_dim": 144,
        "num_heads": 2,
        "stages": (2, 6, 36, 4),
        "global_att_blocks": (23, 33, 43),
        "window_spec": (8, 4, 16, 8),
    },
}
# SAM 2 of July 2024; 2.1 added the age of pointers and the memory of an absent object
_SAM2: dict[str, Any] = {
    "no_obj_embed_spatial": False,
    "add_tpos_enc_to_obj_ptrs": False,
    "proj_tpos_enc_in_obj_ptrs": False,
    "use_signed_tpos_enc_to_obj_ptrs": False,
}

ARCHITECTURES: dict[str, Architecture] = {
    **{f"sam2-{size}": Architecture(f"sam2-{size}", 1024, **trunk, **_SAM2) for size, trunk in _TRUNKS.items()},
    **{f"sam2.1-{size}": Architecture(f"sam2.1-{size}", 1024, **trunk) for size, trunk in _TRUNKS.items()},
    "medsam2": Architecture("medsam2", 512),
    "embedded": Architecture(
        "embedded",
        320,
        embed_dim=32,
        stages=(1, 2, 3, 1),
        global_att_blocks=(4, 5),
        window_spec=(8, 4, 8, 4),  # 14 is for 1024 pixels; at 320 the third stage has 20 × 20 tokens
        d_model=128,
        fpn_top_down_levels=(0, 1, 2, 3),
        memory_attention_layers=2,
        memory_attention_feedforward=512,
        memory_dim=32,
    ),
}


def architecture_named(name: str) -> Architecture:
    """The preset `name`. Raises OptionError, with the names of all presets, for another name."""
    if name not in ARCHITECTURES:
        raise OptionError(
            f"architecture: got {name!r}, expected one of {', '.join(ARCHITECTURES)}; choose one of them."
        )
    return ARCHITECTURES[name]
