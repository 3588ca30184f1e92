"""docs/run.schema.json against what is really written."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from medsam_core.cases import Case, CaseRecord
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.evaluation.subject import score_case, score_controls
from medsam_core.header import SCHEMA, CheckpointIdentity
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.prompts.simulation import simulate
from medsam_core.run_schema import run_schema
from medsam_core.runs import RunWriter, read_run
from medsam_core.settings import Settings
from tests.headers import made_header

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "docs" / "run.schema.json").read_text(encoding="utf-8"))


def faults(value, kind):
    """What of the value does not fit the schema of that name."""
    schema = {**DOCUMENT, "anyOf": [{"$ref": f"#/$defs/{kind}"}]}
    return [problem.message for problem in Draft202012Validator(schema).iter_errors(value)]


def test_the_document_is_what_the_types_give():
    assert json.loads(json.dumps(run_schema())) == DOCUMENT, (
        "write it again: python -m medsam_core.run_schema > docs/run.schema.json"
    )
    Draft202012Validator.check_schema(DOCUMENT)


def test_every_field_is_described_by_its_docstring():
    record = DOCUMENT["$defs"]["CaseRecord"]["properties"]
    assert record["key_slices"]["description"].startswith("The prompted axial slices. () if the region is absent")
    assert DOCUMENT["$defs"]["RunHeader"]["properties"]["precision"]["description"] == "fp32 or bf16."


def test_a_run_of_an_older_version_is_valid_and_read():
    stored = ROOT / "tests" / "stored" / "run-60d6631"
    assert faults(json.loads((stored / "run.json").read_text()), "RunHeader") == []
    lines = (stored / "cases.jsonl").read_text().splitlines()
    assert [fault for line in lines for fault in faults(json.loads(line), "CaseRecord")] == []
    assert len(read_run(stored).records) == len(lines) == 36


def scored_record(mode):
    """A record as the evaluation makes it, of a ball in a small volume; no model, but real scores and prompts."""
    z, y, x = np.mgrid[:9, :24, :24]
    truth = (z - 4) ** 2 * 4 + (y - 12) ** 2 + (x - 11) ** 2 < 49
    settings = Settings()
    prompts = simulate(truth, mode, key="S1")
    image = np.where(truth, 300.0, 100.0).astype(np.float32)
    return CaseRecord(
        case=Case("S1", "t1ce", "WT", mode),
        scores=score_case(np.roll(truth, 1, axis=2), truth, (1.0, 1.0, 1.0), prompts, settings),
        key_slices=tuple(prompt.key_slice for prompt in prompts),
        grade="HGG",
        seconds=1.5,
        data="0123456789abcdef",
        diagnosis="leak: too much",
        prompts=tuple(prompt.to_json() for prompt in prompts),
        controls=score_controls(image, truth, prompts, "bidirectional", settings),
    )


@pytest.mark.parametrize("mode", ["box", "point", "points3", "box+point", "mask"])
def test_a_scored_record_is_valid_as_it_stands_in_the_file(tmp_path, mode):
    writer = RunWriter(tmp_path / "run", made_header())
    writer.append(scored_record(mode))
    writer.close()
    (line,) = (tmp_path / "run" / "cases.jsonl").read_text().splitlines()
    assert faults(json.loads(line), "CaseRecord") == []


def test_scores_that_are_not_finite_and_an_absent_region_are_valid(make_record):
    for record in (make_record(dice=math.nan), make_record(dice=-math.inf), make_record(slices=())):
        assert faults(json.loads(json.dumps(record.to_json(), allow_nan=False)), "CaseRecord") == []


def test_a_real_header_is_valid(tmp_path):
    image = tmp_path / "S1_t1ce.nii"
    image.write_bytes(b"x")
    configuration = Configuration(
        Settings(noises=("jitter3-seed1",)),
        PhantomCohort(tmp_path),
        tmp_path / "run",
        device="cpu",
        brats_root=tmp_path,
    )
    subject = Subject("S1", {"t1ce": ImageFile(image)}, image, "brats2018", "brats2019")
    identity = CheckpointIdentity(name="embedded", sha256="0" * 64, architecture="embedded", image_size=128)
    # what would need a cohort and a checkpoint
    configuration.__dict__.update(cohort=(subject,), checkpoint_identity=identity)
    writer = RunWriter(tmp_path / "run", configuration.header())
    writer.close()
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    assert faults(header, "RunHeader") == []
    assert header.keys() == DOCUMENT["$defs"]["RunHeader"]["properties"].keys()
    without = {"refine", "refine_rule"}  # of a run with corrections alone
    assert header["settings"].keys() == DOCUMENT["$defs"]["Settings"]["properties"].keys() - without


def test_the_schema_names_every_field_of_a_record():
    fields = {field.name for field in dataclasses.fields(CaseRecord)} | {"id"}
    assert DOCUMENT["$defs"]["CaseRecord"]["properties"].keys() == fields
    assert DOCUMENT["$defs"]["RunHeader"]["properties"]["schema"]["maximum"] == SCHEMA


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {"dice": 0.5}},
        {"scores": {"brats2019/dice@volume": None}},
        {"key_slices": [-1]},
        {"key_slices": [1.5]},
        {"case": {"subject": "S1", "modality": "t1ce", "region": "WTF", "prompt": "box", "protocol": "forward"}},
        {"case": {"subject": "S1"}},
        {"seconds": True},
        {"data": "xyz"},
    ],
)
def test_the_schema_can_say_no(make_record, change):
    data = json.loads(json.dumps(make_record().to_json()))
    assert faults(data, "CaseRecord") == []
    assert faults({**data, **change}, "CaseRecord")
