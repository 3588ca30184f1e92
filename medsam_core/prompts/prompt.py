"""A `Prompt`: what the model is given on one slice, and the words for prompt modes, key slices and protocols."""

from __future__ import annotations

import contextlib
import operator
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from medsam_core.decoding import Malformed, shape
from medsam_core.errors import PromptError
from medsam_core.prompts.geometry import Box, Point

MODES = ("box", "point", "points3", "box+point", "mask")
KEY_SLICES = ("largest", "middle", "first")
_LARGEST_SIDE = 1 << 14
PROTOCOLS = ("bidirectional", "forward", "slicewise")


class StoredMask(TypedDict):
    """A mask of a slice as run lengths in row order."""

    shape: tuple[int, int]
    """(H, W)."""
    starts: list[int]
    """Where each run begins in the mask's rows put one after another."""
    lengths: list[int]
    """Of each run, in voxels."""


class StoredPrompt(TypedDict):
    """A prompt in built-in types, as `Prompt.to_json` gives it; its fields are those of `Prompt`."""

    mode: str
    key_slice: int
    box: list[float] | None
    points: list[list[float]]
    point_labels: list[int]
    mask: StoredMask | None


@dataclass(frozen=True, eq=False)
class Prompt:
    """One object on one slice: what a person would draw there.

    mode: one of MODES; it says which of the others are given.
    key_slice: index of the axial slice, from 0: an int, or what stands for one, such as a numpy integer.
    box: (x0, y0, x1, y1) in voxels of the slice, inclusive, x0 ≤ x1 and y0 ≤ y1.
    points: (x, y) in voxels. point_labels: 1 inside, 0 outside; none means all inside.
    mask: (H, W) bool with at least one voxel.
    Raises PromptError if these do not fit together.
    """

    mode: str
    key_slice: int
    box: Box | None = None
    points: tuple[Point, ...] = ()
    point_labels: tuple[int, ...] = ()
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.point_labels:
            object.__setattr__(self, "point_labels", (1,) * len(self.points))
        if not isinstance(self.key_slice, bool | np.bool_):  # True counts as 1 elsewhere, but names no slice
            with contextlib.suppress(TypeError):  # a numpy integer is one, 3.0 is not
                object.__setattr__(self, "key_slice", operator.index(self.key_slice))
        problem = self._problem()
        if problem:
            raise PromptError(f"prompt {self.mode!r} on slice {self.key_slice}: {problem}.")

    def _problem(self) -> str | None:
        given = (self.box is not None, bool(self.points), self.mask is not None)
        wanted = ("box" in self.mode, "point" in self.mode, self.mode == "mask")
        if self.mode not in MODES:
            return f"got an unknown mode, expected one of {', '.join(MODES)}; choose one of them"
        if type(self.key_slice) is not int:
            return "got a slice that is no whole number, expected 0 or more; count slices from 0"
        if self.key_slice < 0:
            return "got a negative slice, expected 0 or more; count slices from 0"
        if given != wanted:
            names = [name for name, has in zip(("box", "points", "mask"), given, strict=True) if has]
            return f"got {' and '.join(names) or 'nothing'}, expected what its mode names; give exactly that"
        if self.box is not None and not (
            len(self.box) == 4
            and np.isfinite(self.box).all()
            and self.box[0] <= self.box[2]
            and self.box[1] <= self.box[3]
        ):
            return f"got box {self.box}, expected four finite edges with x0 <= x1 and y0 <= y1; order its corners"
        if len(self.point_labels) != len(self.points) or not set(self.point_labels) <= {0, 1}:
            return f"got {len(self.points)} points labelled {self.point_labels}, expected 0 or 1 for each; mend them"
        if not np.isfinite(np.array(self.points)).all():
            return f"got points {self.points}, expected finite coordinates; mend them"
        if self.mask is not None and (self.mask.dtype != bool or self.mask.ndim != 2 or not self.mask.any()):
            return (
                f"got a mask of {self.mask.dtype} {self.mask.shape} with {np.count_nonzero(self.mask)} voxels, "
                "expected (H, W) bool with at least one; draw it on the slice"
            )
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prompt) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.mode, self.key_slice, self.box, self.points, self.point_labels))

    def to_json(self) -> StoredPrompt:
        """Built-in types only; a mask as its shape and run lengths in row order. `from_json` is the inverse."""
        return {
            "mode": self.mode,
            "key_slice": int(self.key_slice),
            "box": None if self.box is None else [float(edge) for edge in self.box],
            "points": [[float(x), float(y)] for x, y in self.points],
            "point_labels": [int(label) for label in self.point_labels],
            "mask": None if self.mask is None else _run_lengths(self.mask),
        }

    @classmethod
    def from_json(cls, data: Any) -> Prompt:
        """The prompt that `to_json` gave. Raises PromptError for anything else."""
        try:
            stored = shape(data, StoredPrompt)
            return cls(
                mode=stored["mode"],
                key_slice=stored["key_slice"],
                box=stored["box"] and tuple(stored["box"]),  # type: ignore[arg-type]  # its length is checked there
                points=tuple((x, y) for x, y in stored["points"]),
                point_labels=tuple(stored["point_labels"]),
                mask=None if stored["mask"] is None else _from_run_lengths(stored["mask"]),
            )
        except (Malformed, ValueError) as problem:
            raise PromptError(
                f"a prompt in JSON: {problem}, expected what Prompt.to_json writes; record the manifest again."
            ) from None


def _run_lengths(mask: np.ndarray) -> StoredMask:
    edges = np.flatnonzero(np.diff(mask.ravel(), prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    return {"shape": mask.shape, "starts": starts.tolist(), "lengths": (ends - starts).tolist()}


def _from_run_lengths(data: StoredMask) -> np.ndarray:
    height, width = data["shape"]
    if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
        raise ValueError(f"mask.shape: got {height} × {width} where sides of 1 to {_LARGEST_SIDE} voxels belong")
    mask = np.zeros(height * width, bool)
    for start, length in zip(data["starts"], data["lengths"], strict=True):
        if not 0 <= start < start + length <= len(mask):
            raise ValueError(f"mask: got a run of {length} voxels from {start} where {len(mask)} voxels are")
        mask[start : start + length] = True
    return mask.reshape(height, width)
