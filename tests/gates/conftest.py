"""Runs built by hand: no model, no image."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.runs import Run, RunWriter


def header(plan, **changes):
    """A run's header, as a session would write it, with some keys changed."""
    return {
        "created": "2026-01-02T03:04:05+00:00",
        "command": ["pytest"],
        "settings": {"profile": "brats2019", "key_slice": "largest", "jitter_voxels": 0.0, "regions": ["WT"]},
        "checkpoint": {"name": "embedded", "sha256": "c" * 64, "architecture": None, "image_size": None},
        "device": "cpu",
        "precision": "fp32",
        "cohort": {
            "layouts": ["brats2018"],
            "labels": ["brats2019"],
            "subjects": sorted({case.split("/")[0] for case in plan}),
            "fingerprint": "f" * 64,
            "root": "phantoms",
        },
        "plan": list(plan),
        "gates": None,
        "prompts_from": None,
        "environment": {"torch": "2.13.0", "sam2": "1.1.0", "commit": "a" * 40, "gpu": None, "cpu": "a CPU"},
        **changes,
    }


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
        writer = RunWriter(tmp_path / name, header(plan, **changes))
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
        return Run(Path(name), header(plan, **changes), tuple(records))

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
