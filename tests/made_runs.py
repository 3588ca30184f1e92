"""Runs built by hand: no model, no image."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from medsam_core.cases import SCOPES, Case, CaseRecord
from medsam_core.gates.baseline import Baseline
from medsam_core.runs import Run, RunWriter
from medsam_core.settings import Settings
from medsam_core.slices import SLICES, SliceCounts
from tests.headers import made_header


def large_run(folder: Path, subjects: int = 1251) -> tuple[Run, Baseline]:
    """A run of twelve cases a subject with all that a session records but pictures, and a baseline that it fell below.

    folder: of the run, which has its counts by slice and nothing else. 1,251 subjects, as BraTS 2021 has, are 15,012
    cases.
    """
    random = Random(0)
    settings = Settings(prompts=("box", "point", "points3", "mask"))
    cases = [case for number in range(subjects) for case in settings.cases(f"BraTS2021_{number:05}")]
    folder.mkdir(parents=True, exist_ok=True)
    records, before = [], {}
    with (folder / SLICES).open("w", encoding="utf-8") as stream:
        for case in cases:
            dice = min(0.98, max(0.0, random.gauss(0.86, 0.09)))
            record = _scored(case, dice, random)
            records.append(record)
            before[case.id] = replace(record, scores=_scores(min(1.0, dice + random.gauss(0.004, 0.02)), random))
            areas = tuple(random.randrange(50, 2000) for _ in range(70))
            both = tuple(int(area * dice) for area in areas)
            stream.write(SliceCounts(case.id, 40, both, areas, areas).line())
    header = made_header(
        [case.id for case in cases],
        settings={"profile": "brats2019", "prompts": list(settings.prompts)},
        cohort={"root": "BraTS2021", "subjects": sorted({case.subject for case in cases}), "fingerprint": "f" * 64},
    )
    baseline = Baseline.of(Run(folder.parent / "accepted", header, tuple(before.values())))
    return Run(folder, header, tuple(records)), baseline


def _scores(dice: float, random: Random) -> dict[str, float]:
    ratios = {metric: dice - random.random() / 20 for metric in ("iou", "sensitivity", "precision")}
    volumes = {"volume_ml": 40 * dice, "truth_volume_ml": 40.0, "volume_difference_ml": 40 * (dice - 1)}
    own = {"dice": dice, **ratios, **volumes}
    return {f"brats2019/{metric}@{scope}": value for scope in SCOPES for metric, value in own.items()}


def _scored(case: Case, dice: float, random: Random) -> CaseRecord:
    box = {"mode": case.prompt, "key_slice": 75, "box": [60.0, 70.0, 101.0, 133.0], "points": [], "point_labels": []}
    controls = {
        name: {f"brats2019/{metric}@{scope}": random.random() for metric in ("dice", "iou") for scope in SCOPES[::2]}
        for name in ("filled_box", "otsu_in_box")
    }
    causes = ("leak: 340 voxels outside", "early stop: 20 slices at the truth's end are lost", None, None, None)
    return CaseRecord(
        case,
        _scores(dice, random),
        (75,),
        grade=random.choice(("HGG", "LGG")),
        labels="brats2019",
        seconds=random.random() * 3,
        prompts=(box,),
        controls=controls,
        diagnosis=random.choice(causes),
    )


@pytest.fixture
def make_record():
    def make(subject="S1", region="WT", prompt="box", *, dice=0.9, slices=(95,), protocol="bidirectional", **more):
        scores = {
            f"brats2019/{metric}@{scope}": value
            for scope in ("volume", "key_slice")
            for metric, value in (("dice", dice), ("iou", dice / (2 - dice)), ("truth_volume_ml", 30.0))
        }
        scores.update(more.pop("scores", {}))
        case = Case(subject, more.pop("modality", "t1ce"), region, prompt, protocol)
        return CaseRecord(case, scores, slices, labels="brats2019", **more)

    return make


@pytest.fixture
def make_run(tmp_path):
    """`make_run(records, plan=…, name=…, **header changes)` writes a run and gives it back as read."""

    def make(records, *, plan=None, name="run", **changes):
        plan = [record.id for record in records] if plan is None else plan
        writer = RunWriter(tmp_path / name, made_header(plan, **changes))
        for record in records:
            writer.append(record)
        writer.close()
        return writer.run()

    return make


@pytest.fixture
def recall():
    """`recall(records, plan=…, name=…, **header changes)`: the same run, without a disk to wait for."""

    def make(records, *, plan=None, name="run", **changes):
        plan = [record.id for record in records] if plan is None else plan
        return Run(Path(name), made_header(plan, **changes), tuple(records))

    return make


@pytest.fixture
def command():
    """`command("propose", run, "--margin", 0.1)` runs a command as the shell would; gives its exit code."""

    def call(name, *arguments):
        module = importlib.import_module(f"medsam_core.commands.{name}")
        parser = argparse.ArgumentParser()
        module.add_parser(parser.add_subparsers())
        return module.run(parser.parse_args([name, *map(str, arguments)]))

    return call
