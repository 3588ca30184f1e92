"""docs/run.schema.json against what is really written."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from medsam_core.cases import Case, CaseRecord, Settings
from medsam_core.data.cohort import ImageFile, Subject
from medsam_core.evaluation.subject import score_case, score_controls
from medsam_core.header import CheckpointIdentity
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.prompts.simulation import simulate
from medsam_core.runs import SCHEMA, RunWriter
from tests.headers import made_header

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "run.schema.json").read_text(encoding="utf-8"))
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}


def faults(value, schema, where="$"):
    """What of the value the schema does not allow: the keywords that docs/run.schema.json uses, and no others."""
    known = {"description", "title", "$defs", "$schema", "type", "enum", "oneOf", "$ref", "properties", "required"}
    known |= {"additionalProperties", "propertyNames", "items", "minItems", "maxItems", "uniqueItems"}
    known |= {"minimum", "maximum", "pattern", "minLength"}
    assert schema.keys() <= known, schema.keys() - known
    if "$ref" in schema:
        return faults(value, DOCUMENT["$defs"][schema["$ref"].rsplit("/", 1)[1]], where)
    if "oneOf" in schema:
        fitting = [one for one in schema["oneOf"] if not faults(value, one, where)]
        return [] if len(fitting) == 1 else [f"{where}: fits {len(fitting)} of oneOf"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r} is not in {schema['enum']}"]
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(
        isinstance(value, TYPES[t]) and (t == "boolean") == (value is True or value is False) for t in types
    ):
        return [f"{where}: {value!r} is not {types}"]
    found = []
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{where}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        found.append(f"{where}: too short")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{where}: {value} is out of range")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
            found.append(f"{where}: {len(value)} items")
        if schema.get("uniqueItems") and len(set(value)) < len(value):
            found.append(f"{where}: repeated items")
        for index, item in enumerate(value):
            found += faults(item, schema.get("items", {}), f"{where}[{index}]")
    if isinstance(value, dict):
        found += [f"{where}: lacks {key}" for key in schema.get("required", ()) if key not in value]
        for key, item in value.items():
            found += faults(key, schema.get("propertyNames", {}), f"{where}.{key} (name)")
            rest = schema.get("additionalProperties", {})
            if key in schema.get("properties", {}):
                found += faults(item, schema["properties"][key], f"{where}.{key}")
            elif rest is False:
                found.append(f"{where}: unknown key {key}")
            else:
                found += faults(item, rest, f"{where}.{key}")
    return found


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
    assert faults(json.loads(line), DOCUMENT["$defs"]["record"]) == []
    assert faults(json.loads(line), DOCUMENT) == []


def test_scores_that_are_not_finite_and_an_absent_region_are_valid(make_record):
    for record in (make_record(dice=math.nan), make_record(dice=-math.inf), make_record(slices=())):
        assert faults(json.loads(json.dumps(record.to_json(), allow_nan=False)), DOCUMENT["$defs"]["record"]) == []


def test_a_real_header_is_valid(tmp_path):
    image = tmp_path / "S1_t1ce.nii"
    image.write_bytes(b"x")
    configuration = Configuration(
        Settings(), PhantomCohort(tmp_path), tmp_path / "run", device="cpu", brats_root=tmp_path
    )
    subject = Subject("S1", {"t1ce": ImageFile(image)}, image, "brats2018", "brats2019")
    identity = CheckpointIdentity(name="embedded", sha256="0" * 64, architecture="embedded", image_size=128)
    # what would need a cohort and a checkpoint
    configuration.__dict__.update(cohort=(subject,), checkpoint_identity=identity)
    writer = RunWriter(tmp_path / "run", configuration.header())
    writer.close()
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    assert faults(header, DOCUMENT["$defs"]["header"]) == []
    assert header.keys() == DOCUMENT["$defs"]["header"]["properties"].keys()
    assert header["settings"].keys() == DOCUMENT["$defs"]["header"]["properties"]["settings"]["properties"].keys()


def test_the_schema_names_every_field_of_a_record():
    fields = {field.name for field in dataclasses.fields(CaseRecord)} | {"id"}
    assert DOCUMENT["$defs"]["record"]["properties"].keys() == fields
    assert DOCUMENT["$defs"]["header"]["properties"]["schema"]["maximum"] == SCHEMA


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
    assert faults(data, DOCUMENT["$defs"]["record"]) == []
    assert faults({**data, **change}, DOCUMENT["$defs"]["record"])
