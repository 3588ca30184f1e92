"""sam2's memory attention, with everything that does not change between steps computed once.

Every layer computes keys k_proj(memory + position) and values v_proj(memory) of the memories, rotates the keys (RoPE),
and attends. Of a stored memory only the age changes, and only the position depends on it: it is the sum of a place in
the slice and an embedding of the age. Projection and rotation are linear, so a key is

    rotate(k_proj(memory + place)) + rotate(W_k · age)

The first part is computed when the memory is made, the second is a table of `num_maskmem` ages. The weights of the
attention sum to 1, so values are averaged first, while they are `memory_dim` wide, and projected to `d_model`
afterwards. This gives sam2's results up to rounding. The order of memories does not matter.

Attention is explicit matrix products, one batch element at a time: the way of a CPU. A GPU takes
`inference/fixed_attention.py` wherever the architecture allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch.nn.functional import linear, scaled_dot_product_attention

from medsam_core.inference.conditioning import Reading
from medsam_core.inference.model import LoadedModel

ROWS = 256  # queries at a time, so that their scores stay in a core's cache


@dataclass(frozen=True)
class Projection:
    """One memory as the layers read it, in the compute precision."""

    tokens: torch.Tensor
    """(n, h * w, memory_dim)."""
    keys: tuple[torch.Tensor, ...]
    """For each layer (n, heads, h * w, d_model / heads), without the part of the age."""

    def of(self, rows: slice) -> Projection:
        """The projection of some batch elements."""
        return Projection(self.tokens[rows], tuple(layer[rows] for layer in self.keys))


@dataclass(frozen=True)
class Bank:
    """The memory bank of one step, for a batch of n."""

    memories: Sequence[tuple[int, Projection]]
    """(row of the table of ages, a memory's projection)."""
    pointers: torch.Tensor
    """(p, n, d_model), of the object."""
    pointer_ages: torch.Tensor
    """(p,) int64, in slices; (p, n) if the batch elements have their own."""
    readings: Sequence[Reading] = ()
    """What each batch element reads, instead of all memories at the rows above; () if all elements read all."""

    def memories_of(self, element: int) -> Sequence[tuple[int, Projection]]:
        """What a batch element reads: (row, projection)."""
        if not self.readings:
            return self.memories
        rows = zip(self.readings[element].rows, self.memories, strict=True)
        return [(row, memory) for row, (_, memory) in rows if row is not None]

    def pointers_of(self, element: int) -> list[int]:
        """Which pointers a batch element reads."""
        return [place for place, age in enumerate(self.readings[element].ages) if age is not None]


class MemoryAttention:
    """The layers of a model's memory attention. Call it within `torch.no_grad` and the model's autocast."""

    def __init__(self, model: LoadedModel, slices: int) -> None:
        """slices: of the volume; scales the pointers' ages, as in sam2."""
        self.module = model.module
        self.layers: Any = model.module.memory_attention.layers
        self.heads: int = model.architecture.memory_attention_heads
        self.dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
        self.device = model.device
        self.oldest_pointer = min(slices, self.module.max_obj_ptrs_in_encoder) - 1
        self._scratch = Scratch(self.dtype, self.device)
        self._angles: torch.Tensor = self.layers[0].cross_attn_image.freqs_cis.to(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            side = self.module.sam_image_embedding_size
            places = self.module.memory_encoder.position_encoding(torch.empty(1, 1, side, side, device=self.device))
            self._places = places.flatten(2).transpose(1, 2).to(self.dtype)  # (1, h * w, memory_dim)
            self._ages = [self._ages_of(layer.cross_attn_image) for layer in self.layers]

    def project(self, mask: torch.Tensor) -> Projection:
        """A memory (n, memory_dim, h, w) as every layer reads it."""
        tokens = mask.flatten(2).transpose(1, 2).to(self.dtype).contiguous()
        placed = tokens + self._places
        cross = [layer.cross_attn_image for layer in self.layers]
        keys = tuple(self._rotate(self._split(attention.k_proj(placed))) for attention in cross)
        return Projection(tokens, keys)

    def __call__(self, features: torch.Tensor, position: torch.Tensor, bank: Bank) -> torch.Tensor:
        """(n, d_model, h, w): the coarsest level's features, conditioned on memory.

        features: (n, d_model, h, w). position: (1, d_model, h, w), their position encoding.
        """
        n, _, h, w = features.shape
        x = (features + 0.1 * position).flatten(2).transpose(1, 2).contiguous()
        pointers, aged = self._pointers(bank, n)
        everything = self._tokens_read(bank, pointers)
        for place, layer in enumerate(self.layers):
            x = x + self._to_itself(layer.self_attn, layer.norm1(x).to(self.dtype))
            cross = layer.cross_attn_image
            query = self._rotate(self._split(cross.q_proj(layer.norm2(x).to(self.dtype))))
            key = self._split(cross.k_proj(aged))
            found = self._to_memories(place, query, key, bank, everything)
            # by head: (n, heads, tokens, memory_dim) -> (n, heads, tokens, d_model / heads)
            v = cross.v_proj
            weight, bias = (part.unflatten(0, (self.heads, -1)).to(found.dtype) for part in (v.weight, v.bias))
            found = found @ weight.transpose(1, 2) + bias[:, None]
            x = x + cross.out_proj(_joined(found))
            x = x + layer.linear2(layer.linear1(layer.norm3(x).to(self.dtype)).relu_())
        return self.module.memory_attention.norm(x).transpose(1, 2).unflatten(2, (h, w))

    def _to_itself(self, own: Any, x: torch.Tensor) -> torch.Tensor:
        """Self-attention of a layer: (n, tokens, d_model) in and out."""
        query, key = (self._rotate(self._split(project(x))) for project in (own.q_proj, own.k_proj))
        value = self._split(own.v_proj(x))
        # torch's fused attention uses no bfloat16 instructions on the CPU
        if self.dtype is torch.bfloat16:
            found = torch.stack([_attend(*element, self._scratch) for element in zip(query, key, value, strict=True)])
        else:
            found = scaled_dot_product_attention(query, key, value)
        return own.out_proj(_joined(found))

    def _to_memories(
        self,
        place: int,
        query: torch.Tensor,
        pointers: torch.Tensor,
        bank: Bank,
        everything: Sequence[torch.Tensor] | torch.Tensor,
    ) -> torch.Tensor:
        """(n, heads, tokens, memory_dim): cross-attention of layer `place`, one batch element after the other."""
        side = query.shape[-2]
        found = []
        for element in range(len(query)):
            key = self._scratch.take("key", (self.heads, len(everything[element]), query.shape[-1]))
            memories = bank.memories_of(element)
            for at, (row, memory) in enumerate(memories):
                torch.add(memory.keys[place][element], self._ages[place][row], out=key[:, at * side : (at + 1) * side])
            own = pointers[element]
            key[:, len(memories) * side :] = own[:, self._pointer_tokens(bank, element)] if bank.readings else own
            found.append(_attend(query[element], key, everything[element].expand(self.heads, -1, -1), self._scratch))
        return torch.stack(found)

    def _tokens_read(self, bank: Bank, pointers: torch.Tensor) -> Sequence[torch.Tensor] | torch.Tensor:
        """For each batch element the tokens that it reads, (m, memory_dim): those of memories, then of pointers."""
        if not bank.readings:
            return torch.cat([*(memory.tokens for _, memory in bank.memories), pointers], 1)
        found = []
        for element, own in enumerate(pointers):
            tokens = [memory.tokens[element] for _, memory in bank.memories_of(element)]
            found.append(torch.cat([*tokens, own[self._pointer_tokens(bank, element)]]))
        return found

    def _pointer_tokens(self, bank: Bank, element: int) -> list[int]:
        """The tokens of the pointers that a batch element reads."""
        if not self.module.use_obj_ptrs_in_encoder:
            return []
        count = self.module.hidden_dim // self.module.mem_dim
        return [place * count + token for place in bank.pointers_of(element) for token in range(count)]

    def _pointers(self, bank: Bank, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pointers split into tokens of memory_dim, (n, p * d_model / memory_dim, memory_dim): (plain, with age)."""
        module = self.module
        if not module.use_obj_ptrs_in_encoder:
            return (self._places.new_empty(n, 0, module.mem_dim),) * 2
        tokens = bank.pointers.transpose(0, 1).reshape(n, -1, module.mem_dim)
        if not module.add_tpos_enc_to_obj_ptrs:
            return tokens.to(self.dtype), tokens.to(self.dtype)
        width = module.hidden_dim if module.proj_tpos_enc_in_obj_ptrs else module.mem_dim
        ages = get_1d_sine_pe(bank.pointer_ages / self.oldest_pointer, dim=width)
        encoded = module.obj_ptr_tpos_proj(ages)
        if encoded.dim() == 3:  # (p, n, memory_dim)
            encoded = encoded.transpose(0, 1)
        encoded = encoded.repeat_interleave(module.hidden_dim // module.mem_dim, dim=-2)
        return tokens.to(self.dtype), (tokens + encoded).to(self.dtype)

    def _ages_of(self, cross: Any) -> torch.Tensor:
        """(num_maskmem, heads, h * w, d_model / heads): the part of each age in every key of a layer."""
        ages = linear(self.module.maskmem_tpos_enc.flatten(1), cross.k_proj.weight)
        return self._rotate(self._split(ages[:, None].expand(-1, self._places.shape[1], -1))).to(self.dtype)

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        """RoPE: (…, h * w, d_model / heads), rotated by the angles of the places, in float32."""
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * self._angles).flatten(-2).to(x.dtype)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(n, tokens, d_model) -> (n, heads, tokens, d_model / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Scratch:
    """Buffers for reuse: on the CPU the pages of a new buffer cost more than filling it."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self._buffers: dict[str, torch.Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A buffer with undefined content; the next caller with this name overwrites it."""
        size = math.prod(shape)
        if name not in self._buffers or self._buffers[name].numel() < size:
            self._buffers[name] = torch.empty(size, dtype=self.dtype, device=self.device)
        return self._buffers[name][:size].view(shape)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scratch: Scratch) -> torch.Tensor:
    """softmax(query · keyᵀ / √c) · value, (heads, tokens, v), from (heads, tokens, c), (heads, m, c), (heads, m, v)."""
    heads, tokens, width = query.shape
    found = query.new_empty(heads, tokens, value.shape[-1])
    scaled = query * width**-0.5
    for head in range(heads):
        for start in range(0, tokens, ROWS):
            rows = slice(start, min(start + ROWS, tokens))
            shape = (rows.stop - rows.start, key.shape[1])
            scores = torch.mm(scaled[head, rows], key[head].t(), out=scratch.take("scores", shape))
            weights = torch.softmax(scores, -1, out=scratch.take("weights", shape))
            torch.mm(weights, value[head], out=found[head, rows])
    return found


def _joined(x: torch.Tensor) -> torch.Tensor:
    """(n, heads, tokens, width) -> (n, tokens, heads * width)."""
    return x.transpose(1, 2).flatten(2)
