"""`RunHeader`: what a run was asked, and which weights, data and machine answered. Stored as `run.json`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from medsam_core.settings import Settings

SCHEMA = 3
"""1: records without `counts` and `spacing_mm`. 3: a shard, which a version that reads up to 2 would judge as whole."""
WHOLE_SCHEMA = 2
"""Of a run that is no shard."""


@dataclass(frozen=True, kw_only=True)
class PredictorName:
    """The code that ran the weights; runs from before there was a choice have the default."""

    name: str = "engine"
    """With its post-processing, such as "engine+fill-holes:8"."""
    version: str = ""
    """Of the code; "" where it is not recorded."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


@dataclass(frozen=True, kw_only=True)
class CheckpointIdentity:
    """The weights that were run, or whatever else the predictor runs, such as a program."""

    name: str
    """The file's name, the name it was asked for by, or the predictor's own name if its weights have none."""
    sha256: str
    """Of the file, in hex."""
    architecture: str | None = None
    image_size: int | None = None
    """Side of the square image that the model sees, in pixels."""
    notes: tuple[str, ...] = ()
    """What was guessed about the weights, a sentence each."""


@dataclass(frozen=True, kw_only=True)
class CohortIdentity:
    """The subjects and their data."""

    root: str
    """The folder as it was given; of the phantom cohort its name alone."""
    subjects: tuple[str, ...]
    """Ids, sorted."""
    fingerprint: str
    """SHA-256 of the names and the contents of every file of every subject."""
    layouts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Names of the label conventions."""


@dataclass(frozen=True, kw_only=True)
class GatesIdentity:
    """The gates file that the run was judged by."""

    file: str
    """Its name, without folder."""
    sha256: str
    """Of its bytes, in hex."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What `auto` came to and why, for the reader; "" where it is not recorded."""

    device: str = ""
    precision: str = ""
    threads: str = ""
    compiled: str = ""
    """ "asked for" with --medsam-compile, else ""."""
    options: str = ""
    """The options that pytest's configuration file set, and those of them that the command line replaced."""
    ambient: str = ""
    """What the process was set to and what was set aside while the model worked, such as autocast."""
    workers: tuple[str, ...] = ()
    """The device of each worker of pytest-xdist, in the order of their numbers; () without workers."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions and hardware that a score or a latency may depend on; None where it is not recorded."""

    python: str | None = None
    platform: str | None = None
    host: str | None = None
    """The machine's name; of a shard alone."""
    cpu: str | None = None
    gpu: str | None = None
    cuda: str | None = None
    medsam_core: str | None = None
    commit: str | None = None
    """Of the repository that the session ran in; None if it is in none or has no commit."""
    dirty: bool | None = None
    """Whether a tracked file differed from the commit."""
    source: str | None = None
    """SHA-256 of this package's own source files, in hex: a change that is not committed shows, too."""
    predictor_source: str | None = None
    """SHA-256 of the source files of what predicts; of the engine those of sam2."""
    torch: str | None = None
    sam2: str | None = None
    numpy: str | None = None
    scipy: str | None = None
    nibabel: str | None = None
    pytest: str | None = None


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Which part of the cohort a run scored."""

    number: Annotated[int, Meta(ge=1)]
    """From 1."""
    of: Annotated[int, Meta(ge=1)]
    """How many shards the cohort is divided into."""

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, kw_only=True)
class ShardRun:
    """What a merged run keeps of one shard: all that may differ between shards."""

    number: int
    """Of the shard, from 1."""
    created: str
    """ISO 8601 with time zone."""
    command: tuple[str, ...] = ()
    """As typed."""
    device: str
    """As torch names it."""
    decided: Decisions = field(default_factory=Decisions)
    environment: Environment = field(default_factory=Environment)


@dataclass(frozen=True, kw_only=True)
class RunHeader:
    """`run.json`."""

    schema: int = WHOLE_SCHEMA
    """Version of the stored form."""
    created: str
    """ISO 8601 with time zone."""
    command: tuple[str, ...] = ()
    """As typed."""
    settings: Settings
    """How the cases were made, prompted and scored."""
    predictor: PredictorName = field(default_factory=PredictorName)
    checkpoint: CheckpointIdentity
    device: str
    """As torch names it: cpu, cuda, cuda:1."""
    precision: str
    """fp32 or bf16."""
    decided: Decisions = field(default_factory=Decisions)
    cohort: CohortIdentity
    plan: tuple[str, ...]
    """The id of every case that was to be scored."""
    gates: GatesIdentity | None = None
    """None: no gates."""
    baseline: str | None = None
    """What --medsam-baseline named, None if nothing."""
    prompts_from: str | None = None
    """SHA-256 of the prompt manifest that was replayed, None if the prompts were simulated."""
    environment: Environment = field(default_factory=Environment)
    shard: Shard | None = None
    """Which part of the cohort `plan` is; None: all of it."""
    shards: tuple[ShardRun, ...] = ()
    """The shards that `medsam-core merge` made the run of; () for any other run."""

    def to_json(self) -> dict[str, Any]:
        """Built-in types only."""
        return {**dataclasses.asdict(self), "settings": self.settings.to_json()}
