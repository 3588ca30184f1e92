"""The list of runs on the terminal."""

from __future__ import annotations

import pytest

from medsam_core.reports.history_table import charted, heading, table
from tests.reports.made_histories import made_entry as made


def test_runs_and_means_line_up_and_what_moved_is_said():
    entries = [made(1, {"WT/box": 0.7, "ET/box": 0.5}), made(2, {"WT/box": 0.8, "ET/box": 0.5}, outcome="FAIL")]
    assert table(entries) == [
        "phantoms (2), fingerprint ffffffffffff, cpu, a CPU, fp32",
        "date (UTC)        run  verdict  commit     s/subject  checkpoint",
        "2026-01-01 12:00  r1   PASS     000000001        2.0  embedded cccccccc",
        "2026-01-02 12:00  r2   FAIL     000000002        2.0  embedded cccccccc",
        "",
        "mean Dice  WT/box  ET/box",
        "r1          0.700   0.500",
        "r2          0.800   0.500",
        "",
        "moved by more than the noise:",
        "  mean Dice between 000000001 (2026-01-01, r1) and 000000002 (2026-01-02, r2): WT/box rose by 0.100",
        "    (0.700 → 0.800, noise 0.001)",
        "noise: not measured: calibrate the machine or repeat a run",
    ]


def test_unfinished_runs_are_apart():
    lines = table([made(1, 0.9), made(2, 0.1, finished=False, outcome="INCONCLUSIVE")])
    place = lines.index("unfinished: without a verdict, or without a score of every planned case")
    assert " r2 " in lines[place + 2]
    assert not any(" r2 " in line for line in lines[:place])
    assert not any("0.100" in line for line in lines)


def test_a_run_that_is_not_believed_shows_no_mean_and_says_why():
    lines = table([made(1, 0.9), made(2, None, means=None, doubt="a Dice of 9.81")])
    assert "finished, but without means that can be compared" in lines
    assert "r2: not believed: a Dice of 9.81" in lines


def test_a_series_without_a_step_says_so():
    lines = table([made(1, 0.9), made(2, 0.9)])
    assert lines[-2:] == [
        "no group's mean moved by more than its noise",
        "noise: not measured: calibrate the machine or repeat a run",
    ]


def test_a_change_that_is_not_committed_is_marked_and_explained():
    lines = table([made(1, 0.9, dirty=True)])
    assert "  000000001*  " in lines[2]
    assert lines[-1] == "* files differed from the commit"


def test_two_series_that_look_alike_are_told_apart():
    entries = [made(1, 0.9), made(2, 0.9, series="abcdefabcdef")]
    assert heading(entries[:1], entries) == "phantoms (2), fingerprint ffffffffffff, cpu, a CPU, fp32, settings 012345"
    assert heading(entries[:1], entries[:1]) == "phantoms (2), fingerprint ffffffffffff, cpu, a CPU, fp32"
    assert charted(entries) == "2 of 2 runs in 2 charts"


@pytest.mark.parametrize("groups", [1, 6, 45])
def test_no_line_is_longer_than_100_characters(groups):
    means = {f"flair/WT{number}/points3/slicewise": 0.5 for number in range(groups)}
    long = {"name": "a/very/long/folder/of/a/run/2026-11-30T12-00-00", "checkpoint": "MedSAM2_latest_finetuned.pt cccc"}
    entries = [
        made(1, means, **long, outcome="INCONCLUSIVE", dirty=True),
        made(2, dict.fromkeys(means, 0.4), cohort="c" * 150, remark="its session said PASS, " * 20),
        made(3, None, means=None, error="/a/path/" + "x" * 200),
        made(4, 0.9, series="other", cohort="c" * 150),
    ]
    lines = table(entries)
    assert max(map(len, lines)) <= 100
    assert sum("0.500" in line for line in lines) >= 1
    assert sum(line.count("0.400") for line in lines) >= groups


def test_a_hostile_name_cannot_change_the_terminal():
    text = "\n".join(table([made(1, 0.9, name="a\x1b[2J\u202eb", remark="x\x07"), made(2, 0.5)]))
    assert "a\\x1b[2J\\u202eb" in text
    assert not any(letter in text for letter in "\x1b\x07\u202e")
