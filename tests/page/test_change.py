"""What changed against the baseline, in sentences and as places in a chart."""

import pytest

from medsam_core.gates.baseline import Baseline
from medsam_core.page.change import change_against


@pytest.fixture
def compared(make_record, recall):
    def compare(before, now, **more):
        old = recall([make_record(f"S{number}", dice=dice) for number, dice in enumerate(before)], name="old")
        new = recall([make_record(f"S{number}", dice=dice, **more) for number, dice in enumerate(now)], name="new")
        return change_against(Baseline.of(old), new)

    return compare


def test_without_a_baseline_nothing_is_drawn(recall, make_record):
    change = change_against(None, recall([make_record()]))
    assert (change.reference, change.groups, change.fallen) == ("", (), [])
    assert "no baseline" in change.sentences[0]


def test_scores_that_did_not_move_are_a_sentence_and_no_chart(compared):
    change = compared([0.8, 0.9], [0.8004, 0.9])
    assert change.sentences == ("No Dice moved: in all 2 cases it is as in old to three digits.",)
    assert (change.groups, change.fallen) == ((), [])


def test_a_fall_of_all_cases_is_a_bar_below_zero(compared):
    change = compared([0.8, 0.81, 0.82, 0.83, 0.84, 0.85], [0.70, 0.72, 0.74, 0.71, 0.73, 0.75])
    (group,) = change.groups
    assert change.sentences[0] == "Of 6 cases in both, Dice fell in 6, rose in 0 and stayed in 0."
    assert (group.group, group.n, group.kind, group.means) == ("WT/box", 6, "fell", "0.825 → 0.725")
    assert group.text.startswith("−0.100 [−0.1")
    low, high = group.interval
    assert low < group.place < high < change.zero
    assert len(group.cases) == 6
    assert 0 <= min(group.cases) < max(group.cases) < change.zero
    assert change.fallen == [f"S{number}/t1ce/WT/box" for number in (3, 4, 0, 5, 1, 2)]


def test_a_rise_of_few_cases_has_no_interval_and_is_not_called_one(compared):
    (group,) = compared([0.5, 0.5], [0.6, 0.7]).groups
    assert (group.kind, group.interval, group.text) == ("unclear", None, "+0.150")


def test_of_many_cases_sixty_are_drawn_the_ends_among_them(compared):
    change = compared([0.5] * 200, [0.5 + (number - 100) / 1000 for number in range(200)])
    (group,) = change.groups
    assert len(group.cases) == 60
    assert group.cases[0] == min(group.cases)
    assert len(change.fallen) == 100


def test_a_run_that_cannot_be_compared_says_why(compared):
    change = compared([0.8, 0.8], [0.7, 0.7], slices=(3,))
    assert any("other prompts in 2 cases" in sentence for sentence in change.sentences)


def test_a_score_that_is_not_finite_is_no_fall_and_leaves_no_place(compared):
    change = compared([0.8, 0.8], [float("nan"), 0.7])
    (group,) = change.groups
    assert change.fallen == ["S1/t1ce/WT/box"]
    assert group.place != group.place
    assert len(group.cases) == 1
