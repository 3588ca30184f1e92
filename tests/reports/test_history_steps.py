"""Between which two runs a group's mean moved by more than its noise."""

from __future__ import annotations

import math

import pytest

from medsam_core.reports.history_steps import groups_of, noise_lines, noise_of, series, step_lines, steps
from tests.reports.made_histories import made_entry as made


def test_a_drop_is_named_with_both_commits_and_what_else_changed():
    entries = [made(1, 0.9), made(2, 0.9), made(3, 0.85, checkpoint="other dddddddd"), made(4, 0.85, dirty=True)]
    assert step_lines(steps(entries)) == [
        "mean Dice between 000000002 (2026-01-02, r2) and 000000003 (2026-01-03, r3): WT/box fell by 0.050 "
        "(0.900 → 0.850, noise 0.001); checkpoint embedded cccccccc → other dddddddd"
    ]


def test_the_groups_that_moved_together_are_in_one_sentence():
    entries = [made(1, {"WT/box": 0.9, "ET/box": 0.5, "TC/box": 0.7}), made(2, {"WT/box": 0.8, "ET/box": 0.6})]
    (line,) = step_lines(steps(entries), "hd95", "key_slice")
    assert line.startswith("mean HD95@key_slice mm between ")
    assert "WT/box fell by 0.100 (0.900 → 0.800, noise 0.001); ET/box rose by 0.100" in line
    assert "TC/box" not in line


def test_the_same_commit_and_changes_outside_of_it_are_said():
    (line,) = step_lines(steps([made(1, 0.9, commit="a" * 9), made(2, 0.8, commit="a" * 9, dirty=True)]))
    assert " between aaaaaaaaa (2026-01-01, r1) and aaaaaaaaa* (2026-01-02, r2): " in line
    assert line.endswith("; the commit is the same; * has changes that are not committed")


def test_a_move_within_the_noise_of_repeats_is_not_named():
    repeats = [made(1, 0.90, build="x"), made(2, 0.91, build="x")]
    assert noise_of(repeats, "WT/box").limit == pytest.approx(0.03)
    assert noise_of(repeats, "WT/box").origin == "3 × the spread of 2 repeated runs, at least 0.001"
    assert steps([*repeats, made(3, 0.925)]) == ()
    assert len(steps([*repeats, made(3, 0.945)])) == 1


def test_a_move_within_the_calibrated_noise_is_not_named():
    entries = [made(1, 0.90, noise=0.02), made(2, 0.85, noise=0.02)]
    assert noise_of(entries, "WT/box").origin == "3 × the spread of the machine's calibration, at least 0.001"
    assert steps(entries) == ()
    assert len(steps([made(1, 0.90, noise=0.01), made(2, 0.85, noise=0.01)])) == 1


def test_the_larger_of_calibration_and_repeats_counts():
    entries = [made(1, 0.90, noise=0.001, build="x"), made(2, 0.91, noise=0.001, build="x")]
    assert noise_of(entries, "WT/box").limit == pytest.approx(0.03)
    assert "the machine's calibration and 2 repeated runs" in noise_of(entries, "WT/box").origin


def test_runs_of_an_unknown_build_are_no_repeats():
    assert noise_of([made(1, 0.9, build=""), made(2, 0.5, build="")], "WT/box").limit == 0.001


def test_without_repeats_the_least_move_is_a_thousandth_and_the_reader_knows():
    entries = [made(1, 0.9), made(2, 0.901), made(3, 0.9025)]
    (step,) = steps(entries)
    assert (step.before.name, step.after.name) == ("r2", "r3")
    assert noise_lines(entries) == ["noise: not measured: calibrate the machine or repeat a run"]


def test_a_drift_little_by_little_is_found_from_where_it_stood_still():
    repeats = [made(1, 0.900, build="x"), made(2, 0.904, build="x")]
    drift = [made(number, 0.900 - 0.005 * (number - 2)) for number in (3, 4, 5, 6)]
    (step,) = steps([*repeats, *drift])
    assert (step.before.name, step.after.name, step.gradual) == ("r1", "r5", True)
    assert ", little by little: WT/box fell by 0.015" in step_lines([step])[0]


def test_runs_of_different_series_are_not_compared():
    entries = [made(1, 0.9), made(2, 0.5, series="other"), made(3, 0.9)]
    assert steps(entries) == ()
    assert [[one.name for one in runs] for runs in series(entries)] == [["r2"], ["r1", "r3"]]


@pytest.mark.parametrize(
    "changes", [{"finished": False}, {"means": None}, {"means": {}}, {"created": "once"}, {"error": "x", "means": None}]
)
def test_a_run_that_is_unfinished_or_has_no_means_is_in_no_series(changes):
    assert [[one.name for one in runs] for runs in series([made(1, 0.9), made(2, 0.1, **changes)])] == [["r1"]]


def test_a_group_that_a_run_lacks_is_compared_across_it():
    entries = [made(1, {"WT/box": 0.9}), made(2, {"ET/box": 0.4}), made(3, {"WT/box": 0.8})]
    (step,) = steps(entries)
    assert (step.before.name, step.after.name) == ("r1", "r3")
    assert step.change == pytest.approx(-0.1)
    assert not math.isnan(step.noise.limit)
    assert groups_of(entries) == ["WT/box", "ET/box"]
