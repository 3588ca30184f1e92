"""sam2's mask decoder on a slice that is not prompted, with few operations: a GPU waits for the launch of each.

Without a prompt the decoder's tokens and positions are the same in every step. What depends on them alone is computed
once: the tokens' first self-attention, and the part of the positions in each projection, which becomes a table in the
place of a bias. Projections of one input are one product, and the seven small networks that read the tokens are one
batch of products, filled up with zeros where they differ in width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import conv_transpose2d, gelu, linear, pad, scaled_dot_product_attention

from medsam_core.inference.architectures import Architecture
from medsam_core.inference.fixed_attention import Linear, Norm
from medsam_core.inference.model import LoadedModel

ABSENT = -1024.0  # the logits where the object is not there: sam2's NO_OBJ_SCORE
# what every published SAM 2 has
NEEDED = (
    "use_high_res_features_in_sam",
    "multimask_output_in_sam",
    "multimask_output_for_tracking",
    "use_multimask_token_for_obj_ptr",
    "use_obj_ptrs_in_encoder",
    "pred_obj_scores",
    "pred_obj_scores_mlp",
    "use_mlp_for_obj_ptr_proj",
    "fixed_no_obj_ptr",
)


def supports(architecture: Architecture) -> bool:
    """Whether a step of fixed shapes can take the place of sam2's: for all presets."""
    remembers = min(architecture.num_maskmem, architecture.max_obj_ptrs_in_encoder) > 1
    return remembers and architecture.multimask_min_pt_num == 0 and all(getattr(architecture, name) for name in NEEDED)


@dataclass(frozen=True)
class _Product:
    """Projections of one input, of which some add a fixed position to it before: one product and a table."""

    weight: torch.Tensor
    table: torch.Tensor
    """(tokens, width): the bias, with the position projected."""
    widths: tuple[int, ...]

    @classmethod
    def of(cls, position: torch.Tensor, dtype: torch.dtype, *, placed: list[Any], plain: list[Any]) -> _Product:
        """position: (tokens, channels). placed: the layers that add it to their input, the first in the result."""
        of_place = [linear(position, layer.weight, layer.bias) for layer in placed]
        biases = [layer.bias.expand(len(position), -1) for layer in plain]
        layers = [*placed, *plain]
        widths = tuple(len(layer.weight) for layer in layers)
        weight = torch.cat([layer.weight for layer in layers])
        return cls(weight.to(dtype), torch.cat([*of_place, *biases], 1).to(dtype), widths)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One (n, tokens, width) for each layer, from (n * tokens, channels)."""
        made = linear(x, self.weight).view(-1, *self.table.shape).add_(self.table)
        return made.split(self.widths, -1)


class FixedHeads:
    """The mask decoder of one model, for slices without a prompt. Call it within `torch.no_grad`, without autocast."""

    def __init__(self, model: LoadedModel) -> None:
        """model: of an architecture that `supports` accepts."""
        module: Any = model.module
        decoder = module.sam_mask_decoder
        self.dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
        self.side: int = module.sam_image_embedding_size
        self.sigmoid: bool = module.iou_prediction_use_sigmoid
        self.masks: int = decoder.num_mask_tokens - 1  # the first is for a single mask, which tracking does not use
        self._no_pointer = module.no_obj_ptr.to(self.dtype)
        first, second, third = decoder.output_upscaling[0], decoder.output_upscaling[3], decoder.output_upscaling[1]
        self._up1, self._up2 = ((layer.weight.to(self.dtype), layer.bias.to(self.dtype)) for layer in (first, second))
        self._up_norm = Norm.of(third, self.dtype)
        self._prepare_tokens(module, decoder)
        self._prepare_networks(module, decoder)

    def _prepare_tokens(self, module: Any, decoder: Any) -> None:
        dtype, device = self.dtype, decoder.iou_token.weight.device
        nothing = torch.zeros(1, 1, 2, device=device), -torch.ones(1, 1, dtype=torch.int32, device=device)
        sparse, _ = module.sam_prompt_encoder(points=nothing, boxes=None, masks=None)
        own = (decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight)
        tokens = torch.cat([*own, sparse[0]])
        places = module.sam_prompt_encoder.get_dense_pe()[0].flatten(1).t()
        transformer = decoder.transformer
        self._blocks = list(transformer.layers)
        start, last = self._blocks[0], transformer.final_attn_token_to_image
        queries = start.norm1(start.self_attn(tokens[None], tokens[None], tokens[None]))
        self._queries = queries.to(dtype)
        self._query = start.cross_attn_token_to_image.q_proj(queries + tokens).to(dtype)
        self._images, self._tokens, self._asks = [], [], []
        for block, after in zip(self._blocks, [*self._blocks[1:], None], strict=True):
            reads, read = block.cross_attn_token_to_image, block.cross_attn_image_to_token
            placed = [reads.k_proj, read.q_proj]
            self._images.append(_Product.of(places, dtype, placed=placed, plain=[reads.v_proj]))
            # the next self-attention, or the last attention, reads the same tokens as the image does
            following = [last.q_proj] if after is None else [after.self_attn.q_proj, after.self_attn.k_proj]
            values = [read.v_proj] + ([] if after is None else [after.self_attn.v_proj])
            self._tokens.append(_Product.of(tokens, dtype, placed=[read.k_proj, *following], plain=values))
            self._asks.append(_Product.of(tokens, dtype, placed=[reads.q_proj], plain=[]))
        self._last_image = _Product.of(places, dtype, placed=[last.k_proj], plain=[last.v_proj])
        self._outs = [
            tuple(
                Linear.of([layer.out_proj], dtype)
                for layer in (block.self_attn, block.cross_attn_token_to_image, block.cross_attn_image_to_token)
            )
            for block in self._blocks
        ]
        self._norms = [
            tuple(Norm.of(norm, dtype) for norm in (block.norm1, block.norm2, block.norm3, block.norm4))
            for block in self._blocks
        ]
        self._mlps = [tuple(Linear.of([layer], dtype) for layer in block.mlp.layers) for block in self._blocks]
        self._heads = [start.self_attn.num_heads, start.cross_attn_token_to_image.num_heads, last.num_heads]
        self._last_out, self._last_norm = Linear.of([last.out_proj], dtype), Norm.of(transformer.norm_final_attn, dtype)

    def _prepare_networks(self, module: Any, decoder: Any) -> None:
        """One batch: object score, predicted IoU, a mask's weights for each mask, its pointer for each mask."""
        pointer, hyper = module.obj_ptr_proj, list(decoder.output_hypernetworks_mlps)[1:]
        networks = [decoder.pred_obj_score_head, decoder.iou_prediction_head, *hyper, *[pointer] * self.masks]
        of_masks = list(range(3, 3 + self.masks))
        self._rows = torch.tensor([0, 1, *of_masks, *of_masks], device=self._queries.device)
        self._mask_width = len(hyper[0].layers[-1].bias)
        self._networks = []
        for depth in range(3):
            layers = [network.layers[depth] for network in networks]
            wide = max(len(layer.bias) for layer in layers)
            deep = max(layer.weight.shape[1] for layer in layers)
            weights = [pad(x.weight, (0, deep - x.weight.shape[1], 0, wide - len(x.bias))).t() for x in layers]
            biases = [pad(x.bias, (0, wide - len(x.bias)))[None] for x in layers]
            self._networks.append((torch.stack(biases).to(self.dtype), torch.stack(weights).to(self.dtype)))

    def __call__(
        self, image: torch.Tensor, middle: torch.Tensor, fine: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(logits (n, 1, s, s), predicted IoU (n,), object score (n,), pointer (n, d_model)); the first three float32.

        image: (n * h * w, d_model), with the absent mask's embedding. middle, fine: (n, …, 2 h, 2 w), (n, …, 4 h, 4 w).
        """
        n = len(fine)
        tokens, image = self._transform(image, n)
        up = image.view(n, self.side, self.side, -1).permute(0, 3, 1, 2)
        up = (conv_transpose2d(up, *self._up1, stride=2) + middle).permute(0, 2, 3, 1)
        up = gelu(self._up_norm(up)).permute(0, 3, 1, 2)
        up = gelu(conv_transpose2d(up, *self._up2, stride=2) + fine)
        x = tokens.index_select(1, self._rows).transpose(0, 1)
        for depth, (bias, weight) in enumerate(self._networks):
            x = torch.baddbmm(bias, x, weight)
            x = x.relu_() if depth < 2 else x
        score, ious = x[0, :, :1], x[1, :, 1 : 1 + self.masks]
        predicted, best = (ious.sigmoid() if self.sigmoid else ious).max(-1)
        each = x[2:].unflatten(0, (2, self.masks))
        chosen = each.gather(1, best[None, None, :, None].expand(2, 1, -1, each.shape[-1]))[:, 0]
        logits = (chosen[0, :, None, : self._mask_width] @ up.flatten(2)).unflatten(2, fine.shape[2:])
        there = score > 0
        logits = torch.where(there[..., None, None], logits, ABSENT).float()
        pointer = chosen[1, :, : self._no_pointer.shape[1]]
        pointer = torch.where(there, pointer, self._no_pointer)
        return logits, predicted.float(), score.flatten().float(), pointer

    def _transform(self, image: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The two-way transformer: (tokens (n, T, d_model), image (n * h * w, d_model))."""
        own, cross, last = self._heads
        queries = self._queries
        kept: tuple[torch.Tensor, ...] = ()
        for place, (norms, mlp, outs) in enumerate(zip(self._norms, self._mlps, self._outs, strict=True)):
            if place:
                queries = norms[0](queries + self._attended(kept[0], kept[1], kept[2], outs[0], own, n))
                (query,) = self._asks[place](queries.flatten(0, 1))
            else:
                query = self._query.expand(n, -1, -1).contiguous()
            key, asking, value = self._images[place](image)
            queries = norms[1](queries + self._attended(query, key, value, outs[1], cross, n))
            queries = norms[2](queries + mlp[1](mlp[0](queries).relu_()))
            image_key, *following, image_value = self._split_values(self._tokens[place](queries.flatten(0, 1)))
            seen = self._attended(asking, image_key, image_value, outs[2], cross, n)
            image = norms[3](image + seen.flatten(0, 1))
            kept = tuple(following)
        key, value = self._last_image(image)
        return self._last_norm(queries + self._attended(kept[0], key, value, self._last_out, last, n)), image

    @staticmethod
    def _split_values(made: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """(the image's key, what the next attention of tokens takes …, the image's value)."""
        if len(made) == 3:  # key, the last query, value
            return made
        key, next_query, next_key, value, next_value = made
        return key, next_query, next_key, next_value, value

    def _attended(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, out: Linear, heads: int, n: int
    ) -> torch.Tensor:
        """(n, tokens, d_model), from (n, tokens, width) each."""
        split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
        found = scaled_dot_product_attention(split[0], split[1], split[2])
        return out(found.transpose(1, 2).flatten(2).flatten(0, 1)).unflatten(0, (n, -1))
