"""A small run with everything that a page shows: a broken bound, a case that was not scored, pictures, a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsam_core.gates.baseline import Baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.verdict import Verdict, judge
from medsam_core.runs import Run
from medsam_core.slices import SliceCounts, append_line
from tests.headers import made_header

GATES = """
version = 1
[[gate]]
metric = "dice"
region = "WT"
case_minimum = 0.7
mean_minimum = 0.5
"""


@dataclass(frozen=True)
class Made:
    """What a page is made of."""

    run: Run
    verdict: Verdict
    baseline: Baseline


def picture(path: Path) -> None:
    """A palette PNG with a green contour on grey, as large as an overlay."""
    pixels = np.full((300, 660), 90, np.uint8)
    pixels[120:180, 200] = pixels[120:180, 260] = pixels[120, 200:260] = pixels[180, 200:260] = 240
    image = Image.fromarray(pixels, mode="P")
    image.putpalette([value for grey in range(240) for value in (grey, grey, grey)] + [64, 230, 64, 255, 64, 220])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG")


@pytest.fixture
def made(make_record, recall, tmp_path) -> Made:
    box = {"mode": "box", "key_slice": 7, "box": [1.0, 2.0, 3.0, 4.0], "points": [], "point_labels": [], "mask": None}
    records = (
        make_record("S1", grade="HGG", prompts=(box,), controls={"filled_box": {"brats2019/dice@volume": 0.2}}),
        make_record("S2", dice=0.4, diagnosis="leak: 340 voxels", overlay="overlays/S2 #1.png"),
        make_record("S3", dice=0.8, overlay="overlays/gone.png"),
        make_record("S1", region="ET", dice=0.2),
        make_record("S2", region="ET", dice=1.0, slices=()),
    )
    directory = tmp_path / "run"
    picture(directory / "overlays" / "S2 #1.png")
    append_line(directory, SliceCounts("S2/t1ce/WT/box", 6, (10, 0), (20, 5), (30, 0)).line())
    header = made_header(
        [*(record.id for record in records), "S9/t1ce/WT/box"],
        settings={"profile": "brats2019", "regions": ["WT", "ET"]},
        command=["pytest", "benchmarks/test_accuracy.py", "--medsam-run-dir=run", "--medsam-regions", "WT,ET"],
        checkpoint={"name": "embedded", "sha256": "abc123"},
        environment={"torch": "2.13"},
    )
    gates = tmp_path / "gates.toml"
    gates.write_text(GATES)
    run = Run(directory, header, records)
    before = [make_record("S1", dice=0.9), make_record("S2", dice=0.75), make_record("S3", dice=0.7)]
    baseline = Baseline.of(recall(before, plan=run.plan, name="phantom"))
    return Made(run, judge(run.plan, run.records, load_gates(gates)), baseline)
