"""The JSON Schema of a stored run, from the types that it is decoded to: `python -m medsam_core.run_schema`.

Whoever reads runs without this package finds it as docs/run.schema.json.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
from typing import Any

import msgspec

from medsam_core import header
from medsam_core.cases import CASE_WORDS, Case, CaseRecord
from medsam_core.decoding import NON_FINITE
from medsam_core.metrics.overlap import Counts
from medsam_core.prompts.corrections import StoredCorrection
from medsam_core.prompts.prompt import StoredMask, StoredPrompt

_OF_HEADER = (kind for kind in vars(header).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind))
_TYPES: tuple[type, ...] = (*_OF_HEADER, Case, CaseRecord, Counts, StoredPrompt, StoredMask, StoredCorrection)
"""Everything that is stored; Settings is in the header."""


def run_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `run.json` and of a line of `cases.jsonl`, with each field's docstring."""
    refs = [f"#/$defs/{kind.__name__}" for kind in (header.RunHeader, CaseRecord)]
    _, found = msgspec.json.schema_components((header.RunHeader, CaseRecord), ref_template="#/$defs/{name}")
    definitions: dict[str, Any] = dict(found)
    for kind in _TYPES:
        fields = definitions[kind.__name__]["properties"]
        for name, text in _field_docs(kind).items():
            # draft 2020-12 allows a description next to a $ref
            fields[name] = {**fields[name], "description": text}
    record = definitions["CaseRecord"]
    for scores in (record["properties"]["scores"], record["properties"]["controls"]["additionalProperties"]):
        scores["additionalProperties"] = {"$ref": "#/$defs/Number"}
    record["properties"]["id"] = {"type": "string", "description": "The case's id; its parts are in `case`."}
    record["required"].append("id")
    case = definitions["Case"]["properties"]
    for name, words in CASE_WORDS.items():
        case[name]["enum"] = list(words)
    version = definitions["RunHeader"]["properties"]["schema"]
    version |= {"minimum": 1, "maximum": header.SCHEMA}
    definitions["RunHeader"]["required"].append("schema")
    definitions["Number"] = {
        "description": "A number; one that is not finite is a text.",
        "anyOf": [{"type": "number"}, {"enum": list(NON_FINITE)}],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A stored run of medsam-core, schema {header.SCHEMA}",
        "description": "RunHeader is run.json; CaseRecord is a line of cases.jsonl. A newer version may add keys "
        "within a schema: a reader ignores what it does not know.",
        "anyOf": [{"$ref": ref} for ref in refs],
        "$defs": dict(sorted(definitions.items())),
    }


def _field_docs(kind: type) -> dict[str, str]:
    """Each field's docstring: the text on the line after it."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


if __name__ == "__main__":
    print(json.dumps(run_schema(), indent=1, ensure_ascii=False))
