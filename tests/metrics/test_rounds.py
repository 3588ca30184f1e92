"""Numbers that are made of the scores of all rounds, worked out by hand."""

import math

import pytest

from medsam_core.metrics import DERIVED, KNOWN, METRICS
from medsam_core.metrics.rounds import ROUND_METRICS, area_under, corrections_until, derived


def test_the_area_leaves_out_the_prompt_and_is_4_at_most_for_five_corrections():
    assert area_under([0.1, 1, 1, 1, 1, 1]) == 4
    # (0.5 + 0.6) / 2 + (0.6 + 0.8) / 2 + (0.8 + 0.8) / 2 + (0.8 + 0.9) / 2
    assert area_under([0.3, 0.5, 0.6, 0.8, 0.8, 0.9]) == pytest.approx(0.55 + 0.7 + 0.8 + 0.85)


def test_one_correction_has_no_area():
    assert math.isnan(area_under([0.5, 0.9]))
    assert area_under([0.5, 0.8, 0.9]) == pytest.approx(0.85)


def test_an_undefined_score_leaves_the_area_undefined():
    assert math.isnan(area_under([0.5, 0.8, math.nan, 0.9]))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.9, 0.95], 0),
        ([0.5, 0.84, 0.85, 0.7], 2),
        ([0.5, 0.6, 0.7], 2),
        ([0.5, math.nan, 0.9], math.nan),
        ([0.9, math.nan], 0),
    ],
)
def test_corrections_until_a_quality_is_reached(scores, expected):
    found = corrections_until(scores, 0.85)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


def test_all_numbers_of_a_run():
    found = derived({"dice": [0.5, 0.8, 0.86, 0.9], "nsd_2mm": [0.2, 0.4, 0.6, 0.8], "iou": [0.1] * 4})
    assert found == pytest.approx({"dice_auc": 0.83 + 0.88, "nsd_auc": 1.2, "noc85": 2, "noc90": 3})
    assert list(derived({"iou": [0.1] * 4})) == []


def test_names_are_taken_once():
    assert not set(DERIVED) & set(METRICS)
    assert {row.of for row in DERIVED.values()} <= set(ROUND_METRICS) <= set(METRICS)
    assert list(KNOWN) == [*METRICS, *DERIVED]
