"""The headers of a whole BraTS cohort take seconds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from medsam_core.cli import main
from medsam_core.phantoms.cohort import write_cohort


@pytest.mark.slow
def test_the_headers_of_1251_subjects_take_less_than_30_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (name,) = write_cohort(tmp_path / "one", subjects=1, seed=3)
    for index in range(1251):
        subject = f"BraTS2021_{index:05d}"
        (tmp_path / "many" / subject).mkdir(parents=True)
        for kind in ("t1", "t1ce", "t2", "flair", "seg"):
            os.link(
                tmp_path / "one" / name / f"{name}_{kind}.nii.gz",
                tmp_path / "many" / subject / f"{subject}_{kind}.nii.gz",
            )
    started = time.perf_counter()
    assert main(["doctor", str(tmp_path / "many"), "--headers"]) == 0
    assert time.perf_counter() - started < 30
    assert capsys.readouterr().out.endswith("\n1251 subjects (headers alone): 0 wrong, 0 to look at\n")
