"""The lesion-wise score of BraTS 2023: each lesion on its own, with a penalty for every one missed or made up.

1. The truth is dilated a few times with the 18-neighbour element; what the dilation joins (26 neighbours) is one
   lesion. The lesion itself stays undilated.
2. The prediction's components (26 neighbours, undilated) match every lesion whose dilation they touch. One that
   touches none is a false positive, however small.
3. Dice and HD95 (surfels, the larger direction) of each lesion against the union of its matches.
4. Lesions up to a minimum volume are left out: neither found nor missed, and what touches them is not false.
5. score = Σ over the other lesions / (their number + false positives); a miss or a false positive counts Dice 0
   and the HD95 penalty. Nothing in either mask: Dice 1, HD95 0.

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
from medsam_core.metrics.masks import Mask, bounding_box, check_mask, check_pair, check_spacing
from medsam_core.metrics.overlap import count, dice
from medsam_core.metrics.profiles import LesionRule
from medsam_core.metrics.surface import hausdorff, surface_distances


@dataclass(frozen=True)
class Lesion:
    """One lesion of the truth and what the prediction made of it.

    number: 1, 2, … volume_mm3: undilated. matches: numbers of the prediction's components, () if it was missed.
    dice: of the union of the matches, 0 if missed. hd95_mm: the same, the rule's penalty if missed.
    scored: whether it is larger than the rule's minimum volume.
    """

    number: int
    volume_mm3: float
    matches: tuple[int, ...]
    dice: float
    hd95_mm: float
    scored: bool


@dataclass(frozen=True)
class LesionScores:
    """Every lesion, every false positive, and the score of the case.

    lesions: all lesions of the truth, also those too small to be scored.
    false_positives: numbers of the prediction's components that touch no lesion.
    penalty_mm: the HD95 of a miss or a false positive.
    """

    lesions: tuple[Lesion, ...]
    false_positives: tuple[int, ...]
    penalty_mm: float

    @property
    def tp(self) -> int:
        """Scored lesions that something matches."""
        return sum(lesion.scored and bool(lesion.matches) for lesion in self.lesions)

    @property
    def fn(self) -> int:
        """Scored lesions that nothing matches."""
        return sum(lesion.scored and not lesion.matches for lesion in self.lesions)

    @property
    def fp(self) -> int:
        """Components of the prediction that touch no lesion."""
        return len(self.false_positives)

    @property
    def dice(self) -> float:
        """Lesion-wise Dice in [0, 1]; 1 where there is nothing to find and nothing was made up."""
        judged = self.tp + self.fn + self.fp
        return sum(lesion.dice for lesion in self.lesions if lesion.scored) / judged if judged else 1.0

    @property
    def hd95_mm(self) -> float:
        """Lesion-wise HD95, mm; 0 where there is nothing to find and nothing was made up."""
        judged = self.tp + self.fn + self.fp
        found = sum(lesion.hd95_mm for lesion in self.lesions if lesion.scored)
        return (found + self.fp * self.penalty_mm) / judged if judged else 0.0


def lesion_scores(prediction: Mask, truth: Mask, spacing_mm: Sequence[float], rule: LesionRule) -> LesionScores:
    """Match the lesions of two masks and score each.

    prediction, truth: (D, H, W) bool, same shape; either may be empty.
    spacing_mm: (dz, dy, dx). BraTS dilates in voxels, whatever their size.
    rule: dilations, minimum volume and penalty, for instance PROFILES["brats2023"].lesions.
    Raises MaskError for masks that are not 3-D or otherwise unusable, ShapeMismatch for different shapes.
    """
    check_pair(prediction, truth)
    spacing = check_spacing(spacing_mm, prediction.ndim)
    if prediction.ndim != 3:
        raise MaskError(
            f"prediction: shape {prediction.shape}, expected (D, H, W) for lesions; leave lesion metrics out of 2-D."
        )
    box = bounding_box(prediction, truth)
    if box is None:
        return LesionScores((), (), rule.penalty_mm)
    # Growth need not leave the box: pushed back to its rim, any path outside stays as connected as it was.
    prediction, truth = prediction[box], truth[box]
    zones, zone_count = label_components(dilate(truth, rule.dilations))
    parts, part_count = label_components(prediction)
    touching = _touching(zones, parts, zone_count, part_count)
    zone_boxes, part_boxes = ndimage.find_objects(zones), ndimage.find_objects(parts)
    lesions = []
    for number in range(1, zone_count + 1):
        matches = np.flatnonzero(touching[number])
        window = _around(zone_boxes[number - 1], *(part_boxes[match - 1] for match in matches))
        lesion = truth[window] & (zones[window] == number)
        found = touching[number][parts[window]]
        lesions.append(_judge(number, tuple(matches.tolist()), found, lesion, spacing, rule))
    alone = np.flatnonzero(~touching.any(axis=0))
    return LesionScores(tuple(lesions), tuple(alone[alone > 0].tolist()), rule.penalty_mm)


def label_components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Number the connected components of a mask: (labels, how many); labels of its shape, 0 outside.

    mask: (D, H, W) bool, 26 neighbours, or (H, W) bool, 8 neighbours; may be empty.
    """
    check_mask(mask, "mask")
    labels, number = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, bool))
    return labels, int(number)


def count_components(mask: Mask) -> int:
    """How many components a mask has (26 neighbours, 8 in 2-D); 0 for an empty one. Raises MaskError."""
    check_mask(mask, "mask")
    box = bounding_box(mask)
    return label_components(mask[box])[1] if box else 0


def dilate(mask: Mask, times: int) -> Mask:
    """The mask grown by one voxel `times` times, to faces and edges but not corners (18 neighbours).

    mask: (D, H, W) bool. Growth ends at the array's border.
    """
    if not times:
        return mask
    depth, height, width = (length + 2 * times for length in mask.shape)
    inner = (slice(times, -times),) * 3
    grown = np.zeros((depth, height, width), bool)
    grown[inner] = mask
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
    """With each voxel's two neighbours at that step. The margin of `dilate` keeps rows from meeting."""
    spread = flat.copy()
    spread[step:] |= flat[:-step]
    spread[:-step] |= flat[step:]
    return spread


def _touching(
    zones: NDArray[np.int32], parts: NDArray[np.int32], zone_count: int, part_count: int
) -> NDArray[np.bool_]:
    """(zones + 1, parts + 1) bool: which dilated lesion holds a voxel of which part; row and column 0 stay False."""
    touching = np.zeros((zone_count + 1, part_count + 1), bool)
    at = np.flatnonzero(parts)
    touching[zones.reshape(-1)[at], parts.reshape(-1)[at]] = True
    touching[0] = False
    return touching


def _around(*boxes: tuple[slice, ...]) -> tuple[slice, ...]:
    """The smallest box that holds all boxes."""
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*boxes, strict=True)
    )


def _judge(
    number: int,
    matches: tuple[int, ...],
    found: Mask,
    lesion: Mask,
    spacing: tuple[float, ...],
    rule: LesionRule,
) -> Lesion:
    volume = int(np.count_nonzero(lesion)) * math.prod(spacing)
    scored = volume > rule.minimum_mm3
    if not matches:
        return Lesion(number, volume, (), 0.0, rule.penalty_mm, scored)
    distances = surface_distances(found, lesion, spacing, definition="surfel")
    return Lesion(number, volume, matches, dice(count(found, lesion)), hausdorff(distances, 95), scored)
