"""The history as one HTML file."""

from __future__ import annotations

import json
import re

import pytest

from medsam_core.errors import OptionError
from medsam_core.reports.history_page import history_page
from tests.reports.made_histories import made_entry as made
from tests.reports.made_histories import runs

__all__ = ["runs"]  # a fixture


def test_each_cohort_has_charts_and_unfinished_runs_are_apart():
    entries = [made(1, 0.9), made(2, 0.7, outcome="FAIL"), made(3, 0.5, series="other", cohort="brats (4)")]
    page = history_page([*entries, made(4, 0.1, finished=False, name="part")])
    assert page.count('aria-label="mean Dice"') == 2
    assert page.count('aria-label="seconds per subject"') == 2
    assert page.index("<h2>brats (4)") < page.index("<h2>phantoms (2)") < page.index("<h2>Unfinished</h2>")
    assert page.index("<td>part</td>") > page.index("<h2>Unfinished</h2>")
    assert "WT/box fell by 0.200 (0.900 → 0.700, noise 0.001)" in page
    assert "0.100" not in page


def test_without_a_recorded_time_there_is_no_chart_of_it():
    assert "seconds per subject" not in history_page([made(1, 0.9, seconds=float("nan"))])


def test_many_groups_are_spread_over_several_charts():
    page = history_page([made(1, {f"g{number:02}": 0.5 for number in range(30)})])
    assert page.count('aria-label="mean Dice"') == 3


def test_the_page_loads_nothing_and_hostile_names_are_text():
    hostile = '"><script>alert(1)</script><img src="http://evil"'
    page = history_page(
        [
            made(1, {hostile: 0.9}, name=hostile, checkpoint=hostile, cohort=hostile, device=hostile, remark=hostile),
            made(2, {hostile: 0.5}, name=f"{hostile}2", doubt=None, outcome="not judged"),
            made(3, None, means=None, name=hostile, error=hostile),
        ]
    )
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"(src|href)=|url\(|@import", page.replace("src=&quot;", ""))


def test_a_history_without_a_finished_run_is_a_page_too():
    page = history_page([made(1, 0.9, finished=False)])
    assert "<h2>Unfinished</h2>" in page
    assert "<svg" not in page


def test_the_command_lists_plots_and_writes_the_page(runs, tmp_path, command, capsys):
    assert command("history", runs, "--plot", tmp_path / "p.png", "--page", tmp_path / "p.html") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "phantoms (2), fingerprint ffffffffffff, cpu, a CPU, fp32"
    assert lines[-2:] == [f"wrote {tmp_path / name}: 2 of 3 runs in 1 chart" for name in ("p.html", "p.png")]
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")
    assert command("history", f"file://{runs}", "--json", "--metric", "iou") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["r2", "r1", "r0"]
    with pytest.raises(OptionError, match="unknown metric 'dcie'"):
        command("history", runs, "--metric", "dcie")
