"""The definitions that a score can follow, as data.

The field's packages disagree about empty masks, penalties, surfaces and percentiles, so scores can be compared only
if they follow the same profile. To add a profile, add a row to PROFILES (docs/metrics.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from medsam_core.errors import OptionError


@dataclass(frozen=True)
class EmptyRule:
    """The score where a mask is empty. None: the value of the formula, NaN where the formula has none."""

    both: float | None
    """Prediction and truth are empty."""
    prediction: float | None
    """Only the prediction is empty: the whole region was missed."""
    truth: float | None
    """Only the truth is empty: every predicted voxel is wrong."""


@dataclass(frozen=True)
class LesionRule:
    """The parameters of the BraTS 2023 lesion-wise score; lesionwise.py says what each of them does."""

    dilations: int
    """How many times the truth is dilated with the 18-neighbour element before its lesions are numbered."""
    minimum_mm3: float
    """mm³; lesions of the truth of at most this size are neither TP nor FN."""
    penalty_mm: float
    """HD95 of a missed lesion and of a false positive."""


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
    surface: Literal["voxel", "surfel"]
    """"voxel": the centres of border voxels (6 neighbours); "surfel": surface elements weighted by their area."""
    directed: Literal["pooled", "max"]
    """How a percentile treats the two directions: "pooled" together, or "max", the larger of the two percentiles."""
    lesions: LesionRule | None = None
    """None: the profile has no lesion-wise score; the lesion metrics are then NaN."""


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
)

_BRATS2023 = Profile(
    name="brats2023",
    description="BraTS 2023 and later, adult glioma (GLI): whole-region and lesion-wise scores.",
    source="BraTS-2023-Metrics (Saluja et al.); surfaces as in DeepMind's surface-distance",
    labels="brats2023",
    overlap=_WORST,
    surface_overlap=_WORST,
    distance_mm=EmptyRule(both=0.0, prediction=374.0, truth=374.0),
    surface="surfel",
    directed="max",
    lesions=LesionRule(dilations=3, minimum_mm3=50, penalty_mm=374.0),
)


def _brats2023(challenge: str, dilations: int, minimum_mm3: float) -> Profile:
    return replace(
        _BRATS2023,
        name=f"brats2023-{challenge.lower()}",
        description=f"BraTS 2023 with the lesion-wise parameters of the {challenge} challenge.",
        lesions=LesionRule(dilations=dilations, minimum_mm3=minimum_mm3, penalty_mm=374.0),
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
)

_CHALLENGES = (_brats2023("SSA", 3, 50), _brats2023("PED", 3, 50), _brats2023("MEN", 1, 50), _brats2023("MET", 1, 2))
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (_BRATS2019, _BRATS2023, *_CHALLENGES, _MONAI)}
)
"""Every profile by its name."""


def find_profile(profile: str | Profile) -> Profile:
    """The profile of that name; a Profile is returned unchanged. Raises OptionError for an unknown name."""
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise OptionError(f"profile: got {profile!r}, expected one of {', '.join(PROFILES)}; choose one of these.")
    return PROFILES[profile]
