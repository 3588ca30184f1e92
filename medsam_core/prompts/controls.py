"""Controls: what the prompt gives without a model. The filled box, and Otsu's threshold inside the box. No torch.

A model that does not beat them has learnt nothing beyond its prompt. A control sees what the model sees: the image, the
prompt, and every slice of the protocol. It does not know on which slices the region exists.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medsam_core.prompts.geometry import tight_box
from medsam_core.prompts.prompt import Prompt, objects_of

BINS = 256


@dataclass(frozen=True, eq=False)
class CroppedMask:
    """A mask of a volume that is empty outside of a box; only the inside of the box is stored."""

    where: tuple[slice, slice, slice]
    """The box in the volume, (z, y, x)."""
    mask: np.ndarray
    """(d, h, w) bool, the inside of the box."""

    def whole(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The mask of the whole volume, (D, H, W) bool. shape: (D, H, W)."""
        mask = np.zeros(shape, bool)
        mask[self.where] = self.mask
        return mask


def filled_box(image: np.ndarray, prompts: Sequence[Prompt], truth: np.ndarray, protocol: str) -> CroppedMask:
    """The prompt's box, filled, on every slice that the protocol sees.

    image: (D, H, W); only its shape matters.
    prompts: at least one; the mask is the union over all.
    truth: (D, H, W) bool; gives a box to prompts without one (see `rectangle_of`).
    protocol: `bidirectional` sees every slice, `forward` the key slice and those after it, `slicewise` the key slice.
    """
    return _union(image, prompts, truth, protocol, lambda column, _: np.ones(column.shape, bool))


def otsu_in_box(image: np.ndarray, prompts: Sequence[Prompt], truth: np.ndarray, protocol: str) -> CroppedMask:
    """The voxels on the object's side of Otsu's threshold inside the box, on every slice that the protocol sees.

    The threshold and the side come from the key slice. The object is the side with less of the box's border, because a
    region that fills its box touches the border least; if both have the same share, the brighter side. A box without
    contrast is filled. Arguments as for `filled_box`; image: (D, H, W), finite.
    """

    def inside(column: np.ndarray, key: int) -> np.ndarray:
        plane = column[key]
        threshold = otsu_threshold(plane)
        if threshold is None:
            return np.ones(column.shape, bool)
        border = np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])
        mask = column >= threshold
        return ~mask if 2 * np.count_nonzero(border >= threshold) > border.size else mask

    return _union(image, prompts, truth, protocol, inside)


CONTROLS: Mapping[str, Callable[[np.ndarray, Sequence[Prompt], np.ndarray, str], CroppedMask]] = {
    "filled_box": filled_box,
    "otsu_in_box": otsu_in_box,
}


def otsu_threshold(values: np.ndarray) -> float | None:
    """The threshold between the two classes of a histogram of 256 bins: the darker is below it, the brighter is not.

    values: any shape, finite. None if all are equal.
    Definition: Otsu 1979, the largest variance between the classes; among equally good thresholds the darkest.
    """
    low, high = float(values.min()), float(values.max())
    if not low < high:
        return None
    counts, edges = np.histogram(values, BINS, (low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    above = values.size - below
    # Otsu's variance between the classes, for a cut after each bin: n₁ · n₂ · (difference of the means)²
    between = below * above * (mass[:-1] / below - (mass[-1] - mass[:-1]) / above) ** 2
    return float(edges[1 + int(np.argmax(between))])


def rectangle_of(prompt: Prompt, truth: np.ndarray) -> tuple[slice, slice]:
    """(y, x) slices of the prompt's box or of the box around its mask; for points, around the truth on the key slice.

    truth: (D, H, W) bool. Points give no box, so here the control knows more than the model. If the truth is empty on
    the slice (replayed prompts), the box is around the points.
    """
    if prompt.box is not None:
        box = prompt.box
    elif prompt.mask is not None:
        box = tight_box(prompt.mask)
    elif truth[prompt.key_slice].any():
        box = tight_box(truth[prompt.key_slice])
    else:
        xs, ys = zip(*prompt.points, strict=True)
        box = (min(xs), min(ys), max(xs), max(ys))
    _, height, width = truth.shape
    x0, x1 = (min(max(round(edge), 0), width - 1) for edge in (box[0], box[2]))
    y0, y1 = (min(max(round(edge), 0), height - 1) for edge in (box[1], box[3]))
    return slice(y0, y1 + 1), slice(x0, x1 + 1)


def _shares(prompts: Sequence[Prompt], depth: int, protocol: str) -> list[tuple[Prompt, range]]:
    """The prompts of one object, each with the slices that are nearest to its own; of two the lower prompt has it.

    prompts: as `objects_of` gives them.
    """
    seen = prompts[0].slices_seen(depth, protocol)
    ordered = sorted(prompts, key=lambda prompt: prompt.key_slice)
    # the first slice that is nearer to the later prompt
    cuts = [(a.key_slice + b.key_slice) // 2 + 1 for a, b in itertools.pairwise(ordered)]
    return [
        (prompt, range(start, stop))
        for prompt, start, stop in zip(ordered, [seen.start, *cuts], [*cuts, seen.stop], strict=True)
    ]


def _union(
    image: np.ndarray,
    prompts: Sequence[Prompt],
    truth: np.ndarray,
    protocol: str,
    inside: Callable[[np.ndarray, int], np.ndarray],
) -> CroppedMask:
    """The union of the prompts' masks; of an object's prompts on several slices each has the slices nearest to it.

    inside: (a prompt's part of the image, the key slice's index in it) -> mask."""
    boxes = []
    shares = [share for own in objects_of(prompts, protocol) for share in _shares(own, len(image), protocol)]
    prompts = [prompt for prompt, _ in shares]
    for prompt, seen in shares:
        boxes.append((slice(seen.start, seen.stop), *rectangle_of(prompt, truth)))
    start = [min(box[axis].start for box in boxes) for axis in range(3)]
    stop = [max(box[axis].stop for box in boxes) for axis in range(3)]
    mask = np.zeros(np.subtract(stop, start), bool)
    for prompt, box in zip(prompts, boxes, strict=True):
        # the prompt's box in the coordinates of the common box
        own = tuple(slice(one.start - at, one.stop - at) for one, at in zip(box, start, strict=True))
        mask[own] |= inside(image[box], prompt.key_slice - box[0].start)
    z, y, x = (slice(before, after) for before, after in zip(start, stop, strict=True))
    return CroppedMask((z, y, x), mask)
