"""The lesion-wise score of BraTS 2023: each lesion by itself, with a penalty for each missed or false one.

1. The truth is dilated a few times with the 18-neighbour element; parts that the dilation joins (26 neighbours) are
   one lesion. The lesion itself stays undilated.
2. A component of the prediction (26 neighbours, undilated) matches every lesion whose dilation it touches. A component
   that touches none is a false positive, however small.
3. Each lesion is compared with the union of its matches: Dice and HD95 (surfels, the larger direction).
4. Lesions up to a minimum volume do not count: neither as found nor as missed, and what touches them is not false.
5. score = Σ over the other lesions / (their number + false positives); a miss or a false positive counts Dice 0
   and the HD95 penalty. If both masks are empty: Dice 1, HD95 0.

Source: Saluja et al., BraTS-2023-Metrics; the parameters of each challenge are in profiles.PROFILES.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam_core.errors import MaskError
from medsam_core.metrics.masks import Mask, Spacing, bounding_box, check_mask, check_pair, check_spacing
from medsam_core.metrics.overlap import count, dice
from medsam_core.metrics.profiles import LesionRule
from medsam_core.metrics.surface import hausdorff, surface_distances


@dataclass(frozen=True)
class Lesion:
    """One lesion of the truth, compared with the components of the prediction that match it."""

    volume_mm3: float
    """Of the undilated lesion."""
    matches: tuple[int, ...]
    """Numbers of the matching components of the prediction; () if the lesion was missed."""
    dice: float
    """Against the union of the matches; 0 if missed."""
    hd95_mm: float
    """Against the union of the matches; the rule's penalty if missed."""
    scored: bool
    """Whether the lesion is larger than the rule's minimum volume."""


@dataclass(frozen=True)
class LesionScores:
    """Every lesion, every false positive, and the score of the case."""

    lesions: tuple[Lesion, ...]
    """All lesions of the truth, including those too small to be scored."""
    false_positives: tuple[int, ...]
    """Numbers of the prediction's components that touch no lesion."""
    penalty_mm: float
    """The HD95 of a miss or a false positive."""

    @property
    def tp(self) -> int:
        """Scored lesions with a match."""
        return sum(lesion.scored and bool(lesion.matches) for lesion in self.lesions)

    @property
    def fn(self) -> int:
        """Scored lesions without a match."""
        return sum(lesion.scored and not lesion.matches for lesion in self.lesions)

    @property
    def fp(self) -> int:
        """Components of the prediction that touch no lesion."""
        return len(self.false_positives)

    @property
    def dice(self) -> float:
        """Lesion-wise Dice in [0, 1]; 1 without any lesion to score and any false positive."""
        judged = self.tp + self.fn + self.fp
        return sum(lesion.dice for lesion in self.lesions if lesion.scored) / judged if judged else 1.0

    @property
    def hd95_mm(self) -> float:
        """Lesion-wise HD95, mm; 0 without any lesion to score and any false positive."""
        judged = self.tp + self.fn + self.fp
        found = sum(lesion.hd95_mm for lesion in self.lesions if lesion.scored)
        return (found + self.fp * self.penalty_mm) / judged if judged else 0.0


def lesion_scores(prediction: Mask, truth: Mask, spacing_mm: Sequence[float], rule: LesionRule) -> LesionScores:
    """Match the lesions of two masks and score each of them.

    prediction, truth: (D, H, W) bool, same shape; either may be empty.
    spacing_mm: (dz, dy, dx). Dilations count voxels whatever their size, as in BraTS.
    rule: dilations, minimum volume and penalty, for instance PROFILES["brats2023"].lesions.
    Raises MaskError for masks that are not 3-D or otherwise unusable, ShapeMismatch for different shapes.
    """
    check_pair(prediction, truth)
    spacing = check_spacing(spacing_mm, prediction.ndim)
    if prediction.ndim != 3:
        raise MaskError(f"prediction: shape {prediction.shape}, expected (D, H, W); leave lesions out in 2-D.")
    box = bounding_box(prediction, truth)
    if box is None:
        return LesionScores((), (), rule.penalty_mm)
    # dilation may stop at the box: a path outside of it, pushed back onto its rim, connects the same parts
    prediction, truth = prediction[box], truth[box]
    zones, zone_count = label_components(dilate(truth, rule.dilations))
    parts, part_count = label_components(prediction)
    # touching[zone, part]: whether a dilated lesion holds a voxel of a part; row and column 0 are False
    touching = np.zeros((zone_count + 1, part_count + 1), bool)
    touching[zones[prediction], parts[prediction]] = True
    touching[0] = False
    zone_boxes, part_boxes = ndimage.find_objects(zones), ndimage.find_objects(parts)
    lesions = []
    for number in range(1, zone_count + 1):  # each inside the small window around the lesion and its matches
        matches = np.flatnonzero(touching[number])
        window = _around(zone_boxes[number - 1], *(part_boxes[match - 1] for match in matches))
        lesion = truth[window] & (zones[window] == number)
        found = touching[number][parts[window]]  # a row of the table, looked up by component: the union of matches
        lesions.append(_judge(tuple(matches.tolist()), found, lesion, spacing, rule))
    alone = 1 + np.flatnonzero(~touching[:, 1:].any(axis=0))
    return LesionScores(tuple(lesions), tuple(alone.tolist()), rule.penalty_mm)


def label_components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """The connected components of a mask: (int32 of its shape with 1, 2, … inside and 0 outside, their number).

    mask: (D, H, W) bool, 26 neighbours, or (H, W) bool, 8 neighbours; may be empty. Raises MaskError.
    """
    check_mask(mask, "mask")
    labels, number = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, bool))
    return labels, int(number)


def count_components(mask: Mask) -> int:
    """How many connected components a mask has (26 neighbours, 8 in 2-D); 0 for an empty mask.

    mask: (D, H, W) or (H, W) bool. Raises MaskError for an unusable mask.
    """
    check_mask(mask, "mask")
    box = bounding_box(mask)
    return label_components(mask[box])[1] if box else 0


def dilate(mask: Mask, times: int) -> Mask:
    """The mask dilated `times` times with the 18-neighbour element (across faces and edges, not corners).

    mask: (D, H, W) bool; may be empty. The result has the same shape: dilation stops at the array's border.
    """
    if not times:
        return mask
    depth, height, width = (length + 2 * times for length in mask.shape)
    inner = (slice(times, -times),) * 3
    grown = np.zeros((depth, height, width), bool)
    grown[inner] = mask
    # on the flat array a neighbour is a fixed number of elements away: 1, a row or a plane
    flat = grown.reshape(-1)
    plane = height * width
    for _ in range(times):
        # the 18 neighbours are three squares, each spanned by two axes
        along_row, along_column = _spread(flat, 1), _spread(flat, width)
        flat = _spread(along_row, width)
        flat |= _spread(along_row, plane)
        flat |= _spread(along_column, plane)
    return flat.reshape(grown.shape)[inner]


def _spread(flat: Mask, step: int) -> Mask:
    """The mask with the two neighbours at that step added. The margin of `dilate` keeps neighbouring rows apart."""
    spread = flat.copy()
    spread[step:] |= flat[:-step]
    spread[:-step] |= flat[step:]
    return spread


def _around(*boxes: tuple[slice, ...]) -> tuple[slice, ...]:
    """The smallest box around all boxes."""
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*boxes, strict=True)
    )


def _judge(matches: tuple[int, ...], found: Mask, lesion: Mask, spacing: Spacing, rule: LesionRule) -> Lesion:
    volume = int(np.count_nonzero(lesion)) * math.prod(spacing)
    scored = volume > rule.minimum_mm3
    if not matches:
        return Lesion(volume, (), 0.0, rule.penalty_mm, scored)
    distances = surface_distances(found, lesion, spacing, definition="surfel")
    return Lesion(volume, matches, dice(count(found, lesion)), hausdorff(distances, 95), scored)
