"""What is asked and what comes out: a `Case`, the `Settings` that make and score cases, and the `CaseRecord` of one.

Values alone: no image is read and no model asked here, so that runs, gates and reports need no more than this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medsam_core.data.regions import CONVENTIONS, REGIONS
from medsam_core.errors import OptionError
from medsam_core.metrics import METRICS, PROFILES
from medsam_core.modalities import MODALITIES
from medsam_core.prompts.prompt import KEY_SLICES, MODES, PROTOCOLS

SCOPES = ("volume", "region_slices", "key_slice")
CONTROL_METRICS, CONTROL_SCOPES = ("dice", "iou"), ("volume", "key_slice")


@dataclass(frozen=True, order=True)
class Case:
    """One subject × modality × region × prompt mode × protocol: what one test of the gate scores."""

    subject: str
    modality: str
    region: str
    prompt: str
    protocol: str = "bidirectional"

    @property
    def id(self) -> str:
        """Stable, readable and sortable: `Brats18_2013_21_1/t1ce/WT/box`; the protocol is added unless default."""
        parts = [self.subject, self.modality, self.region, self.prompt]
        if self.protocol != "bidirectional":
            parts.append(self.protocol)
        return "/".join(parts)


@dataclass(frozen=True)
class Settings:
    """How cases are made, prompted and scored; the same for every case of a run and written into it.

    key_slice: `largest`, `middle` or `first` slice of the region; the protocol `forward` always takes `first`.
    jitter_voxels: half-width of the uniform jitter of boxes and points, ≥ 0.
    per_component: one prompt for each connected component of the region instead of one for all.
    labels: a label convention's name, or None for each subject's own.
    """

    modalities: tuple[str, ...] = ("t1ce",)
    regions: tuple[str, ...] = REGIONS
    prompts: tuple[str, ...] = ("box", "point")
    protocols: tuple[str, ...] = ("bidirectional",)
    key_slice: str = "largest"
    jitter_voxels: float = 0.0
    per_component: bool = False
    seed: int = 0
    labels: str | None = None
    profile: str = "brats2019"
    metrics: tuple[str, ...] = (
        "dice",
        "iou",
        "sensitivity",
        "precision",
        "volume_ml",
        "truth_volume_ml",
        "volume_difference_ml",
    )

    def __post_init__(self) -> None:
        for what, chosen, known in (
            ("modality", self.modalities, MODALITIES),
            ("region", self.regions, REGIONS),
            ("prompt mode", self.prompts, MODES),
            ("protocol", self.protocols, PROTOCOLS),
            ("key slice", (self.key_slice,), KEY_SLICES),
            ("profile", (self.profile,), tuple(PROFILES)),
            ("metric", self.metrics, tuple(METRICS)),
            ("label convention", (self.labels,) if self.labels else (), tuple(CONVENTIONS)),
        ):
            check_choices(what, chosen, known)
        if not self.jitter_voxels >= 0 or not np.isfinite(self.jitter_voxels):
            raise OptionError(
                f"jitter: got {self.jitter_voxels}, expected a finite number of voxels ≥ 0; mend --jitter."
            )

    def cases(self, subject: str) -> tuple[Case, ...]:
        """Every case of one subject under these settings, in a fixed order."""
        return tuple(
            Case(subject, modality, region, prompt, protocol)
            for modality in self.modalities
            for region in self.regions
            for prompt in self.prompts
            for protocol in self.protocols
        )


def check_choices(what: str, chosen: Sequence[str], known: Sequence[str]) -> None:
    """Raise OptionError if `chosen` is empty, repeats itself or holds something that is not in `known`."""
    if not chosen and what != "label convention":
        raise OptionError(f"{what}: got none, expected at least one of {', '.join(known)}; name one.")
    for one in chosen:
        if one not in known:
            raise OptionError(f"unknown {what} {one!r}: expected one of {', '.join(known)}; mend the spelling.")
    if len(set(chosen)) != len(chosen):
        raise OptionError(f"{what}: got {', '.join(chosen)} with a repetition, expected each once; remove the copy.")


@dataclass(frozen=True)
class CaseRecord:
    """What one case gave: scores, where it was prompted, and what is needed to judge it later without the images.

    scores: `"<profile>/<metric>@<scope>"` → value, e.g. `"brats2019/dice@volume"`; units as in `metrics.METRICS`.
    key_slices: the prompted axial slices, () if the region is absent: then nothing was prompted, the prediction is
        empty, and the profile's rule for two empty masks gives the scores.
    seconds: wall time of the subject's reading, encoding, tracking and scoring, shared equally among its cases.
    data: BLAKE2b (16 hex digits) of what was read: the image's voxels, the label map and the spacing, so that a run on
        other data under the same names is not taken for the same.
    overlay, mask: paths inside the run directory. diagnosis: why a case that broke a gate did so.
    prompts: what was asked, as `Prompt.to_json` gives it: enough to ask the same again.
    controls: what needs no model (`controls.CONTROLS`), by name, scored as `score_controls` says; {} if not prompted.
    """

    case: Case
    scores: Mapping[str, float]
    key_slices: tuple[int, ...]
    grade: str | None = None
    site: str | None = None
    labels: str = ""
    seconds: float | None = None
    data: str = ""
    overlay: str | None = None
    mask: str | None = None
    diagnosis: str | None = None
    prompts: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    controls: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The case's id."""
        return self.case.id

    @property
    def prompted(self) -> bool:
        """False if the region is absent from the truth, so that the model was not asked."""
        return bool(self.key_slices)

    def score(self, metric: str, scope: str = "volume", profile: str | None = None) -> float:
        """One score, e.g. `record.score("dice")`. Raises OptionError if the run did not compute it.

        profile: None is the one that the record was scored with.
        """
        key = score_key(profile or self._profile(), metric, scope)
        if key not in self.scores:
            raise OptionError(
                f"{self.id}: no score {key!r}, this run has {', '.join(self.scores)}; choose one of them."
            )
        return self.scores[key]

    def unbeaten_controls(self, metric: str = "dice", scope: str = "volume", profile: str | None = None) -> list[str]:
        """The controls that score at least as much as the model; a NaN beats nothing. [] if there are no controls.

        metric: `dice` or `iou`; scope: `volume` or `key_slice`; profile as in `score`. Raises OptionError if the run
        did not score it.
        """
        key = score_key(profile or self._profile(), metric, scope)
        own = self.score(metric, scope, profile) if self.controls else 0.0
        return [name for name, scores in sorted(self.controls.items()) if key in scores and not own > scores[key]]

    def _profile(self) -> str:
        """The profile of the first score; a run scores by one. "" without scores."""
        return next(iter(self.scores), "").split("/", 1)[0]

    def to_json(self) -> dict[str, Any]:
        """Built-in types only, for strict JSON: a score that is not finite becomes the string nan, inf or -inf."""
        scores = {key: value if np.isfinite(value) else str(float(value)) for key, value in self.scores.items()}
        return {"id": self.id, **dataclasses.asdict(self), "scores": scores}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CaseRecord:
        """The record that `to_json` gave; keys it does not know (of a newer version) are left out."""
        names = {f.name for f in dataclasses.fields(cls)}
        known = {name: value for name, value in data.items() if name in names}
        known["case"] = Case(**data["case"])
        known["scores"] = {key: float(value) for key, value in data["scores"].items()}
        known["key_slices"] = tuple(data["key_slices"])
        known["prompts"] = tuple(data.get("prompts", ()))
        known["notes"] = tuple(data.get("notes", ()))
        known["controls"] = {
            name: {key: float(value) for key, value in scores.items()}
            for name, scores in data.get("controls", {}).items()
        }
        return cls(**known)


def score_key(profile: str, metric: str, scope: str) -> str:
    """The key of a score in a record: `brats2019/dice@volume`."""
    return f"{profile}/{metric}@{scope}"
