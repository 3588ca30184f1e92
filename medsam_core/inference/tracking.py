"""Every prompt in both directions through the volume at once, in sam2's own steps on one batch.

sam2's memory attention sees relative distances only, so a batch element's clock may start at its own key slice: at
virtual time t it sits on slice key + t or key - t, whatever slice the others sit on. What sam2's video predictor
does around `track_step` in MedSAM2's flow (prompt, track forward, reset, prompt, track backward) is repeated here:

- the prompted slice is seen without memory, and its memory is made from the low-resolution mask, upsampled;
- memories of masks are kept in bfloat16 at every precision;
- the bank holds the prompted slice, the last `num_maskmem - 1` slices and the pointers of the last
  `max_obj_ptrs_in_encoder - 1`, fewer in a volume of fewer slices, whose number then scales the pointers' ages;
- on the CPU the prompt encoder and the mask decoder run in float32 at either precision: in bfloat16 they would cost
  masks the agreement that they otherwise have, and save next to nothing;
- objects do not see one another; small holes are not filled (sam2 does so with its CUDA extension only).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from medsam_core.inference.attention import Bank, MemoryAttention, Projection
from medsam_core.inference.compilation import Compiled
from medsam_core.inference.devices import autocast, on_device
from medsam_core.inference.encoding import EncodedVolume
from medsam_core.prompts.prompt import Prompt

EXACT = 4  # results of `step` that are not rounded to bfloat16
ROWS_TOGETHER = 8  # a compiled batch shrinks by so many, because each size is a compilation of its own


@dataclass(frozen=True)
class Track:
    """One batch element: a prompt that advances `steps` slices in one direction (+1 or -1) from its key slice.

    prompt: its place among the prompts.
    """

    prompt: int
    key_slice: int
    direction: int
    steps: int


@dataclass(frozen=True)
class Output:
    """What one step gave for a batch of n, on the device.

    logits: (n, 1, s, s) float32, low resolution; predicted_iou: (n,); object_score: (n,) logits.
    """

    logits: torch.Tensor
    predicted_iou: torch.Tensor
    object_score: torch.Tensor

    def of(self, rows: slice) -> Output:
        """The output of some batch elements."""
        return Output(self.logits[rows], self.predicted_iou[rows], self.object_score[rows])


@dataclass(frozen=True)
class Memory:
    """What a slice leaves for later ones.

    mask: (n, memory_dim, h, w) bfloat16. pointer: (n, d_model), of the object.
    projection: the mask as the memory attention reads it; None until it will.
    """

    mask: torch.Tensor
    pointer: torch.Tensor
    projection: Projection | None = None

    def of(self, rows: slice) -> Memory:
        """The memory of some batch elements."""
        projection = None if self.projection is None else self.projection.of(rows)
        return Memory(self.mask[rows], self.pointer[rows], projection)

    @staticmethod
    def joined(memories: Sequence[Memory]) -> Memory:
        """One memory of all the batch elements of several, not yet projected."""
        return Memory(torch.cat([m.mask for m in memories]), torch.cat([m.pointer for m in memories]))


class Tracker:
    """sam2's steps for one volume. The caller keeps batches within what the device holds.

    compiled: of `step`, for the slices on which the bank is full; None runs all of them as they are.
    """

    def __init__(self, volume: EncodedVolume, compiled: Compiled | None = None) -> None:
        self.volume = volume
        self.module = volume.model.module
        self.device = volume.model.device
        self.precision = volume.model.precision
        self.attention = MemoryAttention(volume.model, volume.shape[0], compiled=compiled is not None)
        self.compiled = compiled

    @torch.no_grad()
    def prompt(self, prompts: Sequence[Prompt], upcoming: Sequence[int] = ()) -> tuple[Output, Memory]:
        """See each prompt's key slice without memory. The prompts must be of one kind (`kind_of`)."""
        features = self.volume.features([prompt.key_slice for prompt in prompts], upcoming)
        points, mask = self._inputs(prompts)
        with autocast(self.device, self.precision):
            output, pointer = self._see(features, points, mask)
            return output, self._remember(features, output, pointer, from_prompt=True)

    @torch.no_grad()
    def advance(self, tracks: Sequence[Track], first: Memory) -> Iterator[tuple[int, Sequence[Track], Output]]:
        """Follow the tracks, the longest first, from the memory of their prompted slices, one for each.

        Yields (t, active, output) for t = 1, 2, …: the tracks with steps >= t, always the first ones, have moved to
        slice key_slice + direction * t.
        """
        masks = self.module.num_maskmem - 1
        recent: deque[Memory] = deque(maxlen=max(masks, self.module.max_obj_ptrs_in_encoder - 1))
        with autocast(self.device, self.precision):
            first = self._projected(first)
        carried = len(tracks)
        for t in range(1, tracks[0].steps + 1):
            active = [track for track in tracks if track.steps >= t]
            staying = sum(track.steps > t for track in active)
            # tracks that have ended stay on their last slice while a compiled step carries them along
            slices = [track.key_slice + track.direction * min(t, track.steps) for track in tracks[:carried]]
            features = self.volume.features(slices, _upcoming(active, t))
            bank = self._bank(t, first, recent)
            with autocast(self.device, self.precision):
                if self.compiled and staying and len(recent) == recent.maxlen:
                    output, memory = self._compiled_step(features, bank)
                    going_on = min(carried, -(-staying // ROWS_TOGETHER) * ROWS_TOGETHER)
                else:
                    # the last slice of a track leaves no memory: nobody would read it
                    output, memory = self._step(features, bank, staying)
                    going_on = staying
                if staying:
                    if going_on < carried:
                        first = first.of(slice(going_on))
                        recent = deque((one.of(slice(going_on)) for one in recent), maxlen=recent.maxlen)
                        memory = memory.of(slice(going_on))
                    if len(recent) >= masks:  # from now on of its pointer alone is asked
                        recent[-masks] = Memory(recent[-masks].mask, recent[-masks].pointer)
                    recent.append(memory)
            carried = going_on
            yield t, active, output.of(slice(len(active)))

    def _bank(self, t: int, first: Memory, recent: Sequence[Memory]) -> Bank:
        """What is remembered at virtual time t: the prompted slice and the newest of `recent`, which is of t - 1."""
        masks, pointers = self.module.num_maskmem - 1, self.attention.oldest_pointer
        newest = list(recent)[::-1]
        ages = [(masks, first), *enumerate(newest[:masks])]
        seen = [first, *newest[:pointers]]
        return Bank(
            [(age, memory.projection or self.attention.project(memory.mask)) for age, memory in ages],
            torch.stack([memory.pointer for memory in seen]),
            on_device([t, *range(1, len(seen))], self.device),
        )

    def _step(self, features: list[torch.Tensor], bank: Bank, staying: int) -> tuple[Output, Memory]:
        """A slice of every track, and the memory that the first `staying` take along."""
        output, pointer = self._follow(features, bank)
        rows = slice(staying)
        if not staying:
            return output, Memory(output.logits[rows], pointer[rows])
        kept = [level[rows] for level in features]
        return output, self._projected(self._remember(kept, output.of(rows), pointer[rows], from_prompt=False))

    def _compiled_step(self, features: list[torch.Tensor], bank: Bank) -> tuple[Output, Memory]:
        assert self.compiled is not None
        rows = tuple(row for row, _ in bank.memories)
        read = [(one.keys, one.values) for _, one in bank.memories]
        shape = (len(features[-1]), len(rows), len(bank.pointers), self.attention.oldest_pointer)
        logits, predicted, score, pointer, mask, *projected = self.compiled(
            shape, self, features, self.volume.position, rows, read, bank.pointers, bank.pointer_ages
        )
        layers = len(projected) // 2
        projection = Projection(mask.new_empty(0), tuple(projected[:layers]), tuple(projected[layers:]))
        return Output(logits, predicted, score), Memory(mask, pointer, projection)

    def _projected(self, memory: Memory) -> Memory:
        return Memory(memory.mask, memory.pointer, self.attention.project(memory.mask))

    def _see(
        self, features: list[torch.Tensor], points: dict[str, torch.Tensor] | None, mask: torch.Tensor | None
    ) -> tuple[Output, torch.Tensor]:
        """A prompted slice, without memory."""
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
        self, features: list[torch.Tensor], bank: Bank, position: torch.Tensor | None = None
    ) -> tuple[Output, torch.Tensor]:
        """A slice that is not prompted, with memory."""
        conditioned = self.attention(features[-1], self.volume.position if position is None else position, bank)
        with self._for_heads():
            heads = self.module._forward_sam_heads(
                backbone_features=self._as_heads_take(conditioned),
                high_res_features=[self._as_heads_take(level) for level in features[:-1]] or None,
                multimask_output=self.module._use_multimask(False, None),
            )
        return _output(heads)

    def _for_heads(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", enabled=False) if self.device.type == "cpu" else nullcontext()

    def _as_heads_take(self, level: torch.Tensor) -> torch.Tensor:
        return level.float() if self.device.type == "cpu" else level

    def _remember(
        self, features: list[torch.Tensor], output: Output, pointer: torch.Tensor, *, from_prompt: bool
    ) -> Memory:
        size = self.module.image_size
        mask, _ = self.module._encode_new_memory(
            current_vision_feats=[_tokens(features[-1])],
            feat_sizes=[tuple(features[-1].shape[-2:])],
            pred_masks_high_res=interpolate(output.logits, size=(size, size), mode="bilinear", align_corners=False),
            object_score_logits=output.object_score[:, None],
            is_mask_from_pts=from_prompt,
        )
        return Memory(mask.to(torch.bfloat16), pointer)

    def _inputs(self, prompts: Sequence[Prompt]) -> tuple[dict[str, torch.Tensor] | None, torch.Tensor | None]:
        size = self.module.image_size
        drawn = [prompt.mask for prompt in prompts if prompt.mask is not None]
        if drawn:
            masks = torch.from_numpy(np.stack(drawn)[:, None]).float().to(self.device)
            if masks.shape[-2:] != (size, size):
                resized = interpolate(masks, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
                masks = (resized >= 0.5).float()
            return None, masks
        corners = [[] if p.box is None else [p.box[:2], p.box[2:]] for p in prompts]
        points = torch.tensor([[*c, *p.points] for c, p in zip(corners, prompts, strict=True)], dtype=torch.float32)
        labels = [[2, 3][: len(c)] + list(p.point_labels) for c, p in zip(corners, prompts, strict=True)]
        _, height, width = self.volume.shape
        scaled = points / torch.tensor([width, height]) * size
        return {
            "point_coords": scaled.to(self.device),
            "point_labels": torch.tensor(labels, dtype=torch.int32, device=self.device),
        }, None


def step(
    tracker: Tracker,
    features: list[torch.Tensor],
    position: torch.Tensor,
    rows: Sequence[int],
    read: Sequence[tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]],
    pointers: torch.Tensor,
    pointer_ages: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """What `Tracker._step` does for tracks that all stay, as a function of tensors, to be compiled.

    rows, read: of each memory the row of its age, and its keys and values. Returns logits, predicted IoU, object score
    and pointer (the first `EXACT`), then what is made of the memory's mask, which is rounded to bfloat16: itself, its
    keys for each layer, its values for each layer.
    """
    nothing = pointers.new_empty(0)
    memories = [(row, Projection(nothing, *both)) for row, both in zip(rows, read, strict=True)]
    output, pointer = tracker._follow(features, Bank(memories, pointers, pointer_ages), position)
    memory = tracker._projected(tracker._remember(features, output, pointer, from_prompt=False))
    made = memory.projection
    assert made is not None
    scores = (output.logits, output.predicted_iou, output.object_score)
    return (*scores, memory.pointer, memory.mask, *made.keys, *made.values)


def kind_of(prompt: Prompt) -> tuple[bool, bool, int]:
    """Prompts of one kind can be seen in one batch: mask or not, box or not, number of points."""
    return prompt.mask is not None, prompt.box is not None, len(prompt.points)


def _output(heads: Sequence[torch.Tensor]) -> tuple[Output, torch.Tensor]:
    """What sam2's heads gave, and the object's pointer."""
    _, _, predicted, logits, _, pointer, score = heads
    # the mask taken is the one of the highest predicted IoU
    return Output(logits.float(), predicted.float().amax(-1), score.float().flatten()), pointer


def _tokens(level: torch.Tensor) -> torch.Tensor:
    """(n, C, h, w) as sam2 passes it around: (h * w, n, C)."""
    return level.flatten(2).permute(2, 0, 1)


def _upcoming(active: Sequence[Track], t: int) -> Iterator[int]:
    for later in range(t + 1, active[0].steps + 1):
        for track in active:
            if track.steps >= later:
                yield track.key_slice + track.direction * later
