"""Folders of runs, and entries of a history, made by hand."""

from __future__ import annotations

import hashlib
import json

import pytest

from medsam_core.reports.history import Entry

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


def made_entry(number, dice, **changes):
    """The entry of a finished run of day `number` of 2026. dice: of WT/box, or a mapping of means."""
    given = {
        "name": f"r{number}",
        "created": f"2026-01-{number:02}T12:00:00+00:00",
        "commit": f"{number:09x}",
        "checkpoint": "embedded cccccccc",
        "cohort": "phantoms (2)",
        "fingerprint": "f" * 12,
        "device": "cpu, a CPU, fp32",
        "versions": "torch 2, sam2 1",
        "series": "0123456789ab",
        "build": str(number),
        "outcome": "PASS",
        "finished": True,
        "cases": 2,
        "means": dice if isinstance(dice, dict) else {"WT/box": dice},
        "seconds": 2.0,
    }
    return Entry(**(given | changes))
