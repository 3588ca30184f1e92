"""One prediction against one truth, with everything expensive computed when first asked for and kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from medsam_core.errors import MaskError
from medsam_core.metrics.masks import Mask, check_pair, check_spacing
from medsam_core.metrics.overlap import Counts, count
from medsam_core.metrics.profiles import EmptyRule, Profile


class Comparison:
    """A pair of masks on one grid, and what the metrics share: counts, surface distances, lesions.

    prediction, truth: (D, H, W) or (H, W) bool, same shape; either may be empty.
    spacing_mm: millimetres along each axis of the masks, (dz, dy, dx).
    profile: decides the surface definition and the rules for empty masks.
    counts: the pair's counts, where they are known already (for instance from overlap.count_regions).
    Raises MaskError and ShapeMismatch for masks or a spacing that cannot be used.
    """

    def __init__(
        self,
        prediction: Mask,
        truth: Mask,
        spacing_mm: Sequence[float],
        profile: Profile,
        *,
        counts: Counts | None = None,
    ) -> None:
        self.prediction, self.truth = check_pair(prediction, truth)
        self.spacing_mm = check_spacing(spacing_mm, prediction.ndim)
        self.profile = profile
        if counts is not None:
            self.__dict__["counts"] = counts

    @cached_property
    def counts(self) -> Counts:
        """Voxels by true and false positives and negatives."""
        return count(self.prediction, self.truth)

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
