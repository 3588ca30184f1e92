import math
from dataclasses import replace

import pytest

from medsam_core.data.regions import CONVENTIONS
from medsam_core.errors import OptionError
from medsam_core.metrics.profiles import (
    BRATS_DIAGONAL_MM,
    IMAGE_DIAGONAL,
    PROFILES,
    EmptyRule,
    LesionRule,
    PairRule,
    find_profile,
)


def test_the_table() -> None:
    rows = {
        profile.name: (profile.labels, profile.surface, profile.directed, profile.distance_mm.prediction)
        for profile in PROFILES.values()
        if "-" not in profile.name and not math.isnan(profile.distance_mm.prediction or 0)
    }
    assert rows == {
        "brats2019": ("brats2019", "voxel", "pooled", BRATS_DIAGONAL_MM),
        "brats2023": ("brats2023", "surfel", "max", 374.0),
    }
    monai = PROFILES["monai"]
    assert (monai.labels, monai.surface, monai.directed, monai.lesions) == (None, "voxel", "max", None)


def test_names_are_keys_and_every_row_says_where_it_comes_from() -> None:
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.description
        assert profile.source
        assert profile.labels is None or profile.labels in CONVENTIONS


def test_the_penalty_of_brats2019_is_the_diagonal_as_the_leaderboard_printed_it() -> None:
    assert f"{BRATS_DIAGONAL_MM:.4f}" == "373.1287"


def test_challenges_differ_from_brats2023_only_in_their_lesion_rule() -> None:
    brats2023 = PROFILES["brats2023"]
    for challenge in ("ssa", "ped", "men", "met"):
        profile = PROFILES[f"brats2023-{challenge}"]
        assert challenge.upper() in profile.description
        same = replace(profile, name="brats2023", description=brats2023.description, lesions=brats2023.lesions)
        assert same == brats2023


def test_every_profile_names_the_parameters_of_its_challenge() -> None:
    table = {
        name: (rule.dilations, rule.minimum_mm3, rule.penalty_mm)
        for name, profile in PROFILES.items()
        if isinstance(rule := profile.lesions, LesionRule)
    }
    assert table == {
        "brats2023": (3, 50, 374.0),
        "brats2023-ssa": (3, 50, 374.0),
        "brats2023-ped": (3, 50, 374.0),
        "brats2023-men": (1, 50, 374.0),
        "brats2023-met": (1, 2, 374.0),
        "brats2024-gli": (3, 20, 337.0),
        "brats2024-ssa": (3, 50, 374.0),
        "brats2024-ped": (5, 10, 374.0),
        "brats2024-met": (1, 2, IMAGE_DIAGONAL),
        "brats2024-men": (1, 50, 374.0),
        "brats2024-men-rt": (1, 50, IMAGE_DIAGONAL),
    }


def test_rules_of_2024_that_a_region_has_to_itself() -> None:
    table = {
        (name, region): (rule.dilations, rule.minimum_mm3, rule.joined_by)
        for name, profile in PROFILES.items()
        for region, rule in profile.lesions_of.items()
    }
    assert table == {
        ("brats2024-gli", "NETC"): (5, 20, ("ET", "RC")),
        ("brats2024-gli", "SNFH"): (3, 20, ("ET", "RC", "NETC")),
        ("brats2024-gli", "ET"): (3, 10, ("NETC", "RC")),
        ("brats2024-gli", "RC"): (5, 20, ("ET", "NETC")),
        ("brats2024-ssa", "ET"): (3, 50, ("NETC",)),
        ("brats2024-met", "ET"): (1, 2, ("NETC",)),
    }
    assert PROFILES["brats2024-gli"].lesion_rule("WT") is PROFILES["brats2024-gli"].lesion_rule(None)


def test_what_else_the_challenges_of_2024_differ_in() -> None:
    rules = {name: rule for name, profile in PROFILES.items() if isinstance(rule := profile.lesions, LesionRule)}
    assert [name for name, rule in rules.items() if rule.prediction_too] == [
        f"brats2024-{challenge}" for challenge in ("gli", "ssa", "ped", "met", "men-rt")
    ]
    assert [name for name, rule in rules.items() if not rule.false_positives] == ["brats2024-men-rt"]
    for name, rule in rules.items():
        assert PROFILES[name].distance_mm == EmptyRule(0.0, rule.penalty_mm, rule.penalty_mm)


def test_the_rules_of_2025() -> None:
    seg, mets = PROFILES["brats2025-seg"], PROFILES["brats2025-mets"]
    assert seg.lesions == PairRule(penalty_mm=math.inf)
    assert mets.lesions == PairRule(373.0, minimum_mm3=27, detection_dice=0.2)
    for profile in (seg, mets):
        assert (profile.distance_mm.disjoint, profile.surface_overlap.disjoint) == (373.0, 0.0)
        assert profile.mean_of_defined
        assert math.isnan(profile.overlap.both or 0)


def test_the_regions_of_each_year() -> None:
    nested = ("WT", "TC", "ET")
    assert {name: profile.regions for name, profile in PROFILES.items() if profile.regions != nested} == {
        "brats2024-gli": (*nested, "NETC", "SNFH", "RC"),
        "brats2024-ped": (*nested, "NETC", "CC", "ED"),
        "brats2024-met": (*nested, "RC"),
        "brats2024-men-rt": ("GTV",),
        "brats2025-seg": (*nested, "NETC", "SNFH", "RC", "CC", "ED", "GTV"),
        "brats2025-mets": (*nested, "RC"),
    }
    for name, profile in PROFILES.items():
        if name not in ("monai", "brats2025-seg"):
            assert set(profile.regions) <= CONVENTIONS[profile.labels or ""].regions.keys()


def test_brats2023_is_of_2023_alone() -> None:
    assert "later" not in PROFILES["brats2023"].description


def test_a_profile_object_is_returned_unchanged() -> None:
    own = replace(PROFILES["monai"], name="own")
    assert find_profile(own) is own
    assert find_profile("monai") is PROFILES["monai"]


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(OptionError) as error:
        find_profile("brats2077")
    assert str(error.value) == (
        "profile: got 'brats2077', expected one of brats2019, brats2023, brats2023-ssa, brats2023-ped, brats2023-men, "
        "brats2023-met, brats2024-gli, brats2024-ssa, brats2024-ped, brats2024-met, brats2024-men, brats2024-men-rt, "
        "brats2025-seg, brats2025-mets, monai; choose one of these."
    )


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PROFILES["own"] = PROFILES["monai"]  # type: ignore[index]
