"""The definitions that a score can follow, as data.

The field's packages disagree about empty masks, penalties, surfaces and percentiles, so scores can be compared only
if they follow the same profile. To add a profile, add a row to PROFILES (docs/metrics.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from medsam_core.errors import OptionError

Surface = Literal["voxel", "surfel"]

IMAGE_DIAGONAL = math.inf
"""As a distance in a rule: the diagonal of the scored image, mm."""


@dataclass(frozen=True)
class EmptyRule:
    """The score where a mask is empty. None: the value of the formula, NaN where the formula has none."""

    both: float | None
    """Prediction and truth are empty."""
    prediction: float | None
    """Only the prediction is empty: the whole region was missed."""
    truth: float | None
    """Only the truth is empty: every predicted voxel is wrong."""
    disjoint: float | None = None
    """Neither is empty, and they have no voxel in common."""


@dataclass(frozen=True)
class LesionRule:
    """The parameters of the lesion-wise scores of BraTS 2023 and 2024; lesionwise.py says what each of them does."""

    dilations: int
    """How many times the truth is dilated with the 18-neighbour element before its lesions are numbered."""
    minimum_mm3: float
    """mm³; lesions of the truth of at most this size are neither TP nor FN."""
    penalty_mm: float
    """HD95 of a missed lesion and of a false positive."""
    prediction_too: bool = False
    """Whether lesions of the prediction are found like those of the truth, and removed up to the minimum volume, before
    anything of the region is scored."""
    false_positives: bool = True
    """Whether false positives count in the means."""
    joined_by: tuple[str, ...] = ()
    """Regions that join lesions: those that touch the same lesion of such a region are one."""


@dataclass(frozen=True)
class PairRule:
    """The parameters of the lesion-wise scores of BraTS 2025; lesion_pairs.py says what each of them does."""

    penalty_mm: float
    """HD95 of a missed lesion and of a false positive."""
    minimum_mm3: float | None = None
    """mm³; the means are over lesions of at least this size and the false positives. None: over found lesions alone."""
    detection_dice: float = 0.0
    """The Dice from which on a large or a small lesion counts as detected."""


@dataclass(frozen=True)
class Profile:
    """One row: how every score with this name is defined."""

    name: str
    """The first part of a score's key."""
    description: str
    """What it is for, in one sentence."""
    source: str
    """The challenge or package whose definitions it follows."""
    labels: str | None
    """The label convention of medsam_core.data.regions, or None where the source has none."""
    overlap: EmptyRule
    """For Dice, IoU, sensitivity, precision and volumetric similarity."""
    surface_overlap: EmptyRule
    """For NSD."""
    distance_mm: EmptyRule
    """For HD, HD95, ASSD and MASD."""
    surface: Surface
    """Of distances. "voxel": the centres of border voxels (6 neighbours); "surfel": elements weighted by their area."""
    directed: Literal["pooled", "max"]
    """How a percentile treats the two directions: "pooled" together, or "max", the larger of the two percentiles."""
    nsd_surface: Surface
    """Of NSD: as `surface`."""
    nsd_directed: Literal["pooled", "mean"] = "pooled"
    """How NSD treats the two directions: "pooled" together, or "mean", the mean of the two shares."""
    lesions: LesionRule | PairRule | None = None
    """None: the profile has no lesion-wise score; the lesion metrics are then NaN."""
    lesions_of: Mapping[str, LesionRule] = field(default_factory=dict)
    """The rules of regions that differ from `lesions`, by region."""
    regions: tuple[str, ...] = ("WT", "TC", "ET")
    """The regions of the source's table; those that the labels do not define are left out."""
    metrics: tuple[str, ...] = ("dice", "hd95", "sensitivity", "specificity", "volume_difference_ml")
    """The metrics of the source's table, of `metrics.METRICS`."""
    mean_of_defined: bool = False
    """Whether a mean over cases leaves out the undefined scores (NaN) instead of being NaN itself."""

    def lesion_rule(self, region: str | None) -> LesionRule | PairRule | None:
        """The lesion rule of a region; the common rule for None and for a region without a rule of its own."""
        return self.lesions_of.get(region or "", self.lesions)

    @property
    def joining(self) -> frozenset[str]:
        """The regions that join lesions of others."""
        return frozenset(other for rule in self.lesions_of.values() for other in rule.joined_by)


BRATS_DIAGONAL_MM = math.sqrt(240**2 + 240**2 + 155**2)
"""373.1287: the diagonal of a BraTS volume of 240 × 240 × 155 voxels of 1 mm."""

_NAN = math.nan
_WORST = EmptyRule(both=1.0, prediction=0.0, truth=0.0)

_BRATS2019 = Profile(
    name="brats2019",
    description="BraTS 2018 to 2022: whole-region scores; a missed region scores the image diagonal.",
    source="BraTS 2019 leaderboard; HD95 as in MedPy",
    labels="brats2019",
    overlap=_WORST,
    surface_overlap=_WORST,
    distance_mm=EmptyRule(both=0.0, prediction=BRATS_DIAGONAL_MM, truth=BRATS_DIAGONAL_MM),
    surface="voxel",
    directed="pooled",
    nsd_surface="voxel",
)

_LESIONS = ("lesion_dice", "lesion_hd95", "lesion_tp", "lesion_fp", "lesion_fn")
_NSD_2024 = ("nsd_0.5mm", "nsd_1mm", "lesion_nsd_0.5mm", "lesion_nsd_1mm")
_RATES = ("precision", "recall", "f1")
_TABLE_2025 = (
    *("dice", "hd95", "nsd_0.5mm", "lesion_dice", "lesion_hd95", "lesion_nsd_voxel"),
    *("lesion_tp", "lesion_fp", "lesion_fn", *(f"lesion_{rate}" for rate in _RATES)),
)
_TABLE_METS = (*_TABLE_2025, *(f"{size}_lesion_{rate}" for size in ("large", "small") for rate in _RATES))

_BRATS2023 = Profile(
    name="brats2023",
    description="BraTS 2023, adult glioma (GLI): whole-region and lesion-wise scores.",
    source="BraTS-2023-Metrics (Saluja et al.); surfaces as in DeepMind's surface-distance",
    labels="brats2023",
    overlap=_WORST,
    surface_overlap=_WORST,
    distance_mm=EmptyRule(both=0.0, prediction=374.0, truth=374.0),
    surface="surfel",
    directed="max",
    nsd_surface="surfel",
    lesions=LesionRule(dilations=3, minimum_mm3=50, penalty_mm=374.0),
    metrics=_BRATS2019.metrics + _LESIONS,
)


def _brats2023(challenge: str, dilations: int, minimum_mm3: float) -> Profile:
    return replace(
        _BRATS2023,
        name=f"brats2023-{challenge.lower()}",
        description=f"BraTS 2023 with the lesion-wise parameters of the {challenge} challenge.",
        lesions=LesionRule(dilations=dilations, minimum_mm3=minimum_mm3, penalty_mm=374.0),
    )


def _brats2024(
    challenge: str,
    rule: LesionRule,
    *,
    labels: str = "brats2023",
    regions: tuple[str, ...] = ("WT", "TC", "ET"),
    lesions_of: Mapping[str, LesionRule] | None = None,
) -> Profile:
    worst_mm = rule.penalty_mm
    return replace(
        _BRATS2023,
        name=f"brats2024-{challenge.lower()}",
        description=f"BraTS 2024, {challenge}: whole-region and lesion-wise scores with NSD at 0.5 and 1 mm.",
        source="BraTS-2024-Metrics (Saluja et al.), commit f1131e3",
        labels=labels,
        distance_mm=EmptyRule(both=0.0, prediction=worst_mm, truth=worst_mm),
        nsd_surface="voxel",
        nsd_directed="mean",
        lesions=rule,
        lesions_of=lesions_of or {},
        regions=regions,
        metrics=_BRATS2023.metrics + _NSD_2024,
    )


def _brats2025(
    name: str, description: str, lesions: PairRule, regions: tuple[str, ...], metrics: tuple[str, ...]
) -> Profile:
    return replace(
        _BRATS2019,
        name=f"brats2025-{name}",
        description=f"BraTS 2025 and 2026, {description}: whole-region and lesion-wise scores.",
        source="brats-evaluation 0.0.10 on panoptica 2.1.7",
        labels="brats2024",
        overlap=EmptyRule(both=_NAN, prediction=0.0, truth=0.0),
        surface_overlap=EmptyRule(both=_NAN, prediction=0.0, truth=0.0, disjoint=0.0),
        distance_mm=EmptyRule(both=_NAN, prediction=373.0, truth=373.0, disjoint=373.0),
        nsd_directed="mean",
        lesions=lesions,
        regions=regions,
        metrics=metrics,
        mean_of_defined=True,
    )


_GLI = LesionRule(dilations=3, minimum_mm3=20, penalty_mm=337.0, prediction_too=True)
_SSA = LesionRule(dilations=3, minimum_mm3=50, penalty_mm=374.0, prediction_too=True)
_PED = LesionRule(dilations=5, minimum_mm3=10, penalty_mm=374.0, prediction_too=True)
_MET = LesionRule(dilations=1, minimum_mm3=2, penalty_mm=IMAGE_DIAGONAL, prediction_too=True)
_MEN = LesionRule(dilations=1, minimum_mm3=50, penalty_mm=374.0)
_GTV = LesionRule(dilations=1, minimum_mm3=50, penalty_mm=IMAGE_DIAGONAL, prediction_too=True, false_positives=False)
_GLI_TISSUES = {
    "NETC": replace(_GLI, dilations=5, joined_by=("ET", "RC")),
    "SNFH": replace(_GLI, joined_by=("ET", "RC", "NETC")),
    "ET": replace(_GLI, minimum_mm3=10, joined_by=("NETC", "RC")),
    "RC": replace(_GLI, dilations=5, joined_by=("ET", "NETC")),
}
_GLI_REGIONS, _MET_REGIONS = ("WT", "TC", "ET", "NETC", "SNFH", "RC"), ("WT", "TC", "ET", "RC")
_PED_REGIONS = ("WT", "TC", "ET", "NETC", "CC", "ED")
_YEAR_2024 = (
    _brats2024("GLI", _GLI, labels="brats2024", regions=_GLI_REGIONS, lesions_of=_GLI_TISSUES),
    _brats2024("SSA", _SSA, lesions_of={"ET": replace(_SSA, joined_by=("NETC",))}),
    _brats2024("PED", _PED, labels="brats2024-ped", regions=_PED_REGIONS),
    _brats2024(
        "MET", _MET, labels="brats2024", regions=_MET_REGIONS, lesions_of={"ET": replace(_MET, joined_by=("NETC",))}
    ),
    _brats2024("MEN", _MEN),
    _brats2024("MEN-RT", _GTV, labels="brats-men-rt", regions=("GTV",)),
)
_YEAR_2025 = (
    _brats2025("seg", "all but METS", PairRule(penalty_mm=math.inf), (*_GLI_REGIONS, "CC", "ED", "GTV"), _TABLE_2025),
    _brats2025("mets", "METS", PairRule(373.0, minimum_mm3=27, detection_dice=0.2), _MET_REGIONS, _TABLE_METS),
)

_MONAI = Profile(
    name="monai",
    description="MONAI's defaults: what is undefined is NaN.",
    source="MONAI 1.6.1: DiceMetric, MeanIoU, HausdorffDistanceMetric, SurfaceDiceMetric",
    labels=None,
    overlap=EmptyRule(both=_NAN, prediction=None, truth=_NAN),
    surface_overlap=EmptyRule(both=_NAN, prediction=0.0, truth=0.0),
    distance_mm=EmptyRule(both=_NAN, prediction=_NAN, truth=_NAN),
    surface="voxel",
    directed="max",
    nsd_surface="voxel",
)

_YEAR_2023 = (_brats2023("SSA", 3, 50), _brats2023("PED", 3, 50), _brats2023("MEN", 1, 50), _brats2023("MET", 1, 2))
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (_BRATS2019, _BRATS2023, *_YEAR_2023, *_YEAR_2024, *_YEAR_2025, _MONAI)}
)
"""Every profile by its name."""


def find_profile(profile: str | Profile) -> Profile:
    """The profile of that name; a Profile is returned unchanged. Raises OptionError for an unknown name."""
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise OptionError(f"profile: got {profile!r}, expected one of {', '.join(PROFILES)}; choose one of these.")
    return PROFILES[profile]
