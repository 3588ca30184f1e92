"""sam2's memory attention over a bank of fixed size, with few operations: a GPU waits for the launch of each.

As in `inference/attention.py` a key is the sum of a part that is computed when its memory is made and a part that
depends on its age alone. Here the place in the slice and the bias belong to the second part:

    rotate(W_k · memory)  +  rotate(W_k · (place + age) + bias)

so all layers' first parts are one product, and the second is a table. Values are the memories themselves, shared by all
layers: the weights of the attention sum to 1, so what projects the values and what projects their mean are one matrix.
Weights are put together in float64 and cast to the compute precision once, so no autocast is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch.nn.functional import layer_norm, linear, pad, scaled_dot_product_attention

from medsam_core.inference.model import LoadedModel


@dataclass(frozen=True)
class Linear:
    """A linear layer with weights in the compute precision."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)

    @classmethod
    def of(cls, layers: Sequence[Any], dtype: torch.dtype, *, bias: bool = True) -> Linear:
        """Layers with the same input as one product; without their bias where a table holds it."""
        biases = torch.cat([layer.bias for layer in layers]).to(dtype) if bias else None
        return cls(torch.cat([layer.weight for layer in layers]).to(dtype), biases)


@dataclass(frozen=True)
class Norm:
    """A layer norm over the last dimension, with weights in the compute precision."""

    weight: torch.Tensor
    bias: torch.Tensor
    epsilon: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)

    @classmethod
    def of(cls, norm: Any, dtype: torch.dtype, shift: torch.Tensor | float = 0.0) -> Norm:
        """sam2's LayerNorm or LayerNorm2d; shift: what is added to its result."""
        return cls(norm.weight.to(dtype), (norm.bias + shift).to(dtype), norm.eps)


@dataclass(frozen=True)
class _Layer:
    norm1: Norm
    itself: Linear
    """Query, key and value of the self-attention."""
    itself_out: Linear
    norm2: Norm
    query: Linear
    memories_out: Linear
    """The projection of values and that of the cross-attention's result, as one."""
    norm3: Norm
    first: Linear
    second: Linear


class FixedAttention:
    """The memory attention of one model. Call it within `torch.no_grad`, without autocast."""

    value_width: int
    """Width in which memories are stored as values; beyond memory_dim there are zeros."""

    def __init__(self, model: LoadedModel, *, narrow_values: bool = False) -> None:
        """narrow_values: store values memory_dim wide, which saves two fifths of the cross-attention's arithmetic.

        Fused attention takes values that are narrower than keys in some of its kernels only.
        """
        module: Any = model.module
        self.module, self.device = module, model.device
        self.dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
        self.heads: int = model.architecture.memory_attention_heads
        self.side: int = module.sam_image_embedding_size
        self.places = self.side**2
        self.width = module.hidden_dim // self.heads
        """Of a head."""
        self.value_width = module.mem_dim if narrow_values else max(self.width, module.mem_dim)
        self.pointer_tokens: int = module.hidden_dim // module.mem_dim
        """A pointer is stored as this many tokens."""
        self._layers = [self._layer(layer) for layer in module.memory_attention.layers]
        cross = [layer.cross_attn_image for layer in module.memory_attention.layers]
        self._keys = Linear.of([attention.k_proj for attention in cross], self.dtype, bias=False)
        self._cross = cross
        # the mask decoder adds the embedding of an absent mask prompt to what comes out here
        no_mask = module.sam_prompt_encoder.no_mask_embed.weight[0]
        self._norm = Norm.of(module.memory_attention.norm, self.dtype, shift=no_mask)
        self._angles: torch.Tensor = cross[0].freqs_cis.to(self.device)[:, None, None]  # (h * w, 1, 1, width / 2)
        self._turns = torch.view_as_real(self._angles)
        position = module.image_encoder.neck.position_encoding(self._empty(module.hidden_dim))
        self._position = (0.1 * position).flatten(2).transpose(1, 2).contiguous().to(self.dtype)
        self._aged_places = self._table_of_places()

    def __call__(
        self,
        features: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        ages: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """(n * h * w, d_model): the coarsest level's features, conditioned on memory, plus the absent mask's embedding.

        features: (n, h * w, d_model). keys: (layers, n, heads, m, width) without their ages. values: (n, m,
        value_width). ages: (layers, heads, m, width). mask: (m,), 0 or −inf where there is no memory yet; None if the
        bank is full.
        """
        n = len(features)
        value = values[:, None].expand(-1, self.heads, -1, -1)
        hidden = None if mask is None else mask.expand(n, self.heads, self.places, -1)
        x = (features + self._position).flatten(0, 1)
        for layer, own, aged in zip(self._layers, keys, ages, strict=True):
            asked = layer.itself(layer.norm1(x)).view(n, self.places, 3, self.heads, self.width)
            query, key = self._rotated(asked[:, :, :2]).transpose(1, 3).unbind(2)
            found = scaled_dot_product_attention(query, key, asked[:, :, 2].transpose(1, 2))
            x = x + layer.itself_out(_joined(found))
            asked = layer.query(layer.norm2(x)).view(n, self.places, 1, self.heads, self.width)
            query = self._rotated(asked)[:, :, 0].transpose(1, 2)
            found = self._read(query, own + aged, value, hidden)
            x = x + layer.memories_out(_joined(found))
            x = x + layer.second(layer.first(layer.norm3(x)).relu_())
        return self._norm(x)

    def _read(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor | None
    ) -> torch.Tensor:
        if hidden is None or self.device.type != "cuda":
            return scaled_dot_product_attention(query, key, value, attn_mask=hidden)
        # FlashAttention takes no mask, and cuDNN, which torch prefers on some GPUs, would plan for one more shape
        return torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, hidden, False)[0]

    def keys_of(self, memory: torch.Tensor) -> torch.Tensor:
        """(layers, n, heads, h * w, width): a memory's keys without place and age. memory: (n, h * w, memory_dim)."""
        made = self._keys(memory.flatten(0, 1)).view(len(memory), self.places, -1, self.heads, self.width)
        return self._rotated(made).permute(2, 0, 3, 1, 4)

    def pointer_keys_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """(layers, n, heads, p, width): the keys of pointers' tokens (n, p, memory_dim) without age; not rotated."""
        made = self._keys(tokens.flatten(0, 1)).view(*tokens.shape[:2], -1, self.heads, self.width)
        return made.permute(2, 0, 3, 1, 4)

    def table(self, slices: int) -> torch.Tensor:
        """(layers, heads, num_maskmem * h * w + slices, width): the part of the age in every key.

        slices: of the volume; scales the pointers' ages, as in sam2. First the ages of memories, the newest first, then
        the pointers' ages 0, 1, 2 …
        """
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            module = self.module
            encoded = torch.zeros(slices, module.mem_dim, device=self.device)
            if module.add_tpos_enc_to_obj_ptrs:
                width = module.hidden_dim if module.proj_tpos_enc_in_obj_ptrs else module.mem_dim
                oldest = min(slices, module.max_obj_ptrs_in_encoder) - 1
                ages = torch.arange(slices, device=self.device) / max(oldest, 1)
                encoded = module.obj_ptr_tpos_proj(get_1d_sine_pe(ages, dim=width))
            keys = torch.stack([self._split(cross.k_proj(encoded)) for cross in self._cross])
            return torch.cat([self._aged_places, keys.to(self.dtype)], 2)

    def _table_of_places(self) -> torch.Tensor:
        """(layers, heads, num_maskmem * h * w, width)."""
        module = self.module
        places = module.memory_encoder.position_encoding(self._empty(module.mem_dim)).flatten(2).transpose(1, 2)
        aged = places + module.maskmem_tpos_enc[:, 0]  # (num_maskmem, h * w, memory_dim)
        tables = []
        for cross in self._cross:
            keys = cross.k_proj(aged).unflatten(-1, (1, self.heads, -1))
            turned = torch.view_as_real(torch.view_as_complex(keys.unflatten(-1, (-1, 2))) * self._angles).flatten(-2)
            tables.append(turned[:, :, 0].permute(2, 0, 1, 3).flatten(1, 2))
        return torch.stack(tables).to(self.dtype)

    def _rotated(self, x: torch.Tensor) -> torch.Tensor:
        """RoPE: (n, h * w, …, heads, width), rotated by the angles of the places, in float32."""
        # inductor has no complex numbers; without it, this branch is ten times slower
        if torch.compiler.is_compiling():
            first, second = x.float().unflatten(-1, (-1, 2)).unbind(-1)
            cosine, sine = self._turns.unbind(-1)
            turned = torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1)
            return turned.flatten(-2).to(x.dtype)
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * self._angles).flatten(-2).to(x.dtype)

    def _layer(self, layer: Any) -> _Layer:
        own, cross, dtype = layer.self_attn, layer.cross_attn_image, self.dtype
        return _Layer(
            norm1=Norm.of(layer.norm1, dtype),
            itself=Linear.of([own.q_proj, own.k_proj, own.v_proj], dtype),
            itself_out=Linear.of([own.out_proj], dtype),
            norm2=Norm.of(layer.norm2, dtype),
            query=Linear.of([cross.q_proj], dtype),
            memories_out=self._values_then_out(cross),
            norm3=Norm.of(layer.norm3, dtype),
            first=Linear.of([layer.linear1], dtype),
            second=Linear.of([layer.linear2], dtype),
        )

    def _values_then_out(self, cross: Any) -> Linear:
        """From the means of memories by head, (heads * value_width), to the cross-attention's result."""
        out = cross.out_proj.weight.double()
        by_head = out.unflatten(1, (self.heads, -1)).transpose(0, 1) @ cross.v_proj.weight.double().unflatten(
            0, (self.heads, -1)
        )  # (heads, d_model, memory_dim)
        padded = pad(by_head, (0, self.value_width - by_head.shape[-1]))
        bias = out @ cross.v_proj.bias.double() + cross.out_proj.bias.double()
        return Linear(padded.transpose(0, 1).flatten(1).to(self.dtype), bias.to(self.dtype))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, d_model) -> (heads, tokens, width)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(0, 1)

    def _empty(self, channels: int) -> torch.Tensor:
        """What sam2's position encodings read a shape from."""
        return torch.empty(1, channels, self.side, self.side, device=self.device)


def _joined(x: torch.Tensor) -> torch.Tensor:
    """(n, heads, tokens, width) -> (n * tokens, heads * width)."""
    n, heads, tokens, width = x.shape
    return x.transpose(1, 2).reshape(n * tokens, heads * width)
