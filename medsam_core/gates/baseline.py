"""Baselines: the scores of an accepted run, in a small sorted text file that is committed and read by people.

Only `accept` writes one. It refuses a run that is not a PASS, and a run that is not shown to be as good as the
baseline it would replace, unless a person forces it.
"""

from __future__ import annotations

import contextlib
import difflib
import filecmp
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.errors import GateError
from medsam_core.gates.statistics import DECIMALS
from medsam_core.metrics import METRICS
from medsam_core.runs import CASES, HEADER, VERDICT, Run, read_run

SCHEMA = 1
FOLDER = Path("benchmarks/baselines")
_PACKAGE = Path(__file__).parent.parent
SHIPPED = (_PACKAGE / "baseline_files", _PACKAGE.parent / "benchmarks" / "baselines")  # in a wheel, in the checkout
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class BaselineCase:
    """One case: whether the model was asked, a digest of how, and scores rounded to DECIMALS by score key.

    data: the record's digest of what was read, "" in a run that did not record it.
    """

    prompted: bool
    prompts: str
    scores: Mapping[str, float]
    data: str = ""


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with: an accepted run, or for `compare` any other run.

    identity: created, outcome, checkpoint, cohort, profile, settings, device, precision, environment: built-in types.
    cases: by case id.
    """

    name: str
    identity: Mapping[str, Any]
    cases: Mapping[str, BaselineCase]

    @classmethod
    def of(cls, run: Run, name: str | None = None, **identity: Any) -> Baseline:
        """The baseline that a run would make; `identity` adds to or replaces what its header says."""
        return cls(
            name or run.directory.name,
            {**identity_of(run), **identity},
            {record.id: baseline_case(record) for record in sorted(run.records, key=lambda record: record.id)},
        )

    def text(self) -> str:
        """The file: JSON, sorted, one line per case, so that a change shows as the lines of the cases it is about."""
        identity = json.dumps(self.identity, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        cases = [
            f"  {json.dumps(case)}: "
            + json.dumps(
                {**asdict(one), "scores": {key: _number(value) for key, value in one.scores.items()}},
                sort_keys=True,
                allow_nan=False,
            )
            for case, one in sorted(self.cases.items())
        ]
        return (
            f'{{\n"schema": {SCHEMA},\n"name": {json.dumps(self.name)},\n"identity": {identity},\n'
            '"cases": {\n' + ",\n".join(cases) + "\n}\n}\n"
        )


def identity_of(run: Run) -> dict[str, Any]:
    """What the header says about the question asked and about what answered it; a missing key becomes None."""
    header = run.header
    checkpoint, cohort, environment = (header.get(name) or {} for name in ("checkpoint", "cohort", "environment"))
    settings = dict(header.get("settings") or {})
    return {
        "created": header.get("created"),
        "checkpoint": {key: checkpoint.get(key) for key in ("name", "sha256", "architecture", "image_size")},
        # the folder's last name alone: where a machine keeps its data is not for a committed file
        "cohort": {
            **{key: cohort.get(key) for key in ("fingerprint", "labels", "layouts")},
            "root": Path(str(cohort.get("root"))).name,
            "subjects": len(cohort.get("subjects") or ()),
        },
        "profile": settings.pop("profile", None),
        "settings": settings,
        "device": header.get("device"),
        "precision": header.get("precision"),
        "gates": header.get("gates"),
        "environment": {key: environment.get(key) for key in ("commit", "cpu", "gpu", "medsam_core", "sam2", "torch")},
    }


def baseline_case(record: CaseRecord) -> BaselineCase:
    """The part of a record that a comparison needs: scores of the metrics that can get better, and the truth's volume.

    Numbers are rounded to DECIMALS; both sides of a comparison are, so identical runs differ by exactly 0.
    """
    scores = {}
    for key, value in record.scores.items():
        name = key.split("/", 1)[-1].split("@", 1)[0]
        known = METRICS.get(name)
        if key.endswith("/truth_volume_ml@volume") or (known is not None and known.better != "neither"):
            scores[key] = round(value, DECIMALS) if math.isfinite(value) else value
    # keys are sorted because a record read back from disk may hold them in another order
    asked = json.dumps([dict(prompt) for prompt in record.prompts] or list(record.key_slices), sort_keys=True)
    return BaselineCase(record.prompted, hashlib.sha256(asked.encode()).hexdigest()[:16], scores, record.data)


def read_baseline(path: Path | str) -> Baseline:
    """Read a baseline file. Raises GateError if it is missing, damaged or of a newer schema."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data["schema"]
        if schema <= SCHEMA:
            return _checked(data)
    except OSError as error:
        raise GateError(f"{path}: cannot be read ({error.strerror}); give a baseline or accept a run as one.") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise GateError(f"{path}: is no baseline ({error!r}); restore it from version control.") from None
    raise GateError(f"{path}: has schema {schema}, this version reads up to {SCHEMA}; upgrade medsam-core.")


def _checked(data: Mapping[str, Any]) -> Baseline:
    """The baseline in a file's JSON. Raises one of the errors that `read_baseline` catches if it holds none."""
    identity = data["identity"]
    cases = {
        case: BaselineCase(**{**one, "scores": {key: float(value) for key, value in one["scores"].items()}})
        for case, one in data["cases"].items()
    }
    _check_type("name", data["name"], str)
    _check_type("identity", identity, dict)
    for key in ("checkpoint", "cohort", "settings", "environment"):
        _check_type(key, identity.get(key) or {}, dict)
    for one in cases.values():
        for key, kind in (("prompted", bool), ("prompts", str), ("data", str)):
            _check_type(key, getattr(one, key), kind)
    return Baseline(data["name"], identity, cases)


def _check_type(what: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{what}: got {type(value).__name__}, expected {kind.__name__}")


def find_reference(text: Path | str, folder: Path = FOLDER) -> Baseline:
    """A baseline by name or file, or a run by its directory. Raises GateError or RunError in one sentence."""
    path = Path(text)
    if (path / HEADER).is_file():
        return Baseline.of(read_run(path), outcome=_outcome(path))
    if path.is_file():
        return read_baseline(path)
    named = find_baseline(str(text), folder) if _NAME.fullmatch(str(text)) else None
    if named is not None:
        return read_baseline(named)
    known = sorted(one.stem for one in folder.glob("*.json"))
    close = difflib.get_close_matches(str(text), known, n=1)
    mend = f"did you mean {close[0]!r}?" if close else "give one of these, or a run's directory."
    raise GateError(
        f"{text}: neither a run, a baseline file nor a name in {folder} ({', '.join(known) or 'it has none'}); {mend}"
    )


def _outcome(directory: Path) -> str | None:
    """How a run's own session ended, None if it did not or its verdict cannot be read."""
    try:
        return str(json.loads((directory / VERDICT).read_text(encoding="utf-8"))["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refuse_itself(reference: Path | str, directory: Path) -> None:
    """Raise GateError if `reference` is the run in `directory`, or a copy of it: no bound is broken against itself."""
    path = Path(reference)
    if not (path / HEADER).is_file():  # a name, even if the run's folder has the same
        return
    if path.resolve() == directory.resolve() or all(_same(path / name, directory / name) for name in (HEADER, CASES)):
        raise GateError(
            f"baseline {reference}: is the run {directory} itself, expected another, because against itself every run "
            "holds; give --baseline an accepted baseline or an earlier run."
        )


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def find_baseline(name: str, folder: Path = FOLDER) -> Path | None:
    """The file of that name in `folder`, or, unless a folder of one's own is named, among those that come with this
    package; None if there is none. Raises GateError if the name is no file name."""
    places = (folder, *SHIPPED) if folder == FOLDER else (folder,)
    return next((path for place in places if (path := baseline_path(name, place)).is_file()), None)


def write_baseline(baseline: Baseline, folder: Path = FOLDER) -> Path:
    """Write `folder`/NAME.json, whole or not at all. Raises GateError for a bad name or an unwritable folder.

    For `accept` alone: nothing else in this package may call it (a test holds that).
    """
    path = baseline_path(baseline.name, folder)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(baseline.text(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise GateError(f"{path}: cannot be written ({error.strerror}); choose another --baselines folder.") from None
    return path


def _number(value: float) -> float | str:
    """Strict JSON knows no NaN and no infinity; they are written as a record writes them."""
    return value if math.isfinite(value) else str(value)


def baseline_path(name: str, folder: Path = FOLDER) -> Path:
    """Where the baseline of that name is or would be. Raises GateError if the name is no file name."""
    if not _NAME.fullmatch(name):
        raise GateError(f"baseline name {name!r}: expected letters, digits and ._+-, no blanks or slashes; mend --as.")
    return folder / f"{name}.json"
