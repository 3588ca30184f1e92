"""The curve of scores against noise: figures by hand, a table, JSON, and pictures."""

import json
import math
import sys
from xml.etree import ElementTree

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import RunError
from medsam_core.reports.robustness import curves, curves_of, json_of, table_lines
from medsam_core.reports.robustness_chart import limits, panels, robustness_svg
from medsam_core.reports.robustness_plot import robustness_png

SVG = "{http://www.w3.org/2000/svg}"


def record(subject, noise, dice, region="WT", prompt="box", slices=(3,)):
    case = Case(subject, "t1ce", region, prompt, noise=noise)
    return CaseRecord(case, {"brats2019/dice@volume": dice}, slices)


def two_subjects():
    """S1 falls from 0.9 to 0.8 and 0.7 under two seeds, S2 from 0.7 to 0.5 under one."""
    return [
        record("S1", "", 0.9),
        record("S2", "", 0.7),
        record("S1", "jitter3-seed1", 0.8),
        record("S1", "jitter3-seed2", 0.7),
        record("S2", "jitter3-seed1", 0.5),
        record("S1", "expand5-seed1", 0.85),
    ]


def test_a_subject_counts_once_whatever_the_number_of_its_seeds():
    jitter, expand = curves(two_subjects(), "brats2019")
    assert (jitter.group, jitter.kind, expand.kind) == ("WT/box", "jitter", "expand")
    exact, three = jitter.points
    assert (exact.amount, exact.subjects, exact.cases, exact.drop) == (0, 2, 2, 0)
    assert exact.mean == pytest.approx(0.8)
    assert (three.amount, three.subjects, three.cases) == (3, 2, 3)
    assert three.mean == pytest.approx((0.75 + 0.5) / 2)
    assert three.drop == pytest.approx(((0.1 + 0.2) / 2 + 0.2) / 2)
    assert three.worst == 0.5
    assert 0.5 <= three.low < three.mean < three.high <= 0.75
    assert expand.points[1].drop == pytest.approx(0.05), "paired: S2 has no such case"
    assert math.isnan(expand.points[1].low), "one subject has no band"


def test_the_band_of_equal_subjects_is_their_score():
    records = [record(f"S{i}", noise, 0.5) for i in range(3) for noise in ("", "jitter3-seed1")]
    point = curves(records, "brats2019")[0].points[1]
    assert (point.mean, point.low, point.high) == (0.5, 0.5, 0.5)


def test_absent_regions_and_undefined_scores_are_in_no_mean():
    records = [*two_subjects(), record("S3", "jitter3-seed1", 1.0, slices=()), record("S4", "jitter3-seed1", math.nan)]
    three = curves(records, "brats2019")[0].points[1]
    assert (three.subjects, three.undefined) == (2, 1)
    assert three.mean == pytest.approx(0.625)
    assert table_lines(curves(records, "brats2019"))[-1] == "1 case with an undefined score left out"


def test_amounts_are_in_order_and_groups_as_a_reader_expects_them():
    records = [
        record("S", f"jitter{n}-seed1" if n else "", 0.9 - n / 100, region, prompt)
        for n in (10, 3, 0, 5)
        for region in ("TC", "WT")
        for prompt in ("point", "box")
    ]
    found = curves(records, "brats2019")
    assert [curve.group for curve in found] == ["WT/box", "WT/point", "TC/box", "TC/point"]
    assert [point.amount for point in found[0].points] == [0, 3, 5, 10]


def test_the_table_has_exact_prompts_once_and_a_row_for_each_level():
    assert table_lines(curves(two_subjects(), "brats2019")) == [
        "group   noise     subjects  cases  mean Dice       90 % band  drop from exact  worst",
        "-----   -----     --------  -----  ---------       ---------  ---------------  -----",
        "WT/box  exact            2      2      0.800  0.700 to 0.900                –  0.700",
        "WT/box  jitter 3         2      3      0.625  0.500 to 0.750           +0.175  0.500",
        "WT/box  expand 5         1      1      0.850               –           +0.050  0.850",
    ]


def test_a_run_without_noise_has_no_curve(recall):
    assert curves([record("S", "", 0.9)], "brats2019") == ()
    with pytest.raises(
        RunError, match=r"^run: has no prompted case with noise, expected some; score them with `medsam-core"
    ):
        curves_of(recall([record("S", "", 0.9)]))


def test_the_json_says_what_was_scored_and_is_strict(recall):
    run = recall(two_subjects())
    tree = json.loads(json_of(run, curves_of(run)), parse_constant=lambda text: pytest.fail(text))
    assert (tree["schema"], tree["metric"], tree["scope"], tree["confidence"]) == (1, "dice", "volume", 0.9)
    assert tree["checkpoint"] == {"name": "embedded", "sha256": "c" * 64}
    assert tree["units"] == {"jitter": "voxels", "expand": "voxels outward"}
    jitter, expand = tree["curves"]
    assert (jitter["region"], jitter["prompt"], jitter["kind"]) == ("WT", "box", "jitter")
    assert jitter["points"][1]["mean"] == pytest.approx(0.625)
    assert expand["points"][1]["low"] is None


def test_the_svg_has_a_panel_for_each_kind_and_region_a_line_for_each_curve_and_bands():
    records = [*two_subjects(), *(record(one.case.subject, one.case.noise, 0.4, "TC") for one in two_subjects())]
    found = curves(records, "brats2019")
    root = ElementTree.fromstring(robustness_svg(found))
    titles = [text.text for text in root.iter(f"{SVG}text") if text.get("font-weight") == "bold"]
    assert titles == ["jitter, WT on t1ce", "jitter, TC on t1ce", "expand, WT on t1ce", "expand, TC on t1ce"]
    assert len(list(root.iter(f"{SVG}polyline"))) == len(found) == 4
    assert len(list(root.iter(f"{SVG}circle"))) == 8
    assert len(list(root.iter(f"{SVG}polygon"))) == 4
    notes = [title.text for circle in root.iter(f"{SVG}circle") for title in circle]
    assert "WT/box jitter 3: 0.625 over 2 subjects" in notes


def test_a_lower_mean_is_drawn_lower_and_a_larger_amount_farther_right():
    root = ElementTree.fromstring(robustness_svg(curves(two_subjects(), "brats2019")))
    first, second = list(root.iter(f"{SVG}circle"))[:2]
    assert float(first.get("cx")) < float(second.get("cx"))
    assert float(first.get("cy")) < float(second.get("cy"))


def test_every_panel_has_the_range_of_all_means_and_bands():
    assert limits(curves(two_subjects(), "brats2019")) == (0.5, 0.9)
    assert limits(()) == (0.0, 1.0)
    assert len(panels(curves(two_subjects(), "brats2019"))) == 2


def test_scores_that_are_all_undefined_are_drawn_as_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    found = curves([record("S", noise, math.nan) for noise in ("", "jitter3-seed1")], "brats2019")
    assert list(ElementTree.fromstring(robustness_svg(found)).iter(f"{SVG}circle")) == []
    robustness_png(found, tmp_path / "robustness.png")
    assert (tmp_path / "robustness.png").exists()


def test_the_png_draws_each_curve_with_its_band(tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes").Axes
    drawn, bands = [], []
    plot, fill = axes.plot, axes.fill_between
    monkeypatch.setattr(axes, "plot", lambda self, *given, **style: drawn.append(given) or plot(self, *given, **style))
    monkeypatch.setattr(
        axes, "fill_between", lambda self, *given, **style: bands.append(given) or fill(self, *given, **style)
    )
    robustness_png(curves(two_subjects(), "brats2019"), tmp_path / "robustness.png")
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")
    assert [amounts for amounts, _ in drawn] == [(0, 3), (0, 5)]
    assert len(bands) == 2


def test_the_svg_needs_no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert robustness_svg(curves(two_subjects(), "brats2019")).startswith("<svg")
