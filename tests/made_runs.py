"""Runs built by hand: no model, no image."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.runs import Run, RunWriter
from tests.headers import made_header


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
