"""The committed default gate sees a fault that hardly moves the three subjects of the other tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("plugin", [(), ("-p", "tests.faults.reversed_memories")], ids=["healthy", "reversed"])
def test_the_default_gate_sees_memories_in_the_wrong_order(plugin: tuple[str, ...], tmp_path: Path) -> None:
    gate = (
        sys.executable,
        "-m",
        "pytest",
        *plugin,
        "benchmarks/test_accuracy.py",
        "--medsam-device=cpu",
        "--medsam-precision=fp32",
    )
    done = subprocess.run(
        (*gate, f"--medsam-run-dir={tmp_path / 'run'}", "--medsam-overlays=0"),
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == (1 if plugin else 0), done.stdout + done.stderr
    assert ("FAIL gate 1 (Dice) case_change_maximum" in done.stdout) == bool(plugin)
    assert bool(re.search(r"PASS: (\d+) of \1 cases scored, (\d+) of \2 bounds held", done.stdout)) != bool(plugin)
