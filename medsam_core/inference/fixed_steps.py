"""Tracking in steps of few shapes, each with few operations: the way of a GPU, which waits for launches and plans.

    step t:  features of each track's slice ─┐
             keys, values of the bank ───────┼─ step ─→ masks, scores ──→ out
             ages, and where nothing is yet ─┘      └─→ new memory ─→ into the bank, over the oldest

Everything that a step reads is in buffers at fixed places, written in place, so a graph of the step can be recorded
once and replayed. The batch has one of `WIDTHS` rows: tracks that have ended are carried along, their results unused,
until a smaller width has room for the others. The bank has room for all memories and pointers from the start; while it
fills, for 15 steps, a mask hides the empty places, and the batch does not shrink. So a step's shape is (rows, filling).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsam_core.inference.compilation import Checked
from medsam_core.inference.encoding import EncodedVolume
from medsam_core.inference.fixed_attention import FixedAttention
from medsam_core.inference.fixed_heads import FixedHeads
from medsam_core.inference.fixed_memory import FixedMemoryEncoder
from medsam_core.inference.model import LoadedModel

if TYPE_CHECKING:
    from medsam_core.inference.tracking import Memory, Track

    Upcoming = Callable[[Sequence[Track], int], Iterable[int]]

WIDTHS = (8, 16, 24, 32, 48, 64)  # rows of a batch: with the filling bank at most eight shapes for a subject
EXACT = 5  # the first results of a step, which are not rounded to bfloat16
CONDITIONING = 0  # the place of the prompted slice in the bank; the others are a ring behind it


def width_for(tracks: int) -> int:
    """The rows of a batch of so many tracks; beyond the largest width a multiple of it."""
    largest = WIDTHS[-1]
    return next((width for width in WIDTHS if width >= tracks), -(-tracks // largest) * largest)


class FixedStep:
    """One step for tracks that are not prompted, as a function of tensors. Call it within `torch.no_grad`."""

    def __init__(self, model: LoadedModel, *, narrow_values: bool = False) -> None:
        """model: of an architecture that `fixed_heads.supports` accepts. narrow_values: see `FixedAttention`."""
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            self.attention = FixedAttention(model, narrow_values=narrow_values)
            self.heads = FixedHeads(model)
            self.memory = FixedMemoryEncoder(model)
        self.dtype = self.attention.dtype

    def __call__(
        self,
        features: Sequence[torch.Tensor],
        keys: torch.Tensor,
        values: torch.Tensor,
        ages: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        """features: fine to coarse, each (n, side, side, channels); for the rest see `FixedAttention`.

        Returns logits (n, 1, s, s), predicted IoU (n,), object score (n,), the pointer's tokens and their keys (the
        first `EXACT`), then the memory in bfloat16 and its keys.
        """
        with torch.autocast(keys.device.type, enabled=False):
            fine, middle, coarse = (level.to(self.dtype) for level in features)
            coarse = coarse.flatten(1, 2)
            image = self.attention(coarse, keys, values, ages, mask)
            logits, predicted, score, pointer = self.heads(image, middle.permute(0, 3, 1, 2), fine.permute(0, 3, 1, 2))
            memory = self.memory(coarse, logits, score)
            tokens = pointer.unflatten(1, (self.attention.pointer_tokens, -1))
            of_pointer = self.attention.pointer_keys_of(tokens)
            of_memory = self.attention.keys_of(memory.to(self.dtype))
        return logits, predicted, score, tokens, of_pointer, memory, of_memory


@dataclass(frozen=True)
class Schedule:
    """What every step reads of the bank: the same for all volumes."""

    rows: torch.Tensor
    """(steps, m) int64, of `FixedAttention.table`: the age of each of the bank's places."""
    hidden: torch.Tensor
    """(filling, m) of the compute precision: −inf where a place is still empty, else 0."""


class Bank:
    """The buffers of all tracks of a batch, and of what a step reads; each at its place for good."""

    width: int
    """Rows."""
    features: list[torch.Tensor]
    """Of each track's slice, fine to coarse, each (width, side, side, channels)."""
    keys: torch.Tensor
    """(layers, width, heads, m, width of a head): first the memories' tokens, then those of the pointers."""
    values: torch.Tensor
    """(width, m, value_width)."""
    ages: torch.Tensor
    """(layers, heads, m, width of a head)."""
    mask: torch.Tensor
    """(m,)."""

    def __init__(self, attention: FixedAttention, width: int, volume: EncodedVolume) -> None:
        """volume: with features, whose shapes and precision the buffers take."""
        module, device, dtype = attention.module, attention.device, attention.dtype
        self.attention, self.width = attention, width
        self.memories: int = module.num_maskmem
        self.pointers: int = module.max_obj_ptrs_in_encoder
        self.filling = max(self.memories, self.pointers) - 1
        """Steps until the bank is full, for its own sake and not the volume's."""
        self._start = self.memories * attention.places  # of the pointers
        self.places = self._start + self.pointers * attention.pointer_tokens
        layers = len(module.memory_attention.layers)
        keys = (attention.heads, self.places, attention.width)
        # zeros: what a mask hides must be finite
        self.keys = torch.zeros(layers, width, *keys, dtype=dtype, device=device)
        self.values = torch.zeros(width, self.places, attention.value_width, dtype=dtype, device=device)
        self.ages = torch.zeros(layers, *keys, dtype=dtype, device=device)
        self.mask = torch.zeros(self.places, dtype=dtype, device=device)
        self.features = volume.buffers(width)
        self._schedule = self._made(0)

    def write_memory(self, place: int, memory: torch.Tensor, keys: torch.Tensor) -> None:
        """Put a memory (n, h * w, memory_dim) with its keys into place 0 ≤ place < memories."""
        at = slice(place * self.attention.places, (place + 1) * self.attention.places)
        self._write(at, memory, keys)

    def write_pointer(self, place: int, tokens: torch.Tensor, keys: torch.Tensor) -> None:
        """Put a pointer's tokens (n, p, memory_dim) with their keys into place 0 ≤ place < pointers."""
        start, count = self._start, self.attention.pointer_tokens
        self._write(slice(start + place * count, start + (place + 1) * count), tokens, keys)

    def _write(self, at: slice, tokens: torch.Tensor, keys: torch.Tensor) -> None:
        n = len(tokens)
        self.keys[:, :n, :, at].copy_(keys)
        self.values[:n, at, : tokens.shape[-1]].copy_(tokens)

    def schedule(self, steps: int) -> Schedule:
        """For times 1 … steps, or more. At time t the newest memory is of time t − 1."""
        if steps > len(self._schedule.rows):
            self._schedule = self._made(steps)
        return self._schedule

    def _made(self, steps: int) -> Schedule:
        rows = np.zeros((steps, self.places), np.int64)
        hidden = np.zeros((min(steps, self.filling), self.places), np.float32)
        inside, tokens = np.arange(self.attention.places), self.attention.pointer_tokens
        for t in range(1, steps + 1):
            of_memories, of_pointers = ages(t, self.memories), ages(t, self.pointers)
            # sam2's table has the newest first; the prompted slice is always the last
            table = np.array([self.memories - 1, *(max(age, 1) - 1 for age in of_memories[1:])])
            pointed = self._start + np.repeat(of_pointers, tokens)
            rows[t - 1] = np.concatenate([(table[:, None] * len(inside) + inside).ravel(), pointed])
            if t <= self.filling:
                empty = [np.repeat(of_memories == 0, len(inside)), np.repeat(of_pointers == 0, tokens)]
                hidden[t - 1][np.concatenate(empty)] = -np.inf
        device, dtype = self.attention.device, self.attention.dtype
        return Schedule(torch.from_numpy(rows).to(device), torch.from_numpy(hidden).to(device, dtype))


def ages(t: int, places: int) -> np.ndarray:
    """(places,) int64: at time t, how many steps ago each place was written; 0 where nothing is yet.

    Place 0 is of time 0, the prompted slice. Time s > 0 is in place `ring_place(s, places)`.
    """
    found = np.zeros(places, np.int64)
    found[CONDITIONING] = t
    for s in range(max(1, t - places + 1), t):
        found[ring_place(s, places)] = t - s
    return found


def ring_place(s: int, places: int) -> int:
    """Where the memory of time s > 0 is: over the oldest, but for the prompted slice."""
    return 1 + (s - 1) % (places - 1)


class FixedSteps:
    """Runs one model's tracks in steps of few shapes. Keeps its buffers, and what was recorded with them."""

    def __init__(self, step: FixedStep, run: Checked | None = None) -> None:
        """run: compiles or records the step, with which it was made; None for the plain step."""
        self.step, self.run = step, run
        self.shapes: dict[tuple[int, bool], int] = {}
        """How many steps had each shape: (rows, whether the bank was filling)."""
        self._bank: Bank | None = None

    @torch.no_grad()
    def advance(
        self, volume: EncodedVolume, tracks: Sequence[Track], first: Memory, upcoming: Upcoming
    ) -> Iterator[tuple[int, Sequence[Track], tuple[torch.Tensor, ...]]]:
        """Follow tracks from the memory of their prompted slices.

        tracks: the longest first. first: one batch element for each.
        upcoming: (tracks, t) -> the slices that they need after time t.
        Yields (t, active, results) for t = 1, 2, …: the first len(active) rows of the results of `FixedStep` are those
        of the active tracks. The next step may overwrite them.
        """
        try:
            yield from self._advance(volume, tracks, first, upcoming)
        except torch.OutOfMemoryError:
            self._forget()  # the next try is with fewer tracks
            raise

    def _advance(
        self, volume: EncodedVolume, tracks: Sequence[Track], first: Memory, upcoming: Upcoming
    ) -> Iterator[tuple[int, Sequence[Track], tuple[torch.Tensor, ...]]]:
        bank = self._bank_for(len(tracks), volume)
        steps = tracks[0].steps
        schedule, table = bank.schedule(steps), self.step.attention.table(volume.shape[0])
        self._begin(bank, first)
        width = width_for(len(tracks))
        for t in range(1, steps + 1):
            active = [track for track in tracks if track.steps >= t]
            filling = t <= bank.filling
            if not filling:
                width = width_for(len(active))
            carried = [*tracks, *[tracks[-1]] * (width - len(tracks))][:width]
            slices = [track.key_slice + track.direction * min(t, track.steps) for track in carried]
            features = [level[:width] for level in bank.features]
            volume.features(slices, upcoming(active, t), out=features)
            torch.index_select(table, 2, schedule.rows[t - 1], out=bank.ages)
            mask = bank.mask.copy_(schedule.hidden[t - 1]) if filling else None
            given = (features, bank.keys[:, :width], bank.values[:width], bank.ages, mask)
            results = self._called((width, filling), *given)
            self._remember(bank, t, results)
            yield t, active, tuple(results)

    def _called(self, shape: tuple[int, bool], *given: Any) -> Sequence[torch.Tensor]:
        self.shapes[shape] = self.shapes.get(shape, 0) + 1
        return self.step(*given) if self.run is None else self.run(shape, *given)

    def _bank_for(self, tracks: int, volume: EncodedVolume) -> Bank:
        """The buffers; larger ones replace them, with what was recorded for them."""
        width = width_for(tracks)
        if self._bank is None or self._bank.width < width:
            self._forget()  # before the next one is made: there may not be room for both
            self._bank = Bank(self.step.attention, width, volume)
        return self._bank

    def _forget(self) -> None:
        self._bank = None
        if self.run is not None:
            self.run.forget()

    def _begin(self, bank: Bank, first: Memory) -> None:
        """The prompted slices' memories and pointers into the bank."""
        attention, dtype = self.step.attention, self.step.dtype
        with torch.autocast(attention.device.type, enabled=False):
            memory = first.mask.flatten(2).transpose(1, 2).to(dtype).contiguous()
            bank.write_memory(CONDITIONING, memory, attention.keys_of(memory))
            tokens = first.pointer.to(dtype).unflatten(1, (attention.pointer_tokens, -1))
            bank.write_pointer(CONDITIONING, tokens, attention.pointer_keys_of(tokens))

    def _remember(self, bank: Bank, t: int, results: Sequence[torch.Tensor]) -> None:
        """Time t's memory and pointer into the bank."""
        _, _, _, tokens, of_pointer, memory, of_memory = results
        bank.write_memory(ring_place(t, bank.memories), memory, of_memory)
        bank.write_pointer(ring_place(t, bank.pointers), tokens, of_pointer)
