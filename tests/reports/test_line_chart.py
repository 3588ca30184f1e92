"""Lines as SVG."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from medsam_core.reports.line_chart import STYLE, Line, line_chart, places, verdict_strip


def drawn(*lines, **options):
    return ElementTree.fromstring(line_chart(lines, title="mean <Dice>", height=300, **options))


def line(*values, label="WT/box"):
    return Line(label, values, tuple(f"note {value}" for value in values), "c0 dash0")


def test_points_are_at_equal_distances_and_higher_values_are_higher():
    chart = drawn(line(0.1, 0.3, 0.2))
    points = [(float(one.get("cx")), float(one.get("cy"))) for one in chart.findall("circle")]
    xs, ys = zip(*points, strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[1] < ys[2] < ys[0]
    assert list(xs) == pytest.approx(places(3), abs=0.1)
    assert len(chart.find("polyline").get("points").split()) == 3


def test_a_value_that_is_missing_has_no_point():
    chart = drawn(line(0.1, math.nan, 0.2), line(math.nan, math.nan, math.nan, label="empty"))
    assert [one.find("title").text for one in chart.findall("circle")] == ["note 0.1", "note 0.2"]
    assert not any("empty" in (one.text or "") for one in chart.iter())


@pytest.mark.parametrize("values", [(0.5,), (0.0, 0.0), (1234.5, 1300.0), (1e-4, 2e-4), (-5.0, 5.0)])
def test_ticks_are_round_and_in_the_chart(values):
    chart = drawn(line(*values))
    ticks = [one for one in chart.findall("text") if one.get("class") == "tick"]
    assert 2 <= len(ticks) <= 7
    assert all(0 <= float(one.get("y")) <= 304 for one in ticks)
    assert len({one.text for one in ticks}) == len(ticks)


def test_latency_begins_at_zero():
    chart = drawn(line(50.0, 60.0), from_zero=True)
    assert "0" in [one.text for one in chart.findall("text")]


def test_labels_do_not_cover_each_other():
    chart = drawn(*(line(0.5, 0.5, label=f"group {number}") for number in range(12)))
    ends = sorted(float(one.get("y")) for one in chart.findall("text") if one.get("class").startswith("end"))
    assert min(b - a for a, b in itertools.pairwise(ends)) >= 14
    assert ends[-1] <= 300


def test_dates_are_left_out_where_there_is_no_room():
    strip = verdict_strip([("●", "PASS", "pass")] * 40, [f"2026-01-{day:02}" for day in range(1, 41)])
    dates = re.findall(r">(2026-01-\d\d)<", strip)
    assert 3 <= len(dates) < 12
    assert strip.count("●") == 40


def test_hostile_text_stays_text():
    hostile = "</svg><script>alert(1)</script>"
    chart = line_chart([line(0.5, label=hostile)], title=hostile, height=100) + verdict_strip(
        [("●", hostile, "a")], [hostile]
    )
    assert "<script" not in chart


def test_the_style_of_the_charts_touches_no_other_drawing_of_a_page():
    selectors = re.findall(r"([^{};]+)\{", STYLE.split("@media", 1)[1].split("} }", 1)[1])
    assert selectors
    for selector in ",".join(selectors).split(","):
        assert selector.strip().startswith("."), f"{selector.strip()} would style every drawing"
