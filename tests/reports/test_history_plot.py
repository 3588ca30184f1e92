"""The history as a picture."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import pytest

from medsam_core.errors import OptionError, RunError
from medsam_core.reports.history_plot import LINES, MARKS, plot
from tests.reports.made_histories import made_entry as made


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_has_every_finished_run_of_every_cohort(tmp_path, ending):
    entries = [made(1, 0.9), made(2, 0.8, series="other"), made(3, 0.7), made(4, 0.1, finished=False)]
    path = tmp_path / f"plot.{ending}"
    assert plot(entries, path) == 3
    if ending == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_each_cohort_has_a_chart_of_accuracy_latency_and_verdicts(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn, marked = [], []
    line, scatter = Axes.plot, Axes.scatter

    def draws(axes, *points, **style):
        drawn.append((style.get("label"), points[1], style["color"]))
        return line(axes, *points, **style)

    def marks(axes, *points, **style):
        marked.append((style["label"], len(points[0]), style["c"]))
        return scatter(axes, *points, **style)

    monkeypatch.setattr(Axes, "plot", draws)
    monkeypatch.setattr(Axes, "scatter", marks)
    entries = [made(1, 0.9), made(2, 0.8, outcome="FAIL"), made(3, 0.5, series="other"), made(4, 0.1, finished=False)]
    plot(entries, tmp_path / "plot.svg")
    assert [(label, values) for label, values, _ in drawn] == [
        ("WT/box", (0.5,)),
        (None, (2.0,)),
        ("WT/box", (0.9, 0.8)),
        (None, (2.0, 2.0)),
    ]
    assert [(outcome, count) for outcome, count, _ in marked] == [("PASS", 1), ("PASS", 1), ("FAIL", 1)]
    assert {colour for _, _, colour in drawn} <= set(LINES)


def test_no_group_has_a_colour_like_that_of_a_verdict():
    def rgb(colour):
        return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]

    for line in map(rgb, LINES):
        assert line[0] <= max(line[1:]) + 8, line  # none is red or amber
        for mark, _ in MARKS.values():
            assert sum(abs(one - other) for one, other in zip(line, rgb(mark), strict=True)) > 60


def test_a_plot_of_nothing_and_to_nowhere_is_one_sentence(tmp_path):
    with pytest.raises(
        RunError, match=r"p\.png: got no finished run with a date and a score of dice, expected at least"
    ):
        plot([made(1, 0.9, finished=False), made(2, 0.9, created="once")], tmp_path / "p.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        plot([made(1, 0.9)], tmp_path / "file" / "p.png")
    with pytest.raises(RunError, match="cannot be written"):
        plot([made(1, 0.9)], tmp_path / "p.xyz")


def test_a_plot_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OptionError) as caught:
        plot([made(1, 0.9)], tmp_path / "p.png")
    assert str(caught.value) == (
        '--plot: matplotlib is not installed, expected it to draw the plot; pip install "medsam-core[suite]".'
    )
