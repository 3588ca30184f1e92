"""Baseline files: the scores of accepted runs, in a small sorted text file that is committed and read by people.

A file holds a set of scores for each kind of device and precision, because rounding differs between them. Each set
carries its anchor: the scores that were first accepted, or last forced. Without it, many small drops, each accepted,
would add up to a large one. Only `accept` writes such a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medsam_core.decoding import Malformed, check_version, finite_or_text, number, parse, read_content, shape
from medsam_core.errors import GateError
from medsam_core.files import shipped_folders, write_whole
from medsam_core.gates.baseline import Baseline, BaselineCase, Identity
from medsam_core.gates.statistics import DECIMALS
from medsam_core.outcome import Outcome
from medsam_core.plausibility import contradictions, in_cases

SCHEMA = 2
FOLDER = Path("benchmarks/baselines")
SHIPPED = shipped_folders("baselines")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class _Scores:
    """One set, or the anchor of one."""

    identity: Identity
    cases: Mapping[str, BaselineCase]


@dataclass(frozen=True)
class _Set(_Scores):
    anchor: _Scores | None = None


@dataclass(frozen=True)
class _File:
    name: str
    sets: Mapping[str, _Set]
    """By `Identity.kind`."""


@dataclass(frozen=True)
class _OneSet(_Scores):
    """A file of schema 1."""

    name: str


def read_baseline(path: Path | str, kind: str | None = None) -> Baseline:
    """The set of that kind in a baseline file; if it has none, the most similar one. Raises GateError.

    kind: as `Identity.kind`. Another set is chosen by its device, then fp32 before bf16.
    """
    sets = read_sets(path)
    device = (kind or "").replace(",", " ").split(" ")[0]
    return min(
        sets.items(), key=lambda one: (one[0] != kind, not one[0].startswith(device), "fp32" not in one[0], one[0])
    )[1]


def read_sets(path: Path | str) -> dict[str, Baseline]:
    """Every set of a baseline file, by kind. Raises GateError if it is missing, damaged or of a newer schema."""
    path, what, fix = Path(path), "a baseline", "give a baseline file, or restore it from version control"
    content = read_content(path, what=what, error=GateError, fix=fix)
    try:
        data = parse(content)
        if not isinstance(data, dict):
            raise Malformed("got a list" if isinstance(data, list) else f"got {type(data).__name__}")
        check_version(path, data.get("schema"), SCHEMA, error=GateError)
        if "name" not in data:
            raise Malformed("lacks the field name")
        if data["schema"] == 1:
            only = shape(_numbers(data), _OneSet)
            stored = _File(only.name, {only.identity.kind: _Set(only.identity, only.cases)})
        else:
            sets = data.get("sets")
            for one in sets.values() if isinstance(sets, dict) else ():
                _numbers(_numbers(one).get("anchor"))
            stored = shape(data, _File)
        if not stored.sets:
            raise Malformed("sets: got none")
        for kind, one in stored.sets.items():
            if kind != one.identity.kind:
                raise Malformed(f"sets.{kind}: got scores of {one.identity.kind}")
    except Malformed as problem:
        raise GateError(f"{path}: {problem}, expected {what}; {fix}.") from None
    return {kind: _baseline(stored.name, one, tuple(stored.sets)) for kind, one in stored.sets.items()}


def _baseline(name: str, stored: _Set, kinds: tuple[str, ...]) -> Baseline:
    found: dict[str, list[str]] = {}
    for case, one in stored.cases.items():
        for what in contradictions(one.scores, tolerance=10**-DECIMALS * 10):  # the scores are rounded
            found.setdefault(what, []).append(case)
    identity, anchor = stored.identity, stored.anchor
    unfit: tuple[str, ...] = ()
    if not identity.forced and identity.outcome != Outcome.PASS.value:  # a person who forced it has seen why
        unfit = (f"ended as {identity.outcome}" if identity.outcome else "has no verdict",)
    return Baseline(
        name,
        identity,
        stored.cases,
        doubts=tuple(in_cases(found)),
        unfit=unfit,
        anchor=None if anchor is None else Baseline(f"the anchor of {name}", anchor.identity, anchor.cases),
        kinds=kinds,
    )


def _numbers(stored: Any) -> Any:
    """A set with numbers for the scores that are written as text because they are not finite."""
    cases = stored.get("cases") if isinstance(stored, dict) else None
    for case in cases.values() if isinstance(cases, dict) else ():
        if isinstance(case, dict) and isinstance(case.get("scores"), dict):
            case["scores"] = {key: number(value) for key, value in case["scores"].items()}
    return stored if isinstance(stored, dict) else {}


def find_baseline(name: str, folder: Path = FOLDER) -> Path | None:
    """The file of that name in `folder`, for the default folder also in this package; None if there is none."""
    places = (folder, *SHIPPED) if folder == FOLDER else (folder,)
    return next((path for place in places if (path := baseline_path(name, place)).is_file()), None)


def write_baseline(baseline: Baseline, folder: Path = FOLDER, *, others: Collection[Baseline] = ()) -> Path:
    """Write `folder`/NAME.json, whole or not at all, for `accept` alone. Raises GateError for a bad name or folder.

    others: the sets of other kinds that the file is to keep.
    """
    path = baseline_path(baseline.name, folder)
    text = text_of(baseline.name, {one.identity.kind: one for one in (*others, baseline)})
    write_whole(path, text, error=GateError, fix="choose another --baselines folder", make_folder=True)
    return path


def text_of(name: str, sets: Mapping[str, Baseline]) -> str:
    """The file: JSON, sorted, with one line per case, so that a diff shows which cases changed."""
    stored = {
        kind: {**_tree(one), "anchor": None if one.anchor is None else _tree(one.anchor)}
        for kind, one in sorted(sets.items())
    }
    return lines_of_json({"schema": SCHEMA, "name": name, "sets": stored}, rows=("cases",))


def _tree(one: Baseline) -> dict[str, Any]:
    cases = {
        case: {**asdict(known), "scores": {key: finite_or_text(value) for key, value in known.scores.items()}}
        for case, known in sorted(one.cases.items())
    }
    return {"identity": one.identity.to_json(), "cases": cases}


def lines_of_json(tree: Mapping[str, Any], rows: Collection[str]) -> str:
    """JSON for a file that is committed, with a line for each entry of a mapping whose key is in `rows`."""
    return _lines(tree, rows) + "\n"


def _lines(value: Any, rows: Collection[str]) -> str:
    if not isinstance(value, Mapping) or not _holds(value, rows):
        return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    parts = []
    for key, one in value.items():
        if key in rows and isinstance(one, Mapping):
            lines = [f"  {json.dumps(k)}: {json.dumps(row, sort_keys=True, allow_nan=False)}" for k, row in one.items()]
            parts.append(f"{json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n}")
        else:
            parts.append(f"{json.dumps(key, ensure_ascii=False)}: {_lines(one, rows)}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _holds(value: Any, rows: Collection[str]) -> bool:
    return isinstance(value, Mapping) and any(key in rows or _holds(one, rows) for key, one in value.items())


def baseline_path(name: str, folder: Path = FOLDER) -> Path:
    """Where the baseline of that name is, or would be. Raises GateError if the name is no file name."""
    if not NAME.fullmatch(name):
        raise GateError(
            f"baseline name {name!r}: expected letters, digits and ._+-, no spaces or slashes; choose another name."
        )
    return folder / f"{name}.json"
