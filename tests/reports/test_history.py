"""The list of runs and its plot."""

from __future__ import annotations

import json
import math
import sys
from xml.etree import ElementTree

import fsspec
import pytest

from medsam_core.errors import OptionError, RunError
from medsam_core.gates.remote import fetch
from medsam_core.reports.history import Entry, entry, history, plot, table


@pytest.fixture
def runs(make_record, make_run, tmp_path):
    """Three runs under tmp_path/runs, written newest first, the last of them unfinished."""
    for number, (month, dice, verdict) in enumerate((("03", 0.9, "FAIL"), ("02", 0.8, "PASS"), ("01", 0.7, None))):
        records = [make_record(f"S{i}", dice=dice, seconds=2.0) for i in range(2)]
        run = make_run(records, name=f"runs/r{number}", created=f"2026-{month}-01T00:00:00+00:00")
        if verdict:
            (run.directory / "verdict.json").write_text(json.dumps({"outcome": verdict}))
    return tmp_path / "runs"


def test_runs_are_listed_by_date_with_what_they_came_to(runs):
    entries = history(runs)
    assert [(one.name, one.outcome) for one in entries] == [("r2", "INCONCLUSIVE"), ("r1", "PASS"), ("r0", "FAIL")]
    assert entries[1].means == {"WT/box": pytest.approx(0.8)}
    assert (entries[1].seconds, entries[1].cases) == (2.0, 2)
    assert (entries[1].commit, entries[1].checkpoint, entries[1].cohort) == (
        "a" * 9,
        "embedded cccccccc",
        "phantoms (2)",
    )


def test_the_table_lines_up(runs):
    lines = table(history(runs))
    assert len(lines) == 4
    assert lines[2].startswith("2026-02-01 00:00  r1   PASS ")
    assert lines[2].endswith("WT/box 0.800")
    assert len({line.index("means") if "means" in line else line.index("WT/box") for line in lines}) == 1


def test_a_damaged_run_is_listed_and_the_others_too(runs):
    (runs / "r1" / "run.json").write_text("{")
    entries = history(runs)
    assert "run.json: got text that is not JSON" in entries[0].error
    assert "unreadable" in table(entries)[1]
    json.dumps([one.to_json() for one in entries], allow_nan=False)


def test_the_means_are_over_prompted_finite_scores(make_record, recall):
    records = [make_record("S1", dice=0.5), make_record("S2", dice=math.nan), make_record("S3", dice=1.0, absent=True)]
    assert entry(recall(records)).means == {"WT/box": 0.5}
    assert math.isnan(entry(recall(records)).seconds)
    assert entry(recall([], plan=["S1/t1ce/WT/box"])).means == {}


def test_a_folder_without_runs_is_one_sentence(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=r"holds no run, expected folders with a run\.json"):
            history(folder)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_draws_the_runs_of_the_newest_cohort(runs, make_run, make_record, tmp_path, ending):
    cohort = {"root": "other", "fingerprint": "e" * 64, "subjects": ["S1"], "labels": [], "layouts": []}
    make_run([make_record()], name="runs/other", cohort=cohort, created="2026-02-15T00:00:00+00:00")
    path = tmp_path / f"plot.{ending}"
    assert plot(history(runs), path) == 3
    if ending == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_a_plot_of_nothing_and_to_nowhere_is_one_sentence(runs, tmp_path):
    with pytest.raises(RunError, match="no run with a date and a score"):
        plot([Entry("a", error="x"), Entry("b", created="once", means={"WT/box": 1.0})], tmp_path / "p.png")
    with pytest.raises(RunError, match="cannot be written"):
        plot(history(runs), runs / "r1" / "run.json" / "p.png")
    with pytest.raises(RunError, match="cannot be written"):
        plot(history(runs), tmp_path / "p.xyz")


def test_a_plot_without_matplotlib_names_the_extra(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OptionError) as caught:
        plot(history(runs), tmp_path / "p.png")
    assert str(caught.value) == (
        '--plot: matplotlib is not installed, expected it to draw the plot; pip install "medsam-core[suite]".'
    )


def test_runs_are_fetched_from_a_url(runs, tmp_path):
    remote = fsspec.filesystem("memory")
    remote.put(str(runs), "/history", recursive=True)
    try:
        fetch("memory://history", tmp_path / "local")
    finally:
        remote.rm("/history", recursive=True)
    assert [(one.name, one.outcome) for one in history(tmp_path / "local")] == [
        (one.name, one.outcome) for one in history(runs)
    ]
    with pytest.raises(RunError, match=r"nosuch://a: cannot be read \(.*\); correct the URL"):
        fetch("nosuch://a", tmp_path)


def test_the_command_lists_and_plots(runs, tmp_path, command, capsys):
    assert command("history", runs, "--plot", tmp_path / "p.png") == 0
    out = capsys.readouterr().out
    assert out.startswith("date ")
    assert out.endswith(f"wrote {tmp_path / 'p.png'}: 3 of 3 runs, those of the newest run's cohort\n")
    assert command("history", f"file://{runs}", "--json", "--metric", "iou") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["r2", "r1", "r0"]
    with pytest.raises(OptionError, match="unknown metric 'dcie'"):
        command("history", runs, "--metric", "dcie")
