"""The lesion-wise scores of BraTS 2023 and 2024: each lesion by itself, with a penalty for each missed or false one.

1. The truth is dilated a few times with the 18-neighbour element; parts that the dilation joins (26 neighbours) are
   one lesion. The lesion itself stays undilated. In 2024 lesions of the prediction are found in the same way, and those
   up to the minimum volume are removed; in 2023 they are the components (26 neighbours).
2. A lesion of the prediction matches every lesion whose dilation it touches. One that touches none is a false positive.
3. Each lesion is compared with the union of its matches: Dice, HD95 (surfels, the larger direction) and NSD.
4. Lesions up to a minimum volume do not count: neither as found nor as missed, and what touches them is not false.
5. score = Σ over the other lesions / (their number + false positives); a miss or a false positive counts Dice 0, NSD 0
   and the HD95 penalty. If there are neither: Dice and NSD 1, HD95 0.

Sources: Saluja et al., BraTS-2023-Metrics and BraTS-2024-Metrics; the parameters of each challenge are in
profiles.PROFILES. In some challenges of 2024 other tissues join lesions: joined_lesions.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from medsam_core.errors import MaskError
from medsam_core.metrics.boxes import around, cut, shifted
from medsam_core.metrics.masks import Mask, Spacing, bounding_box, check_pair, check_spacing, diagonal_mm
from medsam_core.metrics.numbering import Numbered, TruthLesions, number_lesions
from medsam_core.metrics.overlap import count, dice
from medsam_core.metrics.profiles import IMAGE_DIAGONAL, LesionRule, Surface
from medsam_core.metrics.surface import NsdDirected, SurfaceDistances, hausdorff, nsd, surface_distances


@dataclass(frozen=True)
class Lesion:
    """One lesion of the truth, compared with the lesions of the prediction that match it."""

    volume_mm3: float
    """Of the undilated lesion."""
    matches: tuple[int, ...]
    """Numbers of the matching lesions of the prediction; () if the lesion was missed."""
    dice: float
    """Against the union of the matches; 0 if missed."""
    hd95_mm: float
    """Against the union of the matches; the rule's penalty if missed."""
    scored: bool
    """Whether the lesion is large enough to be scored."""
    pair: tuple[Mask, Mask] | None = field(default=None, compare=False, repr=False)
    """The union of the matches and the lesion, in a window around both; None if missed."""
    surfaces: dict[Surface, SurfaceDistances] = field(default_factory=dict, compare=False, repr=False)
    """The distances of `pair` that were measured so far."""


@dataclass(frozen=True)
class LesionScores:
    """Every lesion, every false positive, and the score of the case."""

    lesions: tuple[Lesion, ...]
    """All lesions of the truth, including those too small to be scored."""
    false_positives: tuple[int, ...]
    """Numbers of the prediction's lesions that touch no lesion."""
    penalty_mm: float
    """The HD95 of a miss or a false positive."""
    spacing_mm: Spacing = field(default=(1.0, 1.0, 1.0), compare=False)
    """(dz, dy, dx), for NSD."""
    false_positives_count: bool = True
    """Whether false positives count in the means."""

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
        """Lesions of the prediction that touch no lesion."""
        return len(self.false_positives)

    @property
    def precision(self) -> float:
        """tp / (tp + fp), in [0, 1]; NaN if nothing was predicted."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """tp / (tp + fn), in [0, 1]; NaN without a lesion."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2·tp / (2·tp + fp + fn), in [0, 1]; NaN if there is nothing to find and nothing was predicted."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def dice(self) -> float:
        """Lesion-wise Dice in [0, 1]; 1 without any lesion to score and any false positive."""
        return self._mean(lambda lesion: lesion.dice, worst=0.0, nothing=1.0)

    @property
    def hd95_mm(self) -> float:
        """Lesion-wise HD95, mm; 0 without any lesion to score and any false positive."""
        return self._mean(lambda lesion: lesion.hd95_mm, worst=self.penalty_mm, nothing=0.0)

    def nsd(self, tolerance_mm: float | None, surface: Surface, directed: NsdDirected) -> float:
        """Lesion-wise NSD in [0, 1]; 1 without any lesion to score and any false positive.

        tolerance_mm: None for the smallest spacing. surface, directed: as in `Profile`.
        """
        tolerance = min(self.spacing_mm) if tolerance_mm is None else tolerance_mm

        def of(lesion: Lesion) -> float:
            if lesion.pair is None:
                return 0.0
            if surface not in lesion.surfaces:
                lesion.surfaces[surface] = surface_distances(*lesion.pair, self.spacing_mm, definition=surface)
            return nsd(lesion.surfaces[surface], tolerance, directed=directed)

        return self._mean(of, worst=0.0, nothing=1.0)

    def _mean(self, value: Callable[[Lesion], float], *, worst: float, nothing: float) -> float:
        """Over the scored lesions and the false positives; `nothing` if there are none."""
        false = self.fp if self.false_positives_count else 0
        judged = self.tp + self.fn + false
        found = sum(value(lesion) for lesion in self.lesions if lesion.scored)
        return (found + false * worst) / judged if judged else nothing


def without_small(found: Numbered, minimum_mm3: float, spacing_mm: Spacing) -> Numbered:
    """The lesions larger than that, under the same numbers."""
    sizes = np.bincount(found.lesions.reshape(-1), minlength=found.number + 1)
    numbers = np.where(sizes * math.prod(spacing_mm) > minimum_mm3, np.arange(found.number + 1, dtype=np.int32), 0)
    return replace(found, zones=numbers[found.zones], lesions=numbers[found.lesions])


def number_prediction(prediction: Mask, spacing_mm: Spacing, rule: LesionRule) -> Numbered:
    """The lesions of a prediction under a rule: of those that it removes nothing is left."""
    if not rule.prediction_too:
        return number_lesions(prediction, 0)
    return without_small(number_lesions(prediction, rule.dilations), rule.minimum_mm3, spacing_mm)


def without_small_lesions(prediction: Mask, spacing_mm: Spacing, rule: LesionRule) -> Mask:
    """The prediction that a rule scores: without what it removes. A slice (2-D) and 2023's prediction stay as they are.

    prediction: (D, H, W) or (H, W) bool; may be empty.
    """
    box = bounding_box(prediction)
    if box is None or prediction.ndim != 3 or not rule.prediction_too:
        return prediction
    kept = np.zeros_like(prediction)
    found = number_prediction(prediction[box], spacing_mm, rule)
    kept[box][found.box] = found.lesions > 0
    return kept


def lesion_scores(
    prediction: Mask,
    truth: Mask,
    spacing_mm: Sequence[float],
    rule: LesionRule,
    known: TruthLesions | None = None,
) -> LesionScores:
    """Match the lesions of two masks and score each of them.

    prediction, truth: (D, H, W) bool, same shape; either may be empty.
    spacing_mm: (dz, dy, dx). Dilations count voxels whatever their size, as in BraTS.
    rule: dilations, minimum volume and penalty, for instance PROFILES["brats2023"].lesions. Masks do not know other
        tissues: `joined_by` changes nothing here.
    known: what earlier predictions needed of the same truth; None if there are none.
    Raises MaskError for masks that are not 3-D or otherwise unusable, ShapeMismatch for different shapes.
    """
    check_pair(prediction, truth)
    spacing = check_spacing(spacing_mm, prediction.ndim)
    if prediction.ndim != 3:
        raise MaskError(f"prediction: shape {prediction.shape}, expected (D, H, W); leave lesions out in 2-D.")
    if rule.penalty_mm == IMAGE_DIAGONAL:
        rule = replace(rule, penalty_mm=diagonal_mm(prediction.shape, spacing))
    box = bounding_box(prediction, truth)
    if box is None:
        return LesionScores((), (), rule.penalty_mm, spacing, rule.false_positives)
    # dilation may stop at the box: a path outside of it, pushed back onto its rim, connects the same parts
    prediction, truth = prediction[box], truth[box]
    known = known or TruthLesions()
    wholes = known.numbered(truth, rule.dilations)
    return compare(number_prediction(prediction, spacing, rule), wholes, spacing, rule, known)


def compare(
    prediction: Numbered,
    truth: Numbered,
    spacing_mm: Spacing,
    rule: LesionRule,
    known: TruthLesions | None = None,
) -> LesionScores:
    """Match numbered lesions and score each of the truth's. The rule's penalty is a finite number of mm."""
    known = known or TruthLesions()
    # touching[zone, part]: whether a dilated lesion holds a voxel of a part; row and column 0 are False
    touching = np.zeros((truth.number + 1, prediction.number + 1), bool)
    zones = cut(truth.zones, truth.box, prediction.box)
    inside = (zones > 0) & (prediction.lesions > 0)
    touching[zones[inside], prediction.lesions[inside]] = True
    zone_boxes, part_boxes = (
        [shifted(box, by) for box in ndimage.find_objects(array)]
        for array, by in ((truth.zones, truth.box), (prediction.lesions, prediction.box))
    )
    lesions = []
    for number, zone_box in enumerate(zone_boxes, 1):  # each inside the small window around the lesion and its matches
        if zone_box is None:
            continue
        matches = np.flatnonzero(touching[number])
        window = around(zone_box, *filter(None, (part_boxes[match - 1] for match in matches)))
        lesion = cut(truth.lesions, truth.box, window) == number
        parts = cut(prediction.lesions, prediction.box, window)
        found = touching[number][parts]  # a row of the table, looked up by component: the union of matches
        lesions.append(_judge(tuple(matches.tolist()), found, lesion, spacing_mm, rule, known, number))
    present = np.array([box is not None for box in part_boxes], bool)
    alone = 1 + np.flatnonzero(present & ~touching[:, 1 : present.size + 1].any(axis=0))
    return LesionScores(tuple(lesions), tuple(alone.tolist()), rule.penalty_mm, spacing_mm, rule.false_positives)


def _judge(
    matches: tuple[int, ...],
    found: Mask,
    lesion: Mask,
    spacing: Spacing,
    rule: LesionRule,
    known: TruthLesions,
    number: int,
) -> Lesion:
    volume = int(np.count_nonzero(lesion)) * math.prod(spacing)
    scored = volume > rule.minimum_mm3
    if not matches:
        return Lesion(volume, (), 0.0, rule.penalty_mm, scored)
    distances = known.distances(found, lesion, spacing, definition="surfel", lesion=number)
    overlap, hd95_mm = dice(count(found, lesion)), hausdorff(distances, 95)
    return Lesion(volume, matches, overlap, hd95_mm, scored, (found, lesion), {"surfel": distances})


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
