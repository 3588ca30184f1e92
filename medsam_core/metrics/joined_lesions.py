"""Lesions of one tissue that another tissue joins, as in BraTS 2024 for glioma, metastases and Sub-Saharan Africa.

Two lesions of a region, for instance of ET, are one if they touch (18 neighbours) the same lesion of another region
that joins it, for instance NETC. A lesion that touches several goes with the one that is numbered first, and several
regions join one after the other. So the score of ET depends on NETC: it needs label maps, not masks.

Lesions of the other region are numbered in the order of their first voxels along x, then y, then z, as in the script:
the order decides which lesions are joined where one touches several.

Source: Saluja et al., BraTS-2024-Metrics (metrics_GLI.py, metrics_MET.py, metrics_SSA.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam_core.errors import OptionError
from medsam_core.metrics.lesionwise import LesionScores, compare, number_prediction
from medsam_core.metrics.masks import Labels, Mask, Spacing
from medsam_core.metrics.numbering import Numbered, dilate, number_lesions
from medsam_core.metrics.profiles import LesionRule, Profile


class LabelMaps:
    """Two label maps whose regions are scored: what one region's lesions need of the others is found once."""

    def __init__(
        self,
        prediction: Labels,
        truth: Labels,
        regions: Mapping[str, Collection[int]],
        spacing_mm: Spacing,
        profile: Profile,
    ) -> None:
        """Take over the maps; nothing is computed yet.

        prediction, truth: (D, H, W) uint8 of one shape.
        regions: region -> label values, with those that join others.
        """
        self.labels = prediction, truth
        self.regions, self.spacing_mm, self.profile = regions, spacing_mm, profile
        self._numbered: dict[tuple[int, str], Numbered] = {}

    def mask(self, side: int, region: str) -> Mask:
        """The region in the prediction (side 0) or the truth (1), bool."""
        return np.isin(np.arange(256), list(self.regions[region]))[self.labels[side]]

    def scores(self, region: str, rule: LesionRule) -> LesionScores:
        """The lesion-wise scores of a region whose rule names others. The rule's penalty is a finite number of mm.

        Raises OptionError if a region that joins it is not among the regions.
        """
        missing = [other for other in rule.joined_by if other not in self.regions]
        if missing:
            raise OptionError(
                f"regions: got {', '.join(self.regions)} without {' and '.join(missing)}, which in {self.profile.name} "
                f"join lesions of {region}; add their labels, or none if the label map does not have them."
            )
        prediction, truth = (self._joined(side, region, rule) for side in (0, 1))
        return compare(prediction, truth, self.spacing_mm, rule)

    def _joined(self, side: int, region: str, rule: LesionRule) -> Numbered:
        found = self._number(side, region)
        for other in rule.joined_by:
            found = joined(found, self._number(side, other).lesions)
        return found

    def _number(self, side: int, region: str) -> Numbered:
        if (side, region) not in self._numbered:
            rule = self.profile.lesion_rule(region)
            assert isinstance(rule, LesionRule)
            # transposed: numbered along x first
            mask = self.mask(side, region).transpose()
            spacing = self.spacing_mm[::-1]
            found = number_lesions(mask, rule.dilations) if side else number_prediction(mask, spacing, rule)
            found = found.whole(mask.shape)
            turned = Numbered(found.zones.transpose(), found.lesions.transpose(), found.number, found.box[::-1])
            self._numbered[side, region] = turned
        return self._numbered[side, region]


def joined(found: Numbered, others: NDArray[np.int32]) -> Numbered:
    """The lesions, those with one number that touch the same lesion of `others`.

    others: the numbered lesions of another region, in the same shape.
    A lesion that touches several goes with the smallest number; one that touches none stays alone.
    """
    new = np.zeros(found.number + 1, np.int32)
    groups: dict[int, int] = {}
    for number, box in enumerate(ndimage.find_objects(found.lesions), 1):
        if box is None:
            continue
        window = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        touched = others[window][dilate(found.lesions[window] == number, 1)]
        touched = touched[touched > 0]
        group = int(touched.min()) if touched.size else -number
        new[number] = groups.setdefault(group, len(groups) + 1)
    return Numbered(new[found.zones], new[found.lesions], len(groups), found.box)
