"""The list of runs."""

from __future__ import annotations

import json
import math

import fsspec
import pytest

from medsam_core.errors import RunError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import write_baseline
from medsam_core.gates.noise import measure, write_floor
from medsam_core.gates.remote import fetch
from medsam_core.reports.history import entry, history
from medsam_core.reports.history_table import table
from tests.reports.made_histories import GATES, gated, runs

__all__ = ["runs"]  # a fixture


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
    assert "relative: the baseline gone is not here" in table(history(runs))


def test_a_run_that_is_a_fail_by_todays_baseline_says_what_its_session_said(
    make_record, make_run, runs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    relative = GATES.replace("case_minimum = 0.5", "case_drop_maximum = 0.1").replace("[[", 'baseline = "main"\n[[', 1)
    gated(make_run([make_record(dice=0.7)], name="runs/relative"), "PASS", relative)
    write_baseline(Baseline.of(make_run([make_record(dice=0.9)], name="better"), "main"))
    found = {one.name: one for one in history(runs)}["relative"]
    assert (found.outcome, found.remark) == ("FAIL", "its session said PASS")


def test_a_damaged_run_is_listed_and_the_others_too(runs):
    (runs / "r1" / "run.json").write_text("{")
    entries = history(runs)
    assert "run.json: got text that is not JSON" in entries[0].error
    assert any(line.startswith("r1: cannot be read: ") for line in table(entries))
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


def test_every_run_is_reported_as_progress(runs):
    seen = []
    history(runs, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_date_is_shown_in_utc(make_record, recall):
    one = entry(recall([make_record()], created="2026-01-02T01:30:00+02:00"))
    assert one.date == "2026-01-01 23:30"
    assert entry(recall([], created="yesterday")).date == ""


def test_series_and_builds_tell_apart_what_a_mean_depends_on(make_record, recall):
    def of(**changes):
        return entry(recall([make_record()], **changes))

    first = of()
    seen = {"torch": "2.13.0", "sam2": "1.1.0", "commit": "a" * 40, "gpu": None, "cpu": "a CPU"}
    assert (of().series, of().build) == (first.series, first.build)
    assert of(environment=seen | {"cpu": "another"}).series != first.series
    assert of(settings={"jitter_voxels": 2.0}).series != first.series
    assert of(settings={"regions": ["WT", "ET"]}).series == of(settings={"regions": ["WT"]}).series
    assert of(environment=seen | {"torch": "2.14.0"}).build != first.build
    assert of(environment=seen | {"commit": "b" * 40}).build != first.build
    assert of(environment=seen | {"dirty": True}).build == ""
    assert of(environment=seen | {"dirty": True, "source": "s"}).build != ""
    assert of(environment=seen | {"dirty": True}).revision == "aaaaaaaaa*"


def test_the_noise_of_a_calibrated_machine_is_known(make_record, make_run, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repeats = [make_run([make_record(dice=dice)], name=f"repeat{dice}") for dice in (0.80, 0.81)]
    write_floor(measure(repeats))
    assert {one.noise for one in history(runs)} == {0.01}
    assert {one.noise for one in history(runs, metric="hd95")} == {None}
