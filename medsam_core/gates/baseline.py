"""Baselines: the scores of an accepted run, in a small sorted text file that is committed and read by people.

Only `accept` writes one. Unless forced, it refuses a run that is not a PASS, or that is not shown to be as good as the
baseline it would replace.
"""

from __future__ import annotations

import difflib
import filecmp
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.decoding import finite_or_text, number, read_json
from medsam_core.errors import GateError
from medsam_core.files import shipped_folders, write_whole
from medsam_core.gates.statistics import DECIMALS, can_get_worse
from medsam_core.header import CheckpointIdentity, Environment, GatesIdentity, PredictorName
from medsam_core.outcome import Outcome
from medsam_core.plausibility import contradictions, in_cases
from medsam_core.runs import CASES, HEADER, Run, read_run, stored_outcome

SCHEMA = 1
FOLDER = Path("benchmarks/baselines")
SHIPPED = shipped_folders("baselines")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class BaselineCase:
    """One case of a baseline."""

    prompted: bool
    """False if the region is absent."""
    prompts: str
    """A digest of the prompts."""
    scores: Mapping[str, float]
    """By score key, rounded to DECIMALS."""
    data: str = ""
    """As in the record: a digest of the image and the labels, "" if it was not recorded."""


@dataclass(frozen=True, kw_only=True)
class BaselineCohort:
    """The cohort that a baseline was scored on."""

    root: str | None = None
    """The folder's last name alone: a committed file does not say where a machine keeps its data."""
    subjects: int = 0
    fingerprint: str | None = None
    layouts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The settings, checkpoint and data of a baseline's run; None where an older file does not say."""

    created: str | None = None
    predictor: PredictorName = field(default_factory=PredictorName)
    checkpoint: CheckpointIdentity | None = None
    cohort: BaselineCohort = field(default_factory=BaselineCohort)
    profile: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The run's, without the profile."""
    device: str | None = None
    precision: str | None = None
    gates: GatesIdentity | None = None
    environment: Environment = field(default_factory=Environment)
    outcome: str | None = Outcome.PASS.value
    """How the run's session ended; None if it left no verdict. A run in memory, not yet judged, counts as a PASS."""
    forced: bool = False
    """Whether it was accepted against objections."""
    objections: tuple[str, ...] = ()
    reason: str = ""
    """Why a person accepted it."""

    @property
    def sha256(self) -> str | None:
        """Of the checkpoint."""
        return self.checkpoint.sha256 if self.checkpoint else None

    @property
    def machine(self) -> str:
        """What noise depends on: `cuda, NVIDIA H200, bf16`."""
        kind = str(self.device).split(":")[0]  # `cuda` of `cuda:1`
        return f"{kind}, {self.environment.gpu if kind == 'cuda' else self.environment.cpu}, {self.precision}"

    def to_json(self) -> dict[str, Any]:
        """Built-in types; of checkpoint and environment only what a comparison names."""
        tree = asdict(self)
        if tree["checkpoint"]:
            tree["checkpoint"].pop("notes")
        tree["environment"] = {key: tree["environment"][key] for key in _ENVIRONMENT}
        return tree


_ENVIRONMENT = ("commit", "cpu", "gpu", "medsam_core", "sam2", "torch")


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with: an accepted run, or for `compare` any other run."""

    name: str
    identity: Identity
    cases: Mapping[str, BaselineCase]
    """By case id."""
    doubts: tuple[str, ...] = ()
    """Why its scores cannot be believed, a sentence each."""

    def score(self, case: str, key: str) -> float:
        """The score of a case, NaN if it has none or if that is not finite."""
        value = self.cases[case].scores.get(key, math.nan) if case in self.cases else math.nan
        return value if math.isfinite(value) else math.nan

    @classmethod
    def of(cls, run: Run, name: str | None = None, **changes: Any) -> Baseline:
        """The baseline that a run would make. changes: fields of its identity that the header does not know."""
        return cls(
            name or run.directory.name,
            replace(identity_of(run), **changes),
            {record.id: baseline_case(record) for record in sorted(run.records, key=lambda record: record.id)},
            run.doubts,
        )

    def text(self) -> str:
        """The file: JSON, sorted, with one line per case, so that a diff shows which cases changed."""
        cases = {
            case: {**asdict(one), "scores": {key: finite_or_text(value) for key, value in one.scores.items()}}
            for case, one in self.cases.items()
        }
        return lines_of_json(self.name, "identity", self.identity.to_json(), "cases", cases)


def lines_of_json(name: str, about: str, tree: Mapping[str, Any], what: str, rows: Mapping[str, Any]) -> str:
    """Sorted JSON for a file that is committed: schema and name, `tree` under the key `about`, and under the key
    `what` a line for each of `rows`."""
    head = json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    lines = [
        f"  {json.dumps(key)}: {json.dumps(row, sort_keys=True, allow_nan=False)}" for key, row in sorted(rows.items())
    ]
    return (
        f'{{\n"schema": {SCHEMA},\n"name": {json.dumps(name)},\n"{about}": {head},\n"{what}": {{\n'
        + ",\n".join(lines)
        + "\n}\n}\n"
    )


def identity_of(run: Run) -> Identity:
    """What the header says about the run's settings, checkpoint and data."""
    header = run.header
    settings = asdict(header.settings)
    cohort = vars(header.cohort) | {"root": Path(header.cohort.root).name, "subjects": len(header.cohort.subjects)}
    return Identity(
        created=header.created,
        predictor=header.predictor,
        checkpoint=header.checkpoint,
        cohort=BaselineCohort(**cohort),
        profile=settings.pop("profile"),
        settings=settings,
        device=header.device,
        precision=header.precision,
        gates=header.gates,
        environment=header.environment,
    )


def baseline_case(record: CaseRecord) -> BaselineCase:
    """What a comparison needs of a record. Scores are rounded to DECIMALS, so identical runs differ by exactly 0."""
    scores = {
        key: round(value, DECIMALS) if math.isfinite(value) else value
        for key, value in record.scores.items()
        if key.endswith("/truth_volume_ml@volume") or can_get_worse(key.split("/", 1)[-1].split("@", 1)[0])
    }
    # sorted, because a record that was read from disk may hold its keys in another order
    asked = json.dumps([dict(prompt) for prompt in record.prompts] or list(record.key_slices), sort_keys=True)
    return BaselineCase(record.prompted, hashlib.sha256(asked.encode()).hexdigest()[:16], scores, record.data)


def read_baseline(path: Path | str) -> Baseline:
    """Read a baseline file. Raises GateError if it is missing, damaged or of a newer schema."""
    fix = "give a baseline file, or restore it from version control"
    got = read_json(Path(path), Baseline, version=SCHEMA, what="a baseline", error=GateError, fix=fix, prepare=_numbers)
    found: dict[str, list[str]] = {}
    for case, one in got.cases.items():
        for what in contradictions(one.scores, tolerance=10**-DECIMALS * 10):  # the scores are rounded
            found.setdefault(what, []).append(case)
    return replace(got, doubts=tuple(in_cases(found)))


def _numbers(data: Any) -> Any:
    """The file's content with numbers for the scores that are written as text because they are not finite."""
    cases = data.get("cases")
    for case in cases.values() if isinstance(cases, dict) else ():
        if isinstance(case, dict) and isinstance(case.get("scores"), dict):
            case["scores"] = {key: number(value) for key, value in case["scores"].items()}
    return data


def find_reference(text: Path | str, folder: Path = FOLDER) -> Baseline:
    """A baseline by name or file, or a run by its directory. Raises GateError or RunError in one sentence."""
    path = Path(text)
    if (path / HEADER).is_file():
        stored = stored_outcome(path)
        return Baseline.of(read_run(path), outcome=stored and stored.value)
    named = path if path.is_file() else find_baseline(str(text), folder) if _NAME.fullmatch(str(text)) else None
    if named is not None:
        return read_baseline(named)
    known = sorted(one.stem for one in folder.glob("*.json"))
    close = difflib.get_close_matches(str(text), known, n=1)
    fix = f"did you mean {close[0]!r}?" if close else "give one of these, or a run's directory."
    raise GateError(
        f"{text}: neither a run, a baseline file nor a name in {folder} ({', '.join(known) or 'it has none'}); {fix}"
    )


def refuse_itself(reference: Path | str, directory: Path) -> None:
    """Raise GateError if `reference` is the run in `directory` or a copy of it: against itself no bound is broken."""
    path, files = Path(reference), [HEADER, CASES]
    if not (path / HEADER).is_file():  # the name of a baseline, even if the run's folder has the same name
        return
    if path.resolve() == directory.resolve() or filecmp.cmpfiles(path, directory, files, shallow=False)[0] == files:
        raise GateError(
            f"baseline {reference}: is the run {directory} itself, expected another, because against itself every run "
            "passes; give --baseline an accepted baseline or an earlier run."
        )


def find_baseline(name: str, folder: Path = FOLDER) -> Path | None:
    """The file of that name in `folder`, for the default folder also in this package; None if there is none."""
    places = (folder, *SHIPPED) if folder == FOLDER else (folder,)
    return next((path for place in places if (path := baseline_path(name, place)).is_file()), None)


def write_baseline(baseline: Baseline, folder: Path = FOLDER) -> Path:
    """Write `folder`/NAME.json, whole or not at all, for `accept` alone. Raises GateError for a bad name or folder."""
    path = baseline_path(baseline.name, folder)
    write_whole(path, baseline.text(), error=GateError, fix="choose another --baselines folder", make_folder=True)
    return path


def baseline_path(name: str, folder: Path = FOLDER) -> Path:
    """Where the baseline of that name is, or would be. Raises GateError if the name is no file name."""
    if not _NAME.fullmatch(name):
        raise GateError(
            f"baseline name {name!r}: expected letters, digits and ._+-, no spaces or slashes; choose another name."
        )
    return folder / f"{name}.json"
