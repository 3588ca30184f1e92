"""Pillow's bicubic resize of uint8 images, bit for bit, as two matrix products on the device.

Pillow resizes along one axis and then along the other, each time with weights rounded to 22 binary places, and rounds
and clips the result to 0–255. Sums of such products are whole numbers below 2^53, which float64 represents exactly in
any order of summation, so a GPU gives the same pixels. Definition: Pillow's Resample.c (8 bits per channel);
Keys' cubic with a = −0.5, widened when an image gets smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from medsam_core.inference.preprocessing import resize_slices

Resize = Callable[[torch.Tensor], torch.Tensor]

_PLACES = 22
_SUPPORT = 2.0
_A = -0.5
_PROBED = 4096  # at least so many pixels are compared to find the order in which Pillow resizes the axes


@cache
def resampling(shape: tuple[int, int], size: int, device: torch.device) -> Resize | None:
    """A function from (N, H, W) uint8 on `device` to (N, size, size) uint8 there, equal to `resize_slices`.

    shape: (H, W). Which axis Pillow resizes first depends on its version and on the shape. So noise is resized by
    Pillow and in both orders (several images if they are small: few pixels may agree by chance). None if neither order
    gives Pillow's pixels, as with some future version.
    """
    # Pillow does not touch an axis that already has the right length
    along_columns, along_rows = (
        None if n == size else torch.from_numpy(weights(n, size)).double().to(device) for n in shape
    )

    def rows_first(images: torch.Tensor) -> torch.Tensor:
        return _down(_across(images.double(), along_rows), along_columns).to(torch.uint8)

    def columns_first(images: torch.Tensor) -> torch.Tensor:
        return _across(_down(images.double(), along_columns), along_rows).to(torch.uint8)

    count = -(-_PROBED // size**2)
    noise = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    wanted = torch.from_numpy(resize_slices(list(noise), size)).to(device)
    sent = torch.from_numpy(noise).to(device)
    return next((resize for resize in (rows_first, columns_first) if torch.equal(resize(sent), wanted)), None)


def weights(source: int, target: int) -> np.ndarray:
    """(target, source) int64: the weight of each source pixel of a line in each target pixel, times 2^22."""
    scale = source / target
    widening = max(scale, 1.0)
    found = np.zeros((target, source), np.int64)
    for at in range(target):
        centre = (at + 0.5) * scale
        first = max(int(centre - _SUPPORT * widening + 0.5), 0)
        last = min(int(centre + _SUPPORT * widening + 0.5), source)
        own = [_cubic((place - centre + 0.5) * (1 / widening)) for place in range(first, last)]
        total = 0.0
        for weight in own:  # one after the other, as Pillow does: the rounding of the sum matters
            total += weight
        for place, weight in zip(range(first, last), own, strict=True):
            scaled = weight / total * (1 << _PLACES)
            found[at, place] = int(scaled + (0.5 if scaled >= 0 else -0.5))
    return found


def _cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return ((_A + 2) * x - (_A + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * _A if x < 2 else 0.0


def _across(images: torch.Tensor, along_rows: torch.Tensor | None) -> torch.Tensor:
    return images if along_rows is None else _rounded(images @ along_rows.T)


def _down(images: torch.Tensor, along_columns: torch.Tensor | None) -> torch.Tensor:
    return images if along_columns is None else _rounded(along_columns @ images)


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    return torch.floor((sums + (1 << (_PLACES - 1))) / (1 << _PLACES)).clamp_(0, 255)
