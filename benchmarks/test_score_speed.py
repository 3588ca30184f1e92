"""`medsam-core score` on a cohort of full size with every metric: as it comes, and in one process of the same code.

    tox run -e score-speed                         SCORE_PAIRS=100 takes fewer pairs than 1,251

Five pairs of 155 × 240 × 240, as in test_metrics_speed.py, are linked under as many names as there are cases. Both
commands write a CSV: the two must be equal. Speed is printed, not asserted: it belongs to the machine.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks.test_metrics_speed import label_maps
from medsam_core.metrics import METRICS

pytestmark = pytest.mark.latency

PAIRS = int(os.environ.get("SCORE_PAIRS", "1251"))
PROFILE = "brats2023"


def test_score_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cohort(tmp_path, PAIRS)
    several, together = timed(tmp_path, tmp_path / "several.csv")
    one, alone = timed(tmp_path, tmp_path / "one.csv", "--processes", "1")
    assert together == alone
    assert len(list(csv.DictReader(together.splitlines()))) == 3 * PAIRS
    with capsys.disabled():
        print(
            f"\n{PAIRS} pairs, {len(METRICS)} metrics, three regions, {len(os.sched_getaffinity(0))} processors: "
            f"{several:.0f} s ({several / PAIRS:.3f} s a pair), in one process {one:.0f} s, ratio {one / several:.1f}"
        )


def cohort(folder: Path, pairs: int) -> None:
    """`folder/mine` and `folder/truth`, with links to five pairs."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for name in ("mine", "truth"):
        (folder / name).mkdir()
    for number, case in enumerate(label_maps()):
        for name, labels in zip(("mine", "truth"), case, strict=True):
            nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine), folder / f"{name}{number}.nii.gz")
    for index in range(pairs):
        for name in ("mine", "truth"):
            os.link(folder / f"{name}{index % 5}.nii.gz", folder / name / f"case{index:04}.nii.gz")


def timed(folder: Path, table: Path, *options: str) -> tuple[float, str]:
    """Wall seconds of the command, and its table."""
    command = [sys.executable, "-m", "medsam_core", "score", str(folder / "mine"), str(folder / "truth")]
    command += ["--profile", PROFILE, "--metrics", ",".join(METRICS), "--csv", str(table), *options]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started, table.read_text()
