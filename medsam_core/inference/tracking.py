"""Track every prompt in both directions through the volume in one batch, with sam2's own steps.

sam2's memory attention depends only on relative distances, so every batch element may count time from its own key
slice: at time t it is on slice key + t or key − t, whatever slices the others are on. What sam2's video predictor does
around `track_step` in MedSAM2's procedure (prompt, track forward, reset, prompt, track backward) is repeated here:

- the prompted slice is segmented without memory, and its memory is made from the low-resolution mask, upsampled;
- memories of masks are kept in bfloat16 at every precision;
- the memory bank has the prompted slice, the last `num_maskmem - 1` slices and the object pointers of the last
  `max_obj_ptrs_in_encoder - 1`; in a volume with fewer slices there are fewer pointers, and the number of slices scales
  their ages;
- on the CPU the prompt encoder and the mask decoder run in float32 at both precisions: bfloat16 would save almost
  nothing there, and the masks would no longer agree with sam2's;
- a prompt of a mode in MADE_MASKS is segmented, and the mask at the slice's own resolution is then a mask prompt;
- further prompted slices of an object are in the bank of its tracks (`inference/conditioning.py`);
- objects do not influence one another; small holes are not filled (sam2 does so with its CUDA extension only).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.nn.functional import interpolate

from medsam_core.inference.attention import Bank, MemoryAttention, Projection
from medsam_core.inference.conditioning import Rules, reading
from medsam_core.inference.devices import autocast, on_device
from medsam_core.inference.encoding import EncodedVolume
from medsam_core.inference.fixed_steps import FixedSteps
from medsam_core.inference.model_inputs import Points, mask_input, model_inputs
from medsam_core.prompts.prompt import Prompt


@dataclass(frozen=True)
class Track:
    """One batch element: an object that is tracked in one direction."""

    prompt: int
    """Index of the object; most have one prompt."""
    key_slice: int
    """The slice where it starts."""
    direction: int
    """+1 or −1."""
    steps: int
    """How many slices it advances."""
    others: tuple[int, ...] = ()
    """The object's other prompted slices, on either side of the start."""


@dataclass(frozen=True)
class Output:
    """The outputs of one step for a batch of n, on the device."""

    logits: torch.Tensor
    """(n, 1, s, s) float32, at low resolution."""
    predicted_iou: torch.Tensor
    """(n,) float32."""
    object_score: torch.Tensor
    """(n,) float32 logits."""

    def of(self, rows: slice | list[int]) -> Output:
        """The output of some batch elements."""
        return Output(self.logits[rows], self.predicted_iou[rows], self.object_score[rows])

    def copy(self) -> Output:
        """The same in memory of its own."""
        return Output(self.logits.clone(), self.predicted_iou.clone(), self.object_score.clone())


Seen = tuple[Output, torch.Tensor]
"""A segmented slice, and the pointer (n, d_model) of the object on it."""
Keep = Callable[[Sequence[Track], int, Output, "Memory"], None]
"""Is given the active tracks, the time, their outputs, and the memories of as many of the first as have one."""
LARGEST_LOGIT = 32.0
"""To which the logits before a correction are limited, as in sam2."""


@dataclass(frozen=True)
class Memory:
    """What later slices know of a slice, for a batch of n."""

    mask: torch.Tensor
    """(n, memory_dim, h, w) bfloat16."""
    pointer: torch.Tensor
    """(n, d_model), of the object."""
    projection: Projection | None = None
    """The mask as the memory attention reads it; None while it is not needed."""

    def of(self, rows: slice) -> Memory:
        """The memory of some batch elements."""
        projection = None if self.projection is None else self.projection.of(rows)
        return Memory(self.mask[rows], self.pointer[rows], projection)

    @classmethod
    def of_fixed_step(cls, results: Sequence[torch.Tensor], count: int) -> Memory:
        """The memories of the first tracks in what `FixedStep` returned, copied."""
        _, _, _, tokens, _, memory, _ = (result[:count] for result in results)
        side = math.isqrt(memory.shape[1])
        return cls(memory.transpose(1, 2).unflatten(2, (side, side)).contiguous(), tokens.flatten(1).clone())


class Tracker:
    """sam2's steps for one volume. The caller chooses batches that fit into the device's memory."""

    def __init__(self, volume: EncodedVolume, fixed: FixedSteps | None = None) -> None:
        """fixed: to track in steps of few shapes; None for a batch that shrinks and a memory bank that grows."""
        self.volume, self.fixed = volume, fixed
        self.module = volume.model.module
        self.device = volume.model.device
        self.precision = volume.model.precision

    @cached_property
    def attention(self) -> MemoryAttention:
        """What the growing bank is read with."""
        return MemoryAttention(self.volume.model, self.volume.shape[0])

    @torch.no_grad()
    def prompt(self, prompts: Sequence[Prompt], upcoming: Sequence[int] = ()) -> tuple[Output, Memory]:
        """Segment each prompt's key slice, without memory. The prompts must be of one kind (`kind_of`).

        upcoming: slices that will be needed next, for `EncodedVolume.features`.
        """
        features = self.volume.features([prompt.key_slice for prompt in prompts], upcoming)
        points, mask = model_inputs(prompts, self.volume)
        with autocast(self.device, self.precision):
            output, pointer = self._see(features, points, mask)
            if not prompts[0].makes_mask:
                return output, self._remember(features, output, pointer, from_prompt=True)
            # the estimate of a mask that the model made is the first step's; of a given mask it would be 1
            estimate = output.predicted_iou
            output, pointer = self._see(features, None, mask_input(self._made_mask(output), self.volume))
            return replace(output, predicted_iou=estimate), self._remember(features, output, pointer, from_prompt=True)

    @torch.no_grad()
    def correct(self, slices: Sequence[int], points: Points, before: torch.Tensor, bank: Bank) -> tuple[Output, Memory]:
        """Segment a slice of each object again, as sam2 does when a slice that was tracked gets clicks.

        points: all that the slices were given so far, with the new clicks. before: (n, 1, s, s), their logits so far.
        bank: of the track on this slice.
        """
        features = self.volume.features(slices)
        with autocast(self.device, self.precision):
            output, pointer = self._follow(features, bank, points, before.clamp(-LARGEST_LOGIT, LARGEST_LOGIT))
            return output, self._remember(features, output, pointer, from_prompt=True)

    @torch.no_grad()
    def advance(
        self, tracks: Sequence[Track], first: Memory, others: Sequence[Memory] = (), keep: Keep | None = None
    ) -> Iterator[tuple[int, Sequence[Track], Output]]:
        """Follow the tracks from the memories of their prompted slices.

        tracks: the longest first. first: one batch element for each track, of the slice where it starts.
        others: the memories of the tracks' other prompted slices: first that of `others[0]` of each track, then that of
            `others[1]`, …; anything for a track that has fewer. Not in steps of few shapes.
        keep: is given every step, also on prompted slices.
        Yields (t, active, output) for t = 1, 2, …. The active tracks, those with steps >= t, are now on slice
        key_slice + direction * t. One that is on another of its prompted slices is left out.
        """
        if self.fixed is not None:
            assert not others
            for t, active, results in self.fixed.advance(self.volume, tracks, first, _upcoming):
                output = Output(*results[:3]).of(slice(len(active)))
                if keep is not None:
                    keep(active, t, output.copy(), Memory.of_fixed_step(results, len(active)))
                yield t, active, output
            return
        masks = self.module.num_maskmem - 1
        recent: deque[Memory] = deque(maxlen=max(masks, self.module.max_obj_ptrs_in_encoder - 1))
        with autocast(self.device, self.precision):
            first = self._projected(first)
            others = [self._projected(other) for other in others]
        for t in range(1, tracks[0].steps + 1):
            active = [track for track in tracks if track.steps >= t]
            staying = sum(track.steps > t for track in active)
            slices = [track.key_slice + track.direction * t for track in active]
            features = self.volume.features(slices, _upcoming(active, t))
            bank = self._bank(t, first, recent)
            if others:
                bank = self._with_others(bank, t, active, others, len(recent))
            with autocast(self.device, self.precision):
                # the last slice of a track needs no memory
                output, memory = self._step(features, bank, staying)
                if keep is not None:
                    keep(active, t, output, Memory(memory.mask, memory.pointer))
                if staying:
                    if staying < len(active):
                        still = slice(staying)
                        first, others = first.of(still), [other.of(still) for other in others]
                        recent = deque((one.of(still) for one in recent), maxlen=recent.maxlen)
                    if len(recent) >= masks:  # from now on only its pointer is read
                        recent[-masks] = Memory(recent[-masks].mask, recent[-masks].pointer)
                    recent.append(memory)
            rows = [row for row, index in enumerate(slices) if index not in active[row].others]
            if rows:
                whole = len(rows) == len(active)
                yield t, [active[row] for row in rows], output if whole else output.of(rows)

    def _bank(self, t: int, first: Memory, recent: Sequence[Memory]) -> Bank:
        """The memory bank at time t: the prompted slice and the newest of `recent`, the last of which is of t − 1."""
        masks, pointers = self.module.num_maskmem - 1, self.attention.oldest_pointer
        newest = list(recent)[::-1]
        ages = [(masks, first), *enumerate(newest[:masks])]
        seen = [first, *newest[:pointers]]
        return Bank(
            [(age, memory.projection or self.attention.project(memory.mask)) for age, memory in ages],
            torch.stack([memory.pointer for memory in seen]),
            on_device([t, *range(1, len(seen))], self.device),
        )

    def _with_others(self, bank: Bank, t: int, active: Sequence[Track], others: Sequence[Memory], recent: int) -> Bank:
        """The bank with the memories of other prompted slices, and what each track reads of it."""
        rules = Rules.of(self.module, self.attention.oldest_pointer)
        readings = [
            reading(rules, (track.key_slice, *track.others), track.direction, t, 1 + len(others), recent)
            for track in active
        ]
        (first, *later), (pointer, *pointers) = bank.memories, bank.pointers
        added = [(rules.memories, other.projection or self.attention.project(other.mask)) for other in others]
        ages = torch.tensor([[age or 0 for age in one.ages] for one in readings]).t()
        return Bank(
            [first, *added, *later],
            torch.stack([pointer, *(other.pointer for other in others), *pointers]),
            ages.to(self.device),
            readings,
        )

    def _step(self, features: list[torch.Tensor], bank: Bank, staying: int) -> tuple[Output, Memory]:
        """Segment a slice of every track; the memory is that of the first `staying` tracks, which go on."""
        output, pointer = self._follow(features, bank)
        rows = slice(staying)
        if not staying:
            return output, Memory(output.logits[rows], pointer[rows])
        kept = [level[rows] for level in features]
        return output, self._projected(self._remember(kept, output.of(rows), pointer[rows], from_prompt=False))

    def _projected(self, memory: Memory) -> Memory:
        return Memory(memory.mask, memory.pointer, self.attention.project(memory.mask))

    def _see(self, features: list[torch.Tensor], points: Points | None, mask: torch.Tensor | None) -> Seen:
        """Segment a prompted slice, without memory."""
        n = len(features[-1])
        with self._for_heads():
            levels = [self._as_heads_take(level) for level in features]
            _, heads, _, _ = self.module._track_step(
                frame_idx=0,
                is_init_cond_frame=True,
                current_vision_feats=[_tokens(level) for level in levels],
                current_vision_pos_embeds=[_tokens(self.volume.position).expand(-1, n, -1)],
                feat_sizes=[tuple(level.shape[-2:]) for level in levels],
                point_inputs=points,
                mask_inputs=mask,
                output_dict={},
                num_frames=self.volume.shape[0],
                track_in_reverse=False,
                prev_sam_mask_logits=None,
            )
        return _output(heads)

    def _follow(
        self,
        features: list[torch.Tensor],
        bank: Bank,
        points: Points | None = None,
        before: torch.Tensor | None = None,
    ) -> Seen:
        """Segment a slice with memory. points, before: its clicks and its logits so far; None if it is not prompted."""
        conditioned = self.attention(features[-1], self.volume.position, bank)
        with self._for_heads():
            heads = self.module._forward_sam_heads(
                backbone_features=self._as_heads_take(conditioned),
                point_inputs=points,
                mask_inputs=before,
                high_res_features=[self._as_heads_take(level) for level in features[:-1]] or None,
                multimask_output=self.module._use_multimask(False, points),
            )
        return _output(heads)

    def _for_heads(self) -> AbstractContextManager[object]:
        """On the CPU, the context in which the heads run in float32."""
        return torch.autocast("cpu", enabled=False) if self.device.type == "cpu" else nullcontext()

    def _as_heads_take(self, level: torch.Tensor) -> torch.Tensor:
        return level.float() if self.device.type == "cpu" else level

    def _remember(
        self, features: list[torch.Tensor], output: Output, pointer: torch.Tensor, *, from_prompt: bool
    ) -> Memory:
        """The memory of a segmented slice, not projected."""
        size = self.module.image_size
        mask, _ = self.module._encode_new_memory(
            current_vision_feats=[_tokens(features[-1])],
            feat_sizes=[tuple(features[-1].shape[-2:])],
            pred_masks_high_res=interpolate(output.logits, size=(size, size), mode="bilinear", align_corners=False),
            object_score_logits=output.object_score[:, None],
            is_mask_from_pts=from_prompt,
        )
        return Memory(mask.to(torch.bfloat16), pointer)

    def _made_mask(self, output: Output) -> torch.Tensor:
        """(n, 1, H, W) float32: the mask of a step as a person would see it, which MedSAM2's scripts give back."""
        size = self.volume.shape[1:]
        return (interpolate(output.logits, size=size, mode="bilinear", align_corners=False) > 0).float()


def _output(heads: Sequence[torch.Tensor]) -> Seen:
    _, _, predicted, logits, _, pointer, score = heads
    # sam2 takes the mask with the highest predicted IoU
    return Output(logits.float(), predicted.float().amax(-1), score.float().flatten()), pointer


def _tokens(level: torch.Tensor) -> torch.Tensor:
    """(n, C, h, w) -> (h * w, n, C), sam2's layout."""
    return level.flatten(2).permute(2, 0, 1)


def _upcoming(active: Sequence[Track], t: int) -> Iterator[int]:
    """The slices that the tracks need after time t, the soonest first."""
    for later in range(t + 1, active[0].steps + 1):
        for track in active:
            if track.steps >= later:
                yield track.key_slice + track.direction * later
