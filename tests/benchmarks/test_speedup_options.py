"""What shortens `tox -e speedup-gpu`: which prompts sam2 runs, and mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speedup import spread

ROOT = Path(__file__).parents[2]


def test_few_prompts_are_of_three_regions_and_modes_and_all_are_all():
    few = spread(3, 12)
    assert len({place // 4 for place in few}) == len({place % 4 for place in few}) == 3
    assert spread(12, 12) == tuple(range(12))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--sam2-prompts=13", "got '13', expected a whole number of at least 1 and at most 12"),
        ("--speedup-subjects=2", "got '2', expected a whole number of at least 3 and at most 369"),
    ],
)
def test_a_number_that_cannot_be_is_one_sentence(option, said):
    command = (sys.executable, "-m", "pytest", "benchmarks/test_speedup.py", "--collect-only", "-q", option)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 4
    assert said in done.stderr
