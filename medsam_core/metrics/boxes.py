"""Parts of arrays: the box around several, and what a window shows of an array that covers a box only."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Box: TypeAlias = tuple[slice, ...]
"""A part of an array: one slice per axis, with start and stop."""


def around(*boxes: Box) -> Box:
    """The smallest box around all boxes."""
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*boxes, strict=True)
    )


def shifted(box: Box | None, by: Box) -> Box | None:
    """A box inside another one, in the coordinates of what the other one is in."""
    if box is None:
        return None
    return tuple(slice(side.start + at.start, side.stop + at.start) for side, at in zip(box, by, strict=True))


def cut(array: NDArray[np.int32], box: Box, window: Box) -> NDArray[np.int32]:
    """What a window shows of an array that lies in a box, 0 outside of the box. All in the same coordinates."""
    if box == window:
        return array
    shown = np.zeros([side.stop - side.start for side in window], np.int32)
    common = [
        (max(mine.start, other.start), min(mine.stop, other.stop)) for mine, other in zip(box, window, strict=True)
    ]
    if all(start < stop for start, stop in common):
        ours, theirs = (
            tuple(slice(start - side.start, stop - side.start) for (start, stop), side in zip(common, of, strict=True))
            for of in (box, window)
        )
        shown[theirs] = array[ours]
    return shown
