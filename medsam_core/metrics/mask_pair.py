"""One prediction against one truth, with everything expensive computed when first asked for and kept."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsam_core.errors import MaskError
from medsam_core.metrics.iou_calibration import IouCalibration, iou_calibration, slice_iou
from medsam_core.metrics.lesionwise import LesionScores, lesion_scores
from medsam_core.metrics.masks import Mask, check_pair, check_spacing
from medsam_core.metrics.overlap import Counts, count
from medsam_core.metrics.profiles import EmptyRule, Profile
from medsam_core.metrics.surface import SurfaceDistances, surface_distances


class Comparison:
    """A pair of masks on one grid, and what the metrics share: counts, surface distances, lesions.

    prediction, truth: (D, H, W) or (H, W) bool, same shape; either may be empty.
    spacing_mm: millimetres along each axis of the masks, (dz, dy, dx).
    profile: decides the surface definition and the rules for empty masks.
    key_slices: the slices that were prompted, for half_life; () if they are not known.
    predicted_iou: (D,) float, the model's own estimate for each slice, NaN where it gave none; None if not known.
    Raises MaskError and ShapeMismatch for masks or a spacing that cannot be used.
    """

    def __init__(
        self,
        prediction: Mask,
        truth: Mask,
        spacing_mm: Sequence[float],
        profile: Profile,
        *,
        key_slices: Sequence[int] = (),
        predicted_iou: ArrayLike | None = None,
    ) -> None:
        self.prediction, self.truth = check_pair(prediction, truth)
        self.spacing_mm = check_spacing(spacing_mm, prediction.ndim)
        self.profile = profile
        self.key_slices = tuple(key_slices)
        self.predicted_iou = predicted_iou

    @cached_property
    def counts(self) -> Counts:
        """Voxels by true and false positives and negatives."""
        return count(self.prediction, self.truth)

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the surfaces, as the profile defines a surface."""
        return surface_distances(self.prediction, self.truth, self.spacing_mm, definition=self.profile.surface)

    @cached_property
    def lesions(self) -> LesionScores | None:
        """Lesion by lesion, or None where the profile has no lesion-wise score. Raises MaskError in 2-D."""
        if self.profile.lesions is None:
            return None
        return lesion_scores(self.prediction, self.truth, self.spacing_mm, self.profile.lesions)

    @cached_property
    def calibration(self) -> IouCalibration | None:
        """The model's own estimates against the real IoU of its slices, or None where there are none."""
        if self.predicted_iou is None:
            return None
        return iou_calibration(self.predicted_iou, slice_iou(self.prediction, self.truth))

    def millilitres(self, voxels: int) -> float:
        """The volume of that many voxels. Raises MaskError for masks of one slice, which have no volume."""
        if len(self.spacing_mm) != 3:
            raise MaskError(
                f"prediction: shape {self.prediction.shape}, expected (D, H, W) for a volume in ml; "
                "score a volume, or leave the volume metrics out."
            )
        return voxels * math.prod(self.spacing_mm) / 1000

    def settled(self, rule: EmptyRule) -> float | None:
        """The score that `rule` fixes for this pair because a mask is empty, or None: ask the formula."""
        if self.counts.prediction and self.counts.truth:
            return None
        if self.counts.prediction:
            return rule.truth
        return rule.prediction if self.counts.truth else rule.both


class RegionComparison(Comparison):
    """One region of two label maps, whose counts are known and whose masks are drawn only if a metric asks for them.

    prediction, truth: (D, H, W) or (H, W) uint8 label maps of one shape, cropped or not.
    values: the labels that make up the region. counts: of the uncropped maps.
    """

    def __init__(
        self,
        prediction: NDArray[np.uint8],
        truth: NDArray[np.uint8],
        values: Collection[int],
        counts: Counts,
        spacing_mm: Sequence[float],
        profile: Profile,
    ) -> None:
        self._labels = prediction, truth
        self._inside = np.isin(np.arange(256), list(values))
        self.__dict__["counts"] = counts
        self.spacing_mm = check_spacing(spacing_mm, prediction.ndim)
        self.profile = profile
        self.key_slices = ()
        self.predicted_iou = None

    @cached_property
    def prediction(self) -> Mask:  # type: ignore[override]
        """The region in the prediction."""
        return self._inside[self._labels[0]]

    @cached_property
    def truth(self) -> Mask:  # type: ignore[override]
        """The region in the truth."""
        return self._inside[self._labels[1]]
