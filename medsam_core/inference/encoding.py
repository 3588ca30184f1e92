"""The image encoder's features of a volume's slices: computed in batches, on first use, within a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from medsam_core.inference import ambient
from medsam_core.inference.compilation import Checked
from medsam_core.inference.devices import autocast, halving_on_exhaustion, on_device
from medsam_core.inference.model import LoadedModel
from medsam_core.inference.preprocessing import normalisation_table, resize_slices, to_uint8
from medsam_core.inference.resampling import resampling


class EncodedVolume:
    """One volume as the model sees it: pixels at once, features on first use.

    Features stay on the model's device, in the precision they were computed in, for as many slices as fit into
    `feature_mib` (at least four batches). After that, the least recently used slice is dropped, and encoded again if
    needed.
    """

    shape: tuple[int, int, int]
    """(D, H, W) of the volume."""
    pixels: np.ndarray
    """(D, H, W) uint8, as `to_uint8` gives them; of three sequences the first's."""
    colours: tuple[np.ndarray, ...]
    """The pixels of the model's channels: one array for all three, or three, normalised one by one."""
    position: torch.Tensor
    """(1, C, h, w): the position encoding of the coarsest level, the same for all slices; set by `features`."""
    encoded: int
    """How many slices went through the encoder: blank ones once together, a slice that was encoded again again."""

    def __init__(
        self,
        voxels: np.ndarray,
        model: LoadedModel,
        batch_size: int,
        feature_mib: int,
        notes: list[str],
        run: Checked | None = None,
        *,
        channels_last: bool = False,
        channels: Sequence[np.ndarray] = (),
    ) -> None:
        """voxels: (D, H, W), any real dtype and range; DataError as in `to_uint8`.

        batch_size: slices encoded together; halved if the device's memory is too small.
        notes: get a sentence for each halved batch.
        run: a compiled or recorded `encode_images` for batches of exactly `batch_size`; None for the plain function.
        channels_last: how features are kept, for `buffers`; changes no number.
        channels: three sequences, each as `voxels`, which is the first; () for a single one.
        """
        self.colours = tuple(to_uint8(one) for one in channels or (voxels,))
        self.pixels = self.colours[0]
        self.shape = self.pixels.shape
        self.model = model
        self.batch_size = batch_size
        self.notes = notes
        self.encoded = 0
        self._run = run
        self._channels_last = channels_last
        self._feature_bytes = feature_mib << 20
        self._table = torch.from_numpy(normalisation_table()).to(model.device)
        self._levels: list[torch.Tensor] = []
        self._twins = _twins(self.colours)
        self._slots: OrderedDict[int, int] = OrderedDict()  # slice -> slot, the least recently used first
        self._capacity = 0

    def features(
        self, slices: Sequence[int], upcoming: Iterable[int] = (), out: Sequence[torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """The decoder's feature maps of the given slices, from fine to coarse, each (len(slices), C, h, w).

        slices: indices of slices; may repeat.
        upcoming: slices that will be needed next, the soonest first; they fill the rest of the encoder's batch.
        out: rows of `buffers` in which the maps are to be written, (len(slices), h, w, C).
        """
        slices = [self._twins[index] for index in slices]
        upcoming = (self._twins[index] for index in upcoming)
        distinct = list(dict.fromkeys(slices))
        if not self._capacity and len(distinct) > self.batch_size:
            self.features(distinct[: self.batch_size])  # finds out how much memory a slice takes
        if self._capacity and len(distinct) > self._capacity:
            pieces = [self.features(distinct[i : i + self._capacity]) for i in range(0, len(distinct), self._capacity)]
            where = {index: place for place, index in enumerate(distinct)}
            order = on_device([where[index] for index in slices], self.model.device)
            found = [torch.cat(level)[order] for level in zip(*pieces, strict=True)]
            if out is not None:
                found = [target.copy_(level.permute(0, 2, 3, 1)) for target, level in zip(out, found, strict=True)]
                return [level.permute(0, 3, 1, 2) for level in found]
            return found
        missing = [index for index in distinct if index not in self._slots]
        for index in distinct:
            if index in self._slots:
                self._slots.move_to_end(index)
        if missing:
            self._encode(missing, upcoming, pinned=set(distinct))
        slots = on_device([self._slots[index] for index in slices], self.model.device)
        if out is not None:
            for level, target in zip(self._levels, out, strict=True):
                torch.index_select(level, 0, slots, out=target)
            found = list(out)
        else:
            found = [level.index_select(0, slots) for level in self._levels]
        return [level.permute(0, 3, 1, 2) for level in found] if self._channels_last else found

    def buffers(self, count: int) -> list[torch.Tensor]:
        """Room for the feature maps of `count` slices, each (count, h, w, C), with undefined content.

        The volume must be `channels_last`, and a slice of it encoded.
        """
        return [level.new_empty((count, *level.shape[1:])) for level in self._levels]

    @ambient.set_aside()
    def fill(self) -> None:
        """Encode every slice that fits into the memory budget, to time the encoder alone."""
        self.features([0])
        for start in range(0, self._capacity, self.batch_size):
            self.features(range(start, min(start + self.batch_size, self._capacity)))

    def _encode(self, missing: list[int], upcoming: Iterable[int], pinned: set[int]) -> None:
        # an incomplete batch is filled up, unless every slot is needed for the slices of this request
        taken = pinned.union(self._slots)
        if not self._capacity or self._capacity >= len(pinned) + self.batch_size:
            for index in upcoming:
                if len(missing) % self.batch_size == 0:
                    break
                if index not in taken:
                    taken.add(index)
                    missing.append(index)
        for start in range(0, len(missing), self.batch_size):
            self._encode_batch(missing[start : start + self.batch_size], pinned)

    def _encode_batch(self, slices: list[int], pinned: set[int]) -> None:
        def run(batch_size: int) -> list[torch.Tensor]:
            if batch_size >= len(slices):
                return self._forward(slices, batch_size)
            # a recorded encoder overwrites its results in the next call
            pieces = [slices[i : i + batch_size] for i in range(0, len(slices), batch_size)]
            parts = [[level.clone() for level in self._forward(piece, batch_size)] for piece in pieces]
            return [torch.cat(level) for level in zip(*parts, strict=True)]

        levels, self.batch_size = halving_on_exhaustion(run, self.batch_size, self.notes)
        if not self._capacity:
            self._allocate(levels)
        slots = on_device([self._slot_for(index, pinned.union(slices)) for index in slices], self.model.device)
        for store, level in zip(self._levels, levels, strict=True):
            store[slots] = level.permute(0, 2, 3, 1) if self._channels_last else level
        self.encoded += len(slices)

    @torch.no_grad()
    def _forward(self, slices: list[int], batch_size: int) -> list[torch.Tensor]:
        module, device = self.model.module, self.model.device
        seen = [self._resized(pixels, slices).long() for pixels in self.colours]
        if len(seen) == 1:
            images = self._table[:, seen[0]].transpose(0, 1)
        else:
            images = torch.stack([values[one] for values, one in zip(self._table, seen, strict=True)], 1)
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(device, self.model.precision):
            if self._run and len(slices) < batch_size:
                # pad the batch: another size would need another compilation or recording
                padding = images[-1:].expand(batch_size - len(slices), -1, -1, -1)
                images = torch.cat([images, padding]).contiguous(memory_format=torch.channels_last)
            maps = self._run(len(images), module, images) if self._run else encode_images(module, images)
        maps = [level[: len(slices)] for level in maps]
        self.position = module.image_encoder.neck.position_encoding(maps[-1][:1]).to(maps[-1].dtype)
        return maps

    def _resized(self, volume: np.ndarray, slices: list[int]) -> torch.Tensor:
        """(N, S, S) uint8 on the device. A GPU does the resizing, because it would have to wait for Pillow.

        volume: (D, H, W) uint8.
        """
        pixels, size, device = [volume[index] for index in slices], self.model.module.image_size, self.model.device
        resize = resampling(self.shape[1:], size, device) if device.type == "cuda" else None
        if resize is None:
            return torch.from_numpy(resize_slices(pixels, size)).to(device)
        return resize(torch.from_numpy(np.stack(pixels)).pin_memory().to(device, non_blocking=True))

    def _allocate(self, levels: list[torch.Tensor]) -> None:
        per_slice = sum(level[0].numel() * level.element_size() for level in levels)
        self._capacity = min(self.shape[0], max(self._feature_bytes // per_slice, 4 * self.batch_size))
        shapes = [(h, w, c) if self._channels_last else (c, h, w) for _, c, h, w in (level.shape for level in levels)]
        self._levels = [level.new_empty((self._capacity, *s)) for level, s in zip(levels, shapes, strict=True)]

    def _slot_for(self, index: int, pinned: set[int]) -> int:
        if len(self._slots) < self._capacity:
            self._slots[index] = len(self._slots)
        else:
            oldest = next(old for old in self._slots if old not in pinned)
            self._slots[index] = self._slots.pop(oldest)
        return self._slots[index]


def _twins(colours: Sequence[np.ndarray]) -> list[int]:
    """For each slice the one that is encoded for it: for a blank one the first with the same pixels, else itself."""
    rows = [pixels.reshape(len(pixels), -1) for pixels in colours]
    low, high = (list(zip(*(find(one, 1).tolist() for one in rows), strict=True)) for find in (np.min, np.max))
    first: dict[tuple[int, ...], int] = {}
    return [
        first.setdefault(value, index) if value == most else index
        for index, (value, most) in enumerate(zip(low, high, strict=True))
    ]


def encode_images(module: Any, images: torch.Tensor) -> list[torch.Tensor]:
    """The decoder's feature maps, fine to coarse, of normalised images (N, 3, S, S). It can be compiled."""
    return list(module.forward_image(images)["backbone_fpn"][-module.num_feature_levels :])
