"""What a run is compared with: the scores of an accepted run or of any other, as values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.gates.statistics import DECIMALS, can_get_worse
from medsam_core.header import CheckpointIdentity, Environment, GatesIdentity, PredictorName
from medsam_core.outcome import Outcome
from medsam_core.runs import Run


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
    judged_against: tuple[str, ...] = ()
    """What it was compared with when it was accepted, a sentence each."""

    @property
    def sha256(self) -> str | None:
        """Of the checkpoint."""
        return self.checkpoint.sha256 if self.checkpoint else None

    @property
    def hardware(self) -> str:
        """`cpu`, or a GPU by its model: `cuda NVIDIA H200`. Models round differently; processors hardly do in fp32."""
        device = str(self.device).split(":")[0]  # `cuda` of `cuda:1`
        return " ".join(filter(None, (device, self.environment.gpu if device == "cuda" else None)))

    @property
    def kind(self) -> str:
        """Device and precision, which name a set of a baseline: `cuda NVIDIA H200, bf16`."""
        return f"{self.hardware}, {self.precision}"

    @property
    def machine(self) -> str:
        """What noise depends on: `cuda, NVIDIA H200, bf16`."""
        kind = str(self.device).split(":")[0]
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
    unfit: tuple[str, ...] = ()
    """Why no bound may refer to it: `ended as FAIL`."""
    anchor: Baseline | None = None
    """The scores first accepted under its name, or last forced; None if they are these."""
    kinds: tuple[str, ...] = ()
    """Every kind that its file has scores of; () for a run."""

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


def identity_of(run: Run) -> Identity:
    """What the header says about the run's settings, checkpoint and data."""
    header = run.header
    settings = header.settings.to_json()
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
