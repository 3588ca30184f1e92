"""Why a case failed, in one label and one sentence: what a person would say after a look at the masks.

Every wrong voxel is assigned to one cause, and the cause with the most voxels names the case. Two causes come first,
because they explain a case whatever else is wrong: nothing predicted, and something else predicted. No score is used,
so the explanation is the same under every profile and gate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from medsam_core.errors import ShapeMismatch
from medsam_core.metrics.masks import bounding_box
from medsam_core.metrics.numbering import count_components, label_components
from medsam_core.metrics.propagation import half_life
from medsam_core.text import few

if TYPE_CHECKING:
    from medsam_core.prompts.prompt import Prompt

EMPTY, WRONG_OBJECT, LEAK, EARLY_STOP = "empty mask", "wrong object", "leak", "early stop"
MULTIFOCAL, PART, BOUNDARY = "multifocal miss", "part missed", "boundary only"
ABSENT, AGREEMENT = "absent region", "no difference"
LABELS = (EMPTY, WRONG_OBJECT, LEAK, EARLY_STOP, MULTIFOCAL, PART, BOUNDARY, ABSENT, AGREEMENT)

BAND_MM = 3.0
"""A wrong voxel this near to the other mask counts as boundary: BraTS raters differ by about that much."""
LEAK_FACTOR = 0.1
"""Overspill beyond the band is a leak from this share of the truth on: a tenth costs 0.05 of Dice, less is specks that
fail no case."""
STOPPED_SHARE = 0.25
"""An early stop loses at least this share of the truth's slices on one side of the key slice: the last quarter of a
tumour tapers and holds little of its volume."""
LOST_SENSITIVITY = 0.1
"""A slice is lost if a smaller share of its truth than this was found."""
POINT_REACH = 2
"""A prediction that comes this near to a click, in voxels of the slice, still shows what was clicked on."""

Bool = np.ndarray


def explain(
    prediction: Bool,
    truth: Bool,
    prompts: Sequence[Prompt] = (),
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[str, str]:
    """One of LABELS, and a sentence with its figures, without a full stop.

    The label is the first of these that applies:

    - `no difference`: the masks are equal. `absent region`: the truth is empty. `empty mask`: the prediction is.
    - `wrong object`: the prediction touches no prompt on its slice (a box's inside, a mask, the surroundings of a
      click on the region), or shares no voxel with the truth.
    - the cause with the most wrong voxels among those that are worth naming: `leak`, overspill more than BAND_MM
      outside the truth if it exceeds LEAK_FACTOR of the truth; `early stop`, missed on a run of lost slices at the
      truth's end, if they are STOPPED_SHARE of those on their side of the key slice; `multifocal miss`, components
      of the truth (26-connected) that the prediction does not touch; `part missed`, other voxels of the truth more
      than BAND_MM from what was found of it; `boundary only`, all others.

    prediction, truth: (D, H, W) bool, same shape.
    prompts: what the model was given; () if unknown.
    spacing_mm: (dz, dy, dx).
    The same masks and prompts always give the same answer. Raises ShapeMismatch if the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ShapeMismatch(
            f"prediction: shape {prediction.shape}, expected {truth.shape} as the truth has; explain a mask on the "
            "grid of its truth."
        )
    if np.array_equal(prediction, truth):
        return AGREEMENT, "prediction and truth are equal in every voxel"
    if not truth.any():
        return ABSENT, f"the truth has no such region, {_voxels(prediction)} predicted on {_slices(prediction)}"
    if not prediction.any():
        return EMPTY, f"nothing predicted, the truth has {_voxels(truth)} on {_slices(truth)}"
    wrong_object = _wrong_object(prediction, truth, prompts)
    if wrong_object:
        return WRONG_OBJECT, wrong_object
    window = bounding_box(prediction, truth)
    assert window is not None  # both have voxels
    first = window[0].start
    keys = [prompt.key_slice - first for prompt in prompts]
    return _largest_cause(prediction[window], truth[window], spacing_mm, first, keys)


def _wrong_object(prediction: Bool, truth: Bool, prompts: Sequence[Prompt]) -> str | None:
    asked = sorted({prompt.key_slice for prompt in prompts})
    place = f"key slice{'s' if len(asked) > 1 else ''} {few(list(map(str, asked)))}"
    if prompts and not any(_touches(prediction[prompt.key_slice], prompt) for prompt in prompts):
        if not any(prediction[number].any() for number in asked):
            return f"nothing predicted on {place}, but {_voxels(prediction)} on {_slices(prediction)}"
        return f"the prediction does not touch the prompt on {place}"
    if not (prediction & truth).any():
        return f"none of the {_voxels(prediction)} predicted on {_slices(prediction)} is in the truth"
    return None


def _touches(plane: Bool, prompt: Prompt) -> bool:
    """Whether a predicted slice (H, W) has a voxel where the prompt points; background clicks do not count."""
    if prompt.mask is not None and (plane & prompt.mask).any():
        return True
    boxes = [] if prompt.box is None else [prompt.box]
    for (x, y), label in zip(prompt.points, prompt.point_labels, strict=True):
        if label == 1:
            boxes.append((x - POINT_REACH, y - POINT_REACH, x + POINT_REACH, y + POINT_REACH))
    for x0, y0, x1, y1 in boxes:
        rows, columns = (slice(max(0, round(low)), max(0, round(high) + 1)) for low, high in ((y0, y1), (x0, x1)))
        if plane[rows, columns].any():
            return True
    return False


def _largest_cause(
    prediction: Bool, truth: Bool, spacing_mm: tuple[float, float, float], first: int, keys: Sequence[int]
) -> tuple[str, str]:
    """Assign every wrong voxel to one cause and name the largest; among equal ones the first in LABELS.

    prediction, truth: cropped to the box around both. first: the crop's first slice in the volume.
    keys: the prompted slices, counted from there.
    """
    overspill, missed = prediction & ~truth, truth & ~prediction
    far_overspill = overspill & _beyond_band(truth, spacing_mm)
    untouched, total = _untouched_components(truth, prediction)
    lost = _lost_slices(prediction, truth & ~untouched, keys)
    in_lost = np.zeros_like(missed)
    in_lost[lost] = missed[lost] & ~untouched[lost]
    deep = missed & ~untouched & ~in_lost & _beyond_band(prediction & truth, spacing_mm)

    causes = {LEAK: far_overspill, EARLY_STOP: in_lost, MULTIFOCAL: untouched, PART: deep}
    sizes = {label: _count(part) for label, part in causes.items()}
    size, wrong = _count(truth), _count(overspill | missed)
    on_boundary = wrong - sum(sizes.values())
    if sizes[LEAK] <= LEAK_FACTOR * size:
        sizes[LEAK] = 0
    label = max(sizes, key=lambda one: sizes[one])  # the first of equal ones
    if sizes[label] == 0 or on_boundary > sizes[label]:
        return BOUNDARY, (
            f"{_percent(on_boundary, wrong)} of the wrong voxels are within {BAND_MM:g} mm of the boundary, "
            f"{_percent(_count(missed), size)} of the truth is missed and the overspill is "
            f"{_percent(_count(overspill), size)} of it"
        )
    share = _percent(sizes[label], size)
    if label == LEAK:
        fullest = first + int(np.count_nonzero(far_overspill, axis=(1, 2)).argmax())
        return LEAK, (
            f"{_voxels(far_overspill)}, {share} of the truth's size, are more than {BAND_MM:g} mm outside it, "
            f"most of them on slice {fullest}"
        )
    if label == EARLY_STOP:
        text = f"{len(lost)} slices at the truth's end are lost ({_ranges(lost, first)}), {share} of its voxels"
        life = half_life(prediction, truth, [key for key in keys if 0 <= key < len(truth)])
        return EARLY_STOP, text if np.isnan(life) else f"{text}; half-life {life:g} slices"
    if label == MULTIFOCAL:
        count = count_components(untouched)
        return MULTIFOCAL, f"{count} of {total} components of the truth are not touched, {share} of its voxels"
    where = _slices(deep, first)
    return PART, f"{share} of the truth is missed more than {BAND_MM:g} mm from what was found, on {where}"


def _beyond_band(mask: Bool, spacing_mm: tuple[float, float, float]) -> Bool:
    """Voxels whose centre is more than BAND_MM from the nearest centre of a mask that is not empty."""
    # everything outside the mask's box plus the band is beyond, so distances are computed only inside
    margins = [math.ceil(BAND_MM / step) for step in spacing_mm]
    box = zip(bounding_box(mask) or (), margins, strict=True)
    near = tuple(slice(max(0, side.start - margin), side.stop + margin) for side, margin in box)
    beyond = np.ones(mask.shape, bool)
    beyond[near] = ndimage.distance_transform_edt(~mask[near], sampling=spacing_mm) > BAND_MM
    return beyond


def _untouched_components(truth: Bool, prediction: Bool) -> tuple[Bool, int]:
    """The truth's components without a predicted voxel, and how many components there are."""
    labels, total = label_components(truth)
    touched = np.zeros(total + 1, bool)
    touched[labels[prediction]] = True
    touched[0] = True  # the background is no component
    return ~touched[labels], total


def _lost_slices(prediction: Bool, truth: Bool, keys: Sequence[int]) -> list[int]:
    """Slices that the propagation did not reach: runs from the truth's ends inwards."""
    if not keys:
        return []
    present = np.flatnonzero(truth.any(axis=(1, 2))).tolist()
    lost: list[int] = []
    for side in ([k for k in present if k < min(keys)], [k for k in present[::-1] if k > max(keys)]):
        run = []
        for number in side:  # from the truth's end inwards
            if _count(truth[number] & prediction[number]) >= LOST_SENSITIVITY * _count(truth[number]):
                break
            run.append(number)
        if run and len(run) >= STOPPED_SHARE * len(side):
            lost += run
    return sorted(lost)


def _count(mask: Bool) -> int:
    return int(np.count_nonzero(mask))


def _voxels(mask: Bool) -> str:
    count = _count(mask)
    return f"{count:,} voxel{'' if count == 1 else 's'}"


def _slices(mask: Bool, first: int = 0) -> str:
    numbers = first + np.flatnonzero(mask.any(axis=(1, 2)))
    return f"slice {numbers[0]}" if len(numbers) == 1 else f"slices {numbers[0]}–{numbers[-1]}"


def _ranges(numbers: Sequence[int], first: int) -> str:
    """`60–64, 103–132`: sorted slices of the crop as runs of slices of the volume."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first + a}" if a == b else f"{first + a}–{first + b}" for a, b in runs)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
