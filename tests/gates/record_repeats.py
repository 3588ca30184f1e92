"""Writes recorded_repeats.json: the same cases scored twice by the same weights, in fp32 and in bf16.

pytest benchmarks/test_accuracy.py --medsam-phantom-subjects=26 --medsam-phantom-size=16,128,128 \
    --medsam-overlays=0 --medsam-run-dir=runs/a
pytest … the same with --medsam-precision=bf16 --medsam-run-dir=runs/b
python tests/gates/record_repeats.py runs/a runs/b
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from medsam_core.cases import score_key
from medsam_core.runs import read_run

RECORDED = Path(__file__).with_name("recorded_repeats.json")


def main(folders: list[str]) -> None:
    runs = [read_run(folder) for folder in folders]
    key = score_key("brats2019", "dice", "volume")
    scores = [{r.id: round(r.scores[key], 6) for r in run.records if r.prompts} for run in runs]
    assert scores[0].keys() == scores[1].keys(), "the two runs asked for different cases"
    asked = [{key: getattr(run.header, key) for key in ("created", "device", "precision")} for run in runs]
    sha = {run.header.checkpoint.sha256 for run in runs}
    lines = [f"  {json.dumps(case)}: {json.dumps([one[case] for one in scores])}" for case in sorted(scores[0])]
    head = f'"checkpoints": {json.dumps(sorted(sha))},\n"runs": {json.dumps(asked)},\n"dice": {{\n'
    RECORDED.write_text("{\n" + head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
