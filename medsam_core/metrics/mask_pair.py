"""One prediction and its truth: what is expensive is computed on first use and kept for the next metric."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from medsam_core.errors import MaskError
from medsam_core.metrics.iou_calibration import IouCalibration, iou_calibration, slice_iou
from medsam_core.metrics.lesionwise import LesionScores, lesion_scores
from medsam_core.metrics.masks import Labels, Mask, check_pair, check_spacing
from medsam_core.metrics.overlap import Counts, count
from medsam_core.metrics.profiles import EmptyRule, Profile
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

    def __post_init__(self) -> None:
        check_pair(self.prediction, self.truth)
        self.spacing_mm = check_spacing(self.spacing_mm, self.prediction.ndim)
        self.key_slices = tuple(self.key_slices)

    @cached_property
    def counts(self) -> Counts:
        """True and false positives and negatives, in voxels."""
        return count(self.prediction, self.truth)

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the two surfaces; the profile defines what a surface is."""
        return surface_distances(self.prediction, self.truth, self.spacing_mm, definition=self.profile.surface)

    @cached_property
    def lesions(self) -> LesionScores | None:
        """The scores of each lesion; None if the profile has no lesion-wise score. Raises MaskError in 2-D."""
        if self.profile.lesions is None:
            return None
        return lesion_scores(self.prediction, self.truth, self.spacing_mm, self.profile.lesions)

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
        """The score that `rule` fixes because a mask is empty; None if the formula decides."""
        if self.counts.prediction and self.counts.truth:
            return None
        if self.counts.prediction:
            return rule.truth
        return rule.prediction if self.counts.truth else rule.both


class RegionPair(MaskPair):
    """One region of two label maps: its counts are given, its masks are made only if a metric needs them."""

    def __init__(
        self,
        prediction: Labels,
        truth: Labels,
        values: Collection[int],
        counts: Counts,
        spacing_mm: Sequence[float],
        profile: Profile,
    ) -> None:
        """Take over what is known of the region. Raises MaskError or ShapeMismatch for an unusable spacing.

        prediction, truth: (D, H, W) or (H, W) uint8 label maps of one shape, cropped or not.
        values: the labels that make up the region.
        counts: of the uncropped maps.
        """
        self._labels = prediction, truth
        self._inside = np.isin(np.arange(256), list(values))
        self.__dict__["counts"] = counts
        self.spacing_mm = check_spacing(spacing_mm, prediction.ndim)
        self.profile = profile

    @cached_property
    def prediction(self) -> Mask:  # type: ignore[override]
        """The region in the prediction, bool."""
        return self._inside[self._labels[0]]

    @cached_property
    def truth(self) -> Mask:  # type: ignore[override]
        """The region in the truth, bool."""
        return self._inside[self._labels[1]]
