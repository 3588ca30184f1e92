"""Corrections: where a person who knows the truth would click next to repair a mask. No torch.

Two rules are known. `volume` is the one of the CVPR 2025 challenge on interactive segmentation of 3-D images: one click
into the largest error. `slice` is close to micro-sam's: a positive and a negative click on the slice with most errors.
micro-sam draws its points at random; here they are the deepest ones, so that every machine gives the same.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from scipy import ndimage

from medsam_core.errors import OptionError, PromptError
from medsam_core.metrics.masks import bounding_box
from medsam_core.metrics.numbering import label_components
from medsam_core.prompts.geometry import Point, deepest_point
from medsam_core.prompts.truth import Truth

RULES = ("volume", "slice")
"""How the next correction is found: see `next_correction`."""


class StoredCorrection(TypedDict):
    """A correction in built-in types, as `Correction.to_json` gives it; its fields are those of `Correction`."""

    key_slice: int
    points: list[list[float]]
    point_labels: list[int]


@dataclass(frozen=True)
class Correction:
    """The clicks of one round: on one slice of one object. Raises PromptError if the fields do not fit together."""

    key_slice: int
    """Index of the axial slice, from 0."""
    points: tuple[Point, ...]
    """(x, y) in voxels of the slice, at least one."""
    point_labels: tuple[int, ...]
    """For each point 1 where the mask lacks a part of the object, 0 where it has too much."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_slice", operator.index(self.key_slice))
        fits = len(self.points) == len(self.point_labels) and set(self.point_labels) <= {0, 1}
        if not self.points or not fits or not np.isfinite(np.array(self.points)).all() or self.key_slice < 0:
            raise PromptError(
                f"correction on slice {self.key_slice}: got points {self.points} labelled {self.point_labels}, "
                "expected at least one finite (x, y) with 0 or 1 for each, on a slice from 0 on; label each point."
            )

    def to_json(self) -> StoredCorrection:
        """The correction in built-in types."""
        return {
            "key_slice": int(self.key_slice),
            "points": [[float(x), float(y)] for x, y in self.points],
            "point_labels": [int(label) for label in self.point_labels],
        }


def next_correction(
    prediction: np.ndarray, truth: np.ndarray | Truth, rule: str = "volume", *, slices: range | None = None
) -> Correction | None:
    """The next correction of a mask, None if nothing is wrong.

    prediction, truth: (D, H, W) bool, same shape.
    rule: `volume`: a voxel is wrong if the two masks differ there. In the largest 26-connected component of the wrong
        voxels, the click is at the voxel that is farthest from the component's border, in voxels and not in mm; beyond
        the volume is outside. It is positive if the truth has the voxel. Of equally large components and of equally
        deep voxels the first in row order is taken.
        `slice`: the slice with most wrong voxels, of equal ones the first. One positive click at the deepest voxel of
        what the mask lacks there, and one negative at the deepest voxel of what it has too much, if there are any.
    slices: where a mistake can be corrected; None for the whole volume. Mistakes on other slices are ignored.
    Raises OptionError for another rule, PromptError for two shapes.
    Source: CVPR25_iter_eval.py of the challenge, which draws among equally deep voxels.
    """
    if rule not in RULES:
        raise OptionError(f"rule of corrections: got {rule!r}, expected one of {', '.join(RULES)}; choose one of them.")
    wanted = Truth.of(truth).mask
    if prediction.shape != wanted.shape or prediction.ndim != 3:
        raise PromptError(
            f"correction: got a mask of shape {prediction.shape} for a truth of {wanted.shape}, expected the same "
            "(D, H, W); give masks of one volume."
        )
    first = slices.start if slices is not None else 0
    part = slice(first, slices.stop if slices is not None else None)
    found, wanted = prediction[part], wanted[part]
    wrong = found != wanted
    box = bounding_box(wrong)
    if box is None:
        return None
    if rule == "slice":
        return _on_worst_slice(found, wanted, wrong, first)
    z, y, x = (int(at + side.start) for at, side in zip(_middle_of_largest(wrong[box]), box, strict=True))
    return Correction(first + z, ((float(x), float(y)),), (int(wanted[z, y, x]),))


def _middle_of_largest(wrong: np.ndarray) -> tuple[int, ...]:
    """The voxel of the largest component that is farthest from its border. wrong: not empty."""
    labels, _ = label_components(wrong)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    component = labels == np.argmax(sizes)
    box = bounding_box(component)
    assert box is not None
    # without the padding, SciPy would treat a component at the border as if it continued beyond it
    depths = ndimage.distance_transform_edt(np.pad(component[box], 1))[1:-1, 1:-1, 1:-1]
    deepest = np.unravel_index(np.argmax(depths), depths.shape)
    return tuple(int(at + side.start) for at, side in zip(deepest, box, strict=True))


def _on_worst_slice(found: np.ndarray, wanted: np.ndarray, wrong: np.ndarray, first: int) -> Correction:
    worst = int(np.argmax([np.count_nonzero(plane) for plane in wrong]))
    lacking, too_much = wanted[worst] & ~found[worst], found[worst] & ~wanted[worst]
    clicks = [(deepest_point(region), label) for region, label in ((lacking, 1), (too_much, 0)) if region.any()]
    return Correction(first + worst, tuple(point for point, _ in clicks), tuple(label for _, label in clicks))
