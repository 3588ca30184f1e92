"""One prediction and its truth: what is expensive is computed on first use and kept for the next metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from medsam_core.errors import MaskError, ShapeMismatch
from medsam_core.metrics.iou_calibration import IouCalibration, iou_calibration, slice_iou
from medsam_core.metrics.joined_lesions import LabelMaps
from medsam_core.metrics.lesion_pairs import PairScores, pair_scores
from medsam_core.metrics.lesionwise import LesionScores, lesion_scores, without_small_lesions
from medsam_core.metrics.masks import Mask, check_pair, check_spacing, diagonal_mm
from medsam_core.metrics.numbering import TruthLesions
from medsam_core.metrics.overlap import Counts, count
from medsam_core.metrics.profiles import IMAGE_DIAGONAL, EmptyRule, LesionRule, PairRule, Profile, Surface
from medsam_core.metrics.surface import SurfaceDistances, surface_distances


@dataclass(eq=False)
class MaskPair:
    """A prediction and its truth on one grid, with what the metrics share: counts, surface distances, lesions.

    Raises MaskError and ShapeMismatch if masks or spacing cannot be used.
    """

    prediction: Mask
    """(D, H, W) or (H, W) bool; may be empty."""
    truth: Mask
    """bool, the same shape; may be empty."""
    spacing_mm: Sequence[float]
    """Millimetres along each axis of the masks, (dz, dy, dx)."""
    profile: Profile
    """Decides the definition of a surface and the rules for empty masks."""
    key_slices: Sequence[int] = ()
    """The prompted slices, for half_life; () if unknown."""
    predicted_iou: ArrayLike | None = None
    """(D,) float, the model's own estimate for each slice, NaN where it gave none; None if unknown."""
    region: str | None = None
    """The region's name, on which the rule for lesions may depend; None if unknown."""
    image_shape: Sequence[int] | None = None
    """Of the image that the masks are cut out of, both empty outside; None for whole masks."""
    truth_lesions: TruthLesions | None = None
    """What earlier predictions needed of the same truth; None if there are none."""

    def __post_init__(self) -> None:
        check_pair(self.prediction, self.truth)
        self._check_image_shape()
        self.spacing_mm = check_spacing(self.spacing_mm, self.prediction.ndim)
        self.key_slices = tuple(self.key_slices)

    @cached_property
    def counts(self) -> Counts:
        """True and false positives and negatives of the image, in voxels."""
        inside = count(self.prediction, self.truth)
        return replace(inside, tn=inside.tn + math.prod(self._shape) - self.prediction.size)

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of the image."""
        return self.prediction.shape if self.image_shape is None else tuple(self.image_shape)

    def _check_image_shape(self) -> None:
        whole, part = self._shape, self.prediction.shape
        if len(whole) != len(part) or any(length < cut for length, cut in zip(whole, part, strict=True)):
            raise ShapeMismatch(
                f"image_shape: got {whole}, expected the shape of an image that masks of {part} are cut out of; leave "
                "it out for whole masks."
            )

    @cached_property
    def diagonal_mm(self) -> float:
        """The diagonal of the image."""
        return diagonal_mm(self._shape, tuple(self.spacing_mm))

    @cached_property
    def lesion_rule(self) -> LesionRule | PairRule | None:
        """The profile's rule for the lesions of this region, its penalty in mm; None if it has none."""
        rule = self.profile.lesion_rule(self.region)
        if isinstance(rule, LesionRule) and rule.penalty_mm == IMAGE_DIAGONAL:
            return replace(rule, penalty_mm=self.diagonal_mm)
        return rule

    @cached_property
    def kept_prediction(self) -> Mask:
        """What of the prediction the profile scores: some remove small lesions first."""
        if not isinstance(self.lesion_rule, LesionRule):
            return self.prediction
        return without_small_lesions(self.prediction, tuple(self.spacing_mm), self.lesion_rule)

    @cached_property
    def kept_counts(self) -> Counts:
        """`counts` of what the profile scores."""
        if not (isinstance(self.lesion_rule, LesionRule) and self.lesion_rule.prediction_too):
            return self.counts
        tp = int(np.count_nonzero(self.kept_prediction & self.truth))
        fp = int(np.count_nonzero(self.kept_prediction)) - tp
        fn = self.counts.truth - tp
        return Counts(tp, fp, fn, self.counts.truth + self.counts.fp + self.counts.tn - tp - fp - fn)

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the two surfaces; the profile defines what a surface is."""
        return self._measure(self.profile.surface)

    @cached_property
    def nsd_distances(self) -> SurfaceDistances:
        """The same for NSD, for which some profiles have another definition."""
        same = self.profile.nsd_surface == self.profile.surface
        return self.distances if same else self._measure(self.profile.nsd_surface)

    def _measure(self, surface: Surface) -> SurfaceDistances:
        measure = surface_distances if self.truth_lesions is None else self.truth_lesions.distances
        return measure(self.kept_prediction, self.truth, tuple(self.spacing_mm), definition=surface)

    @cached_property
    def lesions(self) -> LesionScores | None:
        """The scores of each lesion; None if the profile has no lesion-wise score. Raises MaskError in 2-D."""
        if isinstance(self.lesion_rule, PairRule):
            return pair_scores(self.prediction, self.truth, self.spacing_mm, self.lesion_rule)
        if self.lesion_rule is None:
            return None
        return lesion_scores(self.prediction, self.truth, self.spacing_mm, self.lesion_rule, self.truth_lesions)

    @cached_property
    def pairs(self) -> PairScores | None:
        """`lesions` of a profile that matches them one to one; None under any other."""
        return self.lesions if isinstance(self.lesions, PairScores) else None

    @cached_property
    def calibration(self) -> IouCalibration | None:
        """The model's own estimates compared with the real IoU of its slices; None without estimates."""
        if self.predicted_iou is None:
            return None
        return iou_calibration(self.predicted_iou, slice_iou(self.prediction, self.truth))

    def millilitres(self, voxels: int) -> float:
        """The volume of that many voxels, ml. Raises MaskError for masks of one slice, which have no volume."""
        if len(self.spacing_mm) != 3:
            raise MaskError(f"prediction: shape {self.prediction.shape}, expected (D, H, W); leave volumes out in 2-D.")
        return voxels * math.prod(self.spacing_mm) / 1000

    def fixed_score(self, rule: EmptyRule) -> float | None:
        """The score that `rule` fixes because a mask is empty or both are apart; None if the formula decides."""
        counts = self.kept_counts
        if counts.prediction and counts.truth:
            fixed = None if counts.tp else rule.disjoint
        elif counts.prediction:
            fixed = rule.truth
        else:
            fixed = rule.prediction if counts.truth else rule.both
        return self.diagonal_mm if fixed == IMAGE_DIAGONAL else fixed


class RegionPair(MaskPair):
    """One region of two label maps: its counts are given, its masks are made only if a metric needs them."""

    def __init__(self, maps: LabelMaps, region: str, counts: Counts, shape: tuple[int, ...]) -> None:
        """Take over what is known of the region. Raises MaskError or ShapeMismatch for an unusable spacing.

        maps: two label maps of one shape, cropped or not.
        region: one of the maps' regions.
        counts, shape: of the uncropped maps.
        """
        self._maps, self._uncropped = maps, shape
        self.__dict__["counts"] = counts
        self.spacing_mm = check_spacing(maps.spacing_mm, len(shape))
        self.profile, self.region = maps.profile, region
        self.truth_lesions = None

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._uncropped

    @cached_property
    def lesions(self) -> LesionScores | None:
        """As of a mask, joined by the other regions where the profile says so."""
        rule = self.lesion_rule
        if not isinstance(rule, LesionRule) or not rule.joined_by or len(self._shape) != 3:
            return super().lesions
        return self._maps.scores(str(self.region), rule)

    @cached_property
    def prediction(self) -> Mask:  # type: ignore[override]
        """The region in the prediction, bool."""
        return self._maps.mask(0, str(self.region))

    @cached_property
    def truth(self) -> Mask:  # type: ignore[override]
        """The region in the truth, bool."""
        return self._maps.mask(1, str(self.region))
