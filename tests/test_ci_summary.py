"""The summary of a run that CI puts on a pull request."""

import runpy
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
summary = runpy.run_path(str(ROOT / ".github" / "summary.py"))["summary"]


def test_a_stored_run_has_its_verdict_table_and_worst_cases(tmp_path):
    shutil.copytree(ROOT / "tests" / "stored" / "run-60d6631", tmp_path / "run")
    text = summary(tmp_path / "run")
    assert text.startswith("### MedSAM-2 gate: PASS\n\n36 of 36 cases scored on cpu, checkpoint embedded.\n")
    assert "| WT | box |" in text.replace("t1ce | ", "")
    assert "Phantom_s19_0001/t1ce/ET/point" in text


def test_a_run_without_a_verdict_and_a_damaged_one_have_a_sentence(tmp_path):
    assert summary(tmp_path).startswith("### MedSAM-2 gate: no verdict\n\n")
    shutil.copytree(ROOT / "tests" / "stored" / "run-60d6631", tmp_path / "run")
    (tmp_path / "run" / "verdict.json").unlink()
    assert summary(tmp_path / "run").endswith("its session left no verdict.\n")
    (tmp_path / "run" / "verdict.json").write_text('{"outcome": 3}')
    assert "verdict.json: outcome: got" in summary(tmp_path / "run")
