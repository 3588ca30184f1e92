import math
from dataclasses import replace

import pytest

from medsam_core.data.regions import CONVENTIONS
from medsam_core.errors import OptionError
from medsam_core.metrics.profiles import BRATS_DIAGONAL_MM, PROFILES, find_profile


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
        if (rule := profile.lesions) is not None
    }
    assert table == {
        "brats2023": (3, 50, 374.0),
        "brats2023-ssa": (3, 50, 374.0),
        "brats2023-ped": (3, 50, 374.0),
        "brats2023-men": (1, 50, 374.0),
        "brats2023-met": (1, 2, 374.0),
    }


def test_a_profile_object_is_returned_unchanged() -> None:
    own = replace(PROFILES["monai"], name="own")
    assert find_profile(own) is own
    assert find_profile("monai") is PROFILES["monai"]


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(OptionError) as error:
        find_profile("brats2077")
    assert str(error.value) == (
        "profile: got 'brats2077', expected one of brats2019, brats2023, brats2023-ssa, brats2023-ped, brats2023-men, "
        "brats2023-met, monai; choose one of these."
    )


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PROFILES["own"] = PROFILES["monai"]  # type: ignore[index]
