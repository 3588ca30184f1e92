"""The list of runs and its plot."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from xml.etree import ElementTree

import fsspec
import pytest

from medsam_core.errors import OptionError, RunError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import write_baseline
from medsam_core.gates.remote import fetch
from medsam_core.reports.history import Entry, entry, history, plot, table

GATES = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\n'


def gated(run, verdict, gates=GATES):
    """The run with gates of its own, as a session leaves it."""
    (run.directory / "gates.toml").write_text(gates)
    header = json.loads((run.directory / "run.json").read_text())
    header["gates"] = {"file": "gates.toml", "sha256": hashlib.sha256(gates.encode()).hexdigest()}
    (run.directory / "run.json").write_text(json.dumps(header))
    if verdict:
        (run.directory / "verdict.json").write_text(json.dumps({"outcome": verdict}))
    return run.directory


@pytest.fixture
def runs(make_record, make_run, tmp_path):
    """Three runs under tmp_path/runs, written newest first, the last of them unfinished."""
    for number, (month, dice, verdict) in enumerate((("03", 0.9, "FAIL"), ("02", 0.8, "PASS"), ("01", 0.7, None))):
        records = [make_record(f"S{i}", dice=dice, seconds=2.0) for i in range(2)]
        gated(make_run(records, name=f"runs/r{number}", created=f"2026-{month}-01T00:00:00+00:00"), verdict)
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


def test_a_stored_pass_over_records_that_are_gone_torn_or_changed_is_none(make_record, make_run, runs):
    records = [make_record(f"S{i}", dice=0.8 + i / 100, data=f"{i:016x}") for i in range(3)]
    whole, lost, torn, changed, low = (
        gated(make_run(records, name=f"runs/{name}", created=f"2026-04-0{day}T00:00:00+00:00"), "PASS")
        for day, name in enumerate(("whole", "lost", "torn", "changed", "low"), start=1)
    )
    lines = (whole / "cases.jsonl").read_text().splitlines(keepends=True)
    (lost / "cases.jsonl").write_text("".join(lines[:2]))
    (torn / "cases.jsonl").write_text("".join(lines)[:-40])
    (changed / "cases.jsonl").write_text("".join(lines).replace("0.81", "9.81"))
    (low / "cases.jsonl").write_text(
        "".join(json.dumps(make_record(f"S{i}", dice=0.1).to_json()) + "\n" for i in range(3))
    )
    found = {one.name: one for one in history(runs)}
    assert (found["whole"].outcome, found["whole"].finished, found["whole"].remark) == ("PASS", True, "")
    for name, outcome, finished in (
        ("lost", "INCONCLUSIVE", False),
        ("torn", "INCONCLUSIVE", False),
        ("changed", "INCONCLUSIVE", True),
        ("low", "FAIL", True),
    ):
        assert (found[name].outcome, found[name].finished) == (outcome, finished), name
        assert found[name].remark == "its session said PASS"
    assert "INCONCLUSIVE, unfinished" in next(line for line in table(history(runs)) if " lost " in line)
    assert found["changed"].means is None


def test_a_run_whose_gates_or_baseline_are_gone_is_not_judged(make_record, make_run, runs):
    without = gated(make_run([make_record()], name="runs/without"), "PASS")
    (without / "gates.toml").unlink()
    relative = GATES.replace("case_minimum = 0.5", "case_drop_maximum = 0.1").replace("[[", 'baseline = "gone"\n[[', 1)
    gated(make_run([make_record()], name="runs/relative"), "PASS", relative)
    found = {one.name: one for one in history(runs)}
    assert found["without"].outcome == found["relative"].outcome == "not judged"
    assert "which is not in" in found["without"].remark
    assert found["relative"].remark == "the baseline gone is not here"
    assert any("not judged" in line and "(the baseline gone is not here)" in line for line in table(history(runs)))


def test_a_run_that_is_a_fail_by_todays_baseline_says_what_its_session_said(
    make_record, make_run, runs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    relative = GATES.replace("case_minimum = 0.5", "case_drop_maximum = 0.1").replace("[[", 'baseline = "main"\n[[', 1)
    gated(make_run([make_record(dice=0.7)], name="runs/relative"), "PASS", relative)
    write_baseline(Baseline.of(make_run([make_record(dice=0.9)], name="better"), "main"))
    found = {one.name: one for one in history(runs)}["relative"]
    assert (found.outcome, found.remark) == ("FAIL", "its session said PASS")


def test_the_table_lines_up(runs):
    lines = table(history(runs))
    assert len(lines) == 4
    assert lines[1].startswith("2026-01-01 00:00  r2   INCONCLUSIVE, unfinished  ")
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


def test_the_plot_marks_unfinished_runs_and_joins_the_others_alone(runs, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    joined, marked = [], []
    line, scatter = Axes.plot, Axes.scatter

    def joins(axes, *points, **style):
        joined.append((style.get("label"), points[1]))
        return line(axes, *points, **style)

    def marks(axes, *points, **style):
        marked.append((style["label"], style["facecolors"]))
        return scatter(axes, *points, **style)

    monkeypatch.setattr(Axes, "plot", joins)
    monkeypatch.setattr(Axes, "scatter", marks)
    plot(history(runs), tmp_path / "plot.svg")
    assert joined == [("WT/box", (0.8, 0.9)), (None, (2.0, 2.0))]
    assert marked == [("PASS", "#2a7f3f"), ("FAIL", "#c0392b"), ("INCONCLUSIVE, unfinished", "none")]


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
