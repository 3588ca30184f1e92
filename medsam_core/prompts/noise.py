"""The noise of a prompt: how a box or a point that is drawn from the truth is moved at random. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medsam_core.errors import OptionError
from medsam_core.prompts.geometry import Box, Point, moved_box, nearby_point
from medsam_core.prompts.prompt import WITH_POINTS

KINDS = ("jitter", "side", "expand")
"""`jitter`: edges and points move by up to so many voxels. `side`: edges move by up to so many percent of the box's
side. `expand`: edges move outward by up to so many voxels."""
MOST_OF_SIDE = 20
"""Voxels that an edge moves at most under `side`, as in SAM 2's training (`sample_box_points`, `noise_bound`)."""
PATTERN = rf"({'|'.join(KINDS)})([1-9][0-9]*)-seed([1-9][0-9]*)"
_LEVEL = re.compile(rf"({'|'.join(KINDS)})([1-9][0-9]*)")


@dataclass(frozen=True)
class Noise:
    """One noise of a prompt. Moved boxes are clipped to the slice; an edge keeps to hundredths of a voxel."""

    kind: str
    """One of KINDS."""
    amount: int
    """How far an edge or a point moves at most, ≥ 1: in voxels of the slice, under `side` in percent of the side."""
    seed: int
    """From 1. Under one seed the amounts of a kind move an edge the same way, a larger amount farther."""

    @property
    def level(self) -> str:
        """Kind and amount: `jitter3`."""
        return f"{self.kind}{self.amount}"

    @property
    def word(self) -> str:
        """As in a case's id: `jitter3-seed1`."""
        return f"{self.level}-seed{self.seed}"

    @classmethod
    def of(cls, word: str) -> Noise:
        """The noise of a `word`. Raises OptionError for any other text."""
        found = re.fullmatch(PATTERN, word)
        if found is None:
            raise OptionError(
                f"noise: got {word!r}, expected a kind ({', '.join(KINDS)}), an amount and a seed from 1 on, such as "
                "jitter3-seed1; correct it."
            )
        return cls(found[1], int(found[2]), int(found[3]))

    def changes(self, mode: str) -> bool:
        """Whether it moves prompts of that mode: `jitter` boxes and points, the others boxes; none moves a mask."""
        return "box" in mode or (self.kind == "jitter" and mode in WITH_POINTS)

    def box(self, box: Box, shape: tuple[int, int], rng: np.random.Generator) -> Box:
        """The box with every edge moved by itself, uniformly. shape: (H, W) of the slice.

        `jitter`: by a whole number in ±amount (radioa has 3 and 5). `expand`: outward by a whole number from 0 to
        amount (CVPR25 has 5, of 256 px; here voxels of the slice, not scaled). `side`: by a number in ±amount % of the
        box's side, at most ±MOST_OF_SIDE.
        """
        drawn = rng.random(4)
        if self.kind == "jitter":
            by = np.floor(drawn * (2 * self.amount + 1)) - self.amount
        elif self.kind == "expand":
            by = np.floor(drawn * (self.amount + 1)) * (-1, -1, 1, 1)
        else:
            x0, y0, x1, y1 = box
            width, height = (min(self.amount / 100 * side, MOST_OF_SIDE) for side in (x1 - x0, y1 - y0))
            by = (2 * drawn - 1) * (width, height, width, height)
        return moved_box(box, by, shape)

    def points(self, points: Iterable[Point], region: np.ndarray, rng: np.random.Generator) -> tuple[Point, ...]:
        """Under `jitter` each point's `nearby_point` within ±amount; under the others the points themselves."""
        if self.kind != "jitter":
            return tuple(points)
        return tuple(nearby_point(region, point, self.amount, rng) for point in points)


def noises(levels: Iterable[str], seeds: int) -> tuple[str, ...]:
    """The words of every level under every seed from 1 to `seeds`.

    levels: such as `jitter3`, each once. Raises OptionError for another text, or for one twice.
    """
    found = list(levels)
    for level in found:
        if _LEVEL.fullmatch(level) is None:
            raise OptionError(
                f"noise: got {level!r}, expected {', '.join(KINDS)} with a whole number from 1 on, such as jitter3; "
                "the exact prompts are scored in any case."
            )
        if found.count(level) > 1:
            raise OptionError(f"noise: got {level} twice, expected each once; remove it.")
    return tuple(f"{level}-seed{seed}" for level in found for seed in range(1, seeds + 1))
