"""A `Prompt`: what the model is given on one slice; and the names of prompt modes, key slices and protocols."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NotRequired, TypedDict

import numpy as np

from medsam_core.decoding import Malformed, shape
from medsam_core.errors import OptionError, PromptError
from medsam_core.prompts.geometry import Box, Point

MODES = ("box", "point", "points3", "box+point", "mask", "box-to-mask", "recist")
"""What a prompt consists of."""
WITH_POINTS = ("point", "points3", "box+point", "recist")
"""Modes of a prompt with points."""
MADE_MASKS = ("box-to-mask", "recist")
"""Modes in which the model first makes a mask on the slice, from the box or the points; this is then the prompt."""
KEY_SLICES = ("largest", "middle", "first")
"""Which slice of a region is prompted: see `simulation.key_slice_of`."""
PROTOCOLS = ("bidirectional", "forward", "slicewise")
"""How a prompt is propagated: to both ends of the volume, from the first slice of the region to the end, or not at all
(a prompt on every slice)."""

_LARGEST_SIDE = 1 << 14  # of a stored mask


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
    object_id: NotRequired[int]
    """Left out where the prompt is the only one of its object."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """One object on one slice: what a person would draw there. Raises PromptError if the fields do not fit together."""

    mode: str
    """One of MODES; it determines which of box, points and mask are given."""
    key_slice: int
    """Index of the axial slice, from 0; a numpy integer is accepted."""
    box: Box | None = None
    """(x0, y0, x1, y1) in voxels of the slice, inclusive, x0 ≤ x1 and y0 ≤ y1."""
    points: tuple[Point, ...] = ()
    """(x, y) in voxels of the slice."""
    point_labels: tuple[int, ...] = ()
    """1 inside, 0 outside, for each point; () means that all are inside."""
    mask: np.ndarray | None = None
    """(H, W) bool with at least one voxel."""
    object_id: int | None = None
    """A number from 0 that the prompts on several slices of one object share; None for an object with one prompt."""

    def __post_init__(self) -> None:
        if not self.point_labels:
            object.__setattr__(self, "point_labels", (1,) * len(self.points))
        if not isinstance(self.key_slice, bool | np.bool_):  # Python takes True for 1, but it is no slice
            with contextlib.suppress(TypeError):  # accepts a numpy integer, refuses 3.0
                object.__setattr__(self, "key_slice", operator.index(self.key_slice))
        problem = self._problem()
        if problem:
            raise PromptError(f"prompt {self.mode!r} on slice {self.key_slice}: {problem}.")

    def _problem(self) -> str | None:
        """What is wrong with the fields, in words; None if nothing is."""
        given = (self.box is not None, bool(self.points), self.mask is not None)
        wanted = ("box" in self.mode, self.mode in WITH_POINTS, self.mode == "mask")
        if self.mode not in MODES:
            return f"got an unknown mode, expected one of {', '.join(MODES)}; choose one of them"
        if type(self.key_slice) is not int or self.key_slice < 0:
            return "got no usable slice, expected a whole number from 0 on; count slices from 0"
        if given != wanted:
            got, expected = (
                " and ".join(name for name, has in zip(("box", "points", "mask"), parts, strict=True) if has)
                for parts in (given, wanted)
            )
            return f"got {got or 'nothing'}, expected {expected} as its mode has; give exactly that"
        if self.box is not None and not _is_box(self.box):
            return f"got box {self.box}, expected four finite edges with x0 <= x1 and y0 <= y1; give (x0, y0, x1, y1)"
        if len(self.point_labels) != len(self.points) or not set(self.point_labels) <= {0, 1}:
            return f"got {len(self.points)} points labelled {self.point_labels}, expected 0 or 1 for each; label each"
        if self.object_id is not None and (type(self.object_id) is not int or self.object_id < 0):
            return f"got object_id {self.object_id!r}, expected a whole number from 0 on, or None; number the objects"
        if not np.isfinite(np.array(self.points)).all():
            return f"got points {self.points}, expected finite coordinates; replace NaN and Inf"
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

    @property
    def makes_mask(self) -> bool:
        """Whether the model first makes a mask of it, as the modes of MADE_MASKS say."""
        return self.mode in MADE_MASKS

    def numbered(self, object_id: int) -> Prompt:
        """The same prompt, of another object; one that is the only prompt of its object stays so."""
        return self if self.object_id is None else replace(self, object_id=object_id)

    def slices_seen(self, depth: int, protocol: str) -> range:
        """The slices that a protocol of PROTOCOLS reaches from this prompt, in a volume of `depth` slices."""
        if protocol == "slicewise":
            return range(self.key_slice, self.key_slice + 1)
        return range(self.key_slice if protocol == "forward" else 0, depth)

    def to_json(self) -> StoredPrompt:
        """The prompt in built-in types; a mask as its shape and run lengths in row order. Inverse: `from_json`."""
        stored: StoredPrompt = {
            "mode": self.mode,
            "key_slice": int(self.key_slice),
            "box": None if self.box is None else [float(edge) for edge in self.box],
            "points": [[float(x), float(y)] for x, y in self.points],
            "point_labels": [int(label) for label in self.point_labels],
            "mask": None if self.mask is None else _run_lengths(self.mask),
        }
        if self.object_id is not None:
            stored["object_id"] = self.object_id
        return stored

    @classmethod
    def from_json(cls, data: Any) -> Prompt:
        """The prompt that `to_json` wrote. Raises PromptError for anything else."""
        try:
            stored = shape(data, StoredPrompt)
            return cls(
                mode=stored["mode"],
                key_slice=stored["key_slice"],
                box=stored["box"] and tuple(stored["box"]),  # type: ignore[arg-type]  # its length is checked there
                points=tuple((x, y) for x, y in stored["points"]),
                point_labels=tuple(stored["point_labels"]),
                mask=None if stored["mask"] is None else _from_run_lengths(stored["mask"]),
                object_id=stored.get("object_id"),
            )
        except (Malformed, ValueError) as problem:
            raise PromptError(
                f"a prompt in JSON: {problem}, expected what Prompt.to_json writes; record the manifest again."
            ) from None


def objects_of(prompts: Iterable[Prompt], protocol: str = "bidirectional") -> list[tuple[Prompt, ...]]:
    """The prompts of each object, objects in the order of their first prompt.

    The first prompt of an object is where its tracks start: the first one given, with `forward` the one on the lowest
    slice. Raises PromptError for two prompts of one object on one slice, OptionError for an object on several slices
    with `slicewise`.
    """
    found: dict[Any, list[Prompt]] = {}
    for place, prompt in enumerate(prompts):
        found.setdefault(("alone", place) if prompt.object_id is None else prompt.object_id, []).append(prompt)
    for own in found.values():
        slices = [prompt.key_slice for prompt in own]
        twice = [prompt for prompt in own if slices.count(prompt.key_slice) > 1]
        if twice:
            raise PromptError(
                f"object {twice[0].object_id}: got {' and '.join(prompt.mode for prompt in twice)} on slice "
                f"{twice[0].key_slice}, expected one prompt of an object on a slice; delete the others, or number them "
                "as other objects."
            )
        if len(own) > 1 and protocol == "slicewise":
            raise OptionError(
                f"protocol slicewise: got object {own[0].object_id} with prompts on {len(own)} slices, expected one "
                "because this protocol has no memory; leave out object_id, or choose another protocol."
            )
        if protocol == "forward":
            own.sort(key=lambda prompt: prompt.key_slice)
    return [tuple(own) for own in found.values()]


def _is_box(box: Sequence[float]) -> bool:
    return len(box) == 4 and bool(np.isfinite(box).all()) and box[0] <= box[2] and box[1] <= box[3]


def _run_lengths(mask: np.ndarray) -> StoredMask:
    # the mask changes at the start of each run and after its end
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
