"""The embedded checkpoint against a damaged copy: NEW is worse, and the comparison survives being killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.damage import main as damage
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.runs import read_run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PATIENCE = 3600
"""Seconds that a comparison may take on a busy machine."""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """start(NEW, output): the comparison of the embedded checkpoint with NEW, as a process, on three phantoms."""
    folder = tmp_path_factory.mktemp("comparison")
    write_cohort(folder / "cohort", subjects=3, size=(40, 128, 128), seed=19)
    assert damage(["--noise=0.05", str(folder / "noise.safetensors")]) == 0

    def started(new, output, *options):
        words = [sys.executable, "-m", "medsam_core", "ab", "embedded", new, "--root=cohort", "-o", output]
        words += ["--regions=WT,TC", "--device=cpu", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)

    started.folder = folder
    return started


@pytest.fixture(scope="module")
def damaged(start):
    """The comparison with the damaged copy: exit code, what was printed, and its folder."""
    process = start("noise.safetensors", "damaged")
    printed, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, printed, start.folder / "damaged"


def test_the_damaged_copy_is_worse(damaged):
    code, printed, folder = damaged
    assert code == 1, printed
    assert printed.splitlines()[-1].startswith("runs: ")
    stored = json.loads((folder / "ab.json").read_text())
    outcomes = {group["group"]: group["outcome"] for group in stored["comparison"]["groups"]}
    assert set(outcomes) == {"WT/box", "WT/point", "TC/box", "TC/point"}
    means = {group["group"]: group["change"] for group in stored["comparison"]["groups"]}
    assert outcomes[min(means, key=means.get)] == "FAIL", means


def test_both_pictures_of_the_case_that_fell_most_are_on_the_page(damaged):
    _, _, folder = damaged
    stored = json.loads((folder / "ab.json").read_text())
    pairs = {case: pair for group in stored["comparison"]["groups"] for case, pair in group["pairs"].items()}
    fell = min(pairs, key=lambda case: pairs[case][1] - pairs[case][0])
    for side in ("old", "new"):
        picture = f"{side}/overlays/{fell.replace('/', '__')}.png"
        assert (folder / picture).is_file()
        assert f'src="{picture}"' in (folder / "ab.html").read_text()


def test_a_killed_comparison_goes_on_and_gives_the_same(damaged, start):
    _, _, whole = damaged
    process = start("noise.safetensors", "killed")
    cases = start.folder / "killed" / "new" / "cases.jsonl"
    begun = time.monotonic()
    while not (cases.exists() and cases.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.1)
    process.kill()
    process.communicate()
    assert not (start.folder / "killed" / "ab.json").exists()
    process = start("noise.safetensors", "killed")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    for side in ("old", "new"):
        runs = [read_run(folder / side).records for folder in (whole, start.folder / "killed")]
        assert [[replace(one, seconds=None) for one in records] for records in runs] == [
            [replace(one, seconds=None) for one in runs[0]]
        ] * 2
