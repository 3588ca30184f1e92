"""`.github/summary.py`: what a pull request shows of a run."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

summary = runpy.run_path(str(Path(__file__).parents[1] / ".github" / "summary.py"))["summary"]


def test_the_summary_of_a_run_has_its_verdict_reasons_table_and_worst_case(make_record, make_run):
    run = make_run(
        [make_record("S1", dice=0.4, diagnosis="leak: 340 voxels")], plan=["S1/t1ce/WT/box", "S2/t1ce/WT/box"]
    )
    verdict = {
        "outcome": "FAIL",
        "reasons": ["1 case planned but not scored"],
        "results": [{"outcome": "FAIL", "text": "Dice 0.400 < 0.700"}, {"outcome": "PASS", "text": "held"}],
    }
    (run.directory / "verdict.json").write_text(json.dumps(verdict))
    lines = summary(run.directory).splitlines()
    assert lines[0] == "### MedSAM-2 gate: FAIL"
    assert lines[2] == "1 of 2 cases scored on cpu, predictor engine, checkpoint embedded."
    assert {"- Dice 0.400 < 0.700", "- 1 case planned but not scored"} <= set(lines)
    assert any(line.startswith("| t1ce | WT | box | 1 |") for line in lines)
    assert any("leak: 340 voxels" in line for line in lines)
    assert not any("held" in line for line in lines)


def test_where_there_is_no_run_the_summary_says_so(tmp_path):
    assert summary(tmp_path).startswith("### MedSAM-2 gate: no verdict\n")
