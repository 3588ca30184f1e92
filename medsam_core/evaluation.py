"""A case from its subject's files to its record: read, prompt, segment, score.

All cases of a subject that share a modality share one reading and one encoding of its slices, and their prompts
advance through the volume in one batch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from medsam_core.data.cohort import Subject, load
from medsam_core.data.regions import CONVENTIONS, REGIONS, region_mask
from medsam_core.errors import DataError, OptionError, PromptError
from medsam_core.inference.controls import CONTROLS
from medsam_core.inference.prompts import KEY_SLICES, MODES, PROTOCOLS, Prompt, simulate
from medsam_core.metrics import METRICS, PROFILES, score
from medsam_core.metrics.overlap import Counts, dice, iou

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume
    from medsam_core.inference.predictor import Predictor

MODALITIES = ("t1ce", "t1", "t2", "flair")
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

    def score(self, metric: str, scope: str = "volume", profile: str = "brats2019") -> float:
        """One score, e.g. `record.score("dice")`. Raises OptionError if the run did not compute it."""
        key = score_key(profile, metric, scope)
        if key not in self.scores:
            raise OptionError(
                f"{self.id}: no score {key!r}, this run has {', '.join(self.scores)}; choose one of them."
            )
        return self.scores[key]

    def unbeaten_controls(self, metric: str = "dice", scope: str = "volume", profile: str = "brats2019") -> list[str]:
        """The controls that score at least as much as the model; a NaN beats nothing. [] if there are no controls.

        metric: `dice` or `iou`; scope: `volume` or `key_slice`. Raises OptionError if the run did not score it.
        """
        key = score_key(profile, metric, scope)
        own = self.score(metric, scope, profile) if self.controls else 0.0
        return [name for name, scores in sorted(self.controls.items()) if key in scores and not own > scores[key]]

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


@dataclass(frozen=True, eq=False)
class CaseResult:
    """A record together with what it was made from, alive only while its subject is: for overlays and masks.

    prediction, truth: (D, H, W) bool. prompts: what was asked, () if the region is absent.
    """

    record: CaseRecord
    image: Volume
    prediction: np.ndarray
    truth: np.ndarray
    prompts: tuple[Prompt, ...]


def evaluate_subject(
    subject: Subject,
    cases: Iterable[Case],
    predictor: Predictor,
    settings: Settings,
    *,
    replay: Mapping[str, tuple[Prompt, ...]] | None = None,
) -> Iterator[CaseResult]:
    """Score the given cases of one subject, in the order given within each modality.

    replay: prompts by case id, used instead of simulated ones; a case it lacks raises PromptError.
    Raises DataError, LabelError or PromptError in a sentence that names the subject's file.
    """
    wanted = list(cases)
    for modality in dict.fromkeys(case.modality for case in wanted):
        yield from _evaluate_modality(
            subject, modality, [c for c in wanted if c.modality == modality], predictor, settings, replay
        )


def _evaluate_modality(
    subject: Subject,
    modality: str,
    cases: list[Case],
    predictor: Predictor,
    settings: Settings,
    replay: Mapping[str, tuple[Prompt, ...]] | None,
) -> Iterator[CaseResult]:
    started = time.perf_counter()
    loaded = load(subject, modality, convention=settings.labels)
    truths = {
        region: region_mask(loaded.labels.voxels, region, loaded.convention)
        for region in dict.fromkeys(case.region for case in cases)
    }
    prompts = {case: _prompts(case, truths[case.region], settings, replay) for case in cases}
    masks = _predict(predictor, loaded.image, prompts)
    scores = {
        case: score_case(masks[case], truths[case.region], loaded.image.spacing_mm, prompts[case], settings)
        for case in cases
    }
    data = data_hash(loaded.image, loaded.labels)
    seconds = (time.perf_counter() - started) / len(cases)
    for case in cases:
        record = CaseRecord(
            case=case,
            scores=scores[case],
            key_slices=tuple(sorted({prompt.key_slice for prompt in prompts[case]})),
            grade=subject.grade,
            site=subject.site,
            labels=loaded.convention.name,
            seconds=seconds,
            data=data,
            prompts=tuple(prompt.to_json() for prompt in prompts[case]),
            notes=tuple(subject.notes),
            controls=score_controls(loaded.image.voxels, truths[case.region], prompts[case], case.protocol, settings),
        )
        yield CaseResult(record, loaded.image, masks[case], truths[case.region], prompts[case])


def data_hash(image: Volume, labels: Volume) -> str:
    """16 hex digits that tell whether two machines read the same voxels, labels and spacing."""
    digest = hashlib.blake2b(digest_size=8)
    for volume in (image, labels):
        digest.update(repr((volume.shape, volume.voxels.dtype.str, np.round(volume.spacing_mm, 4).tolist())).encode())
        digest.update(np.ascontiguousarray(volume.voxels).data)
    return digest.hexdigest()


def _prompts(
    case: Case, truth: np.ndarray, settings: Settings, replay: Mapping[str, tuple[Prompt, ...]] | None
) -> tuple[Prompt, ...]:
    if replay is not None:
        if case.id not in replay:
            raise PromptError(f"{case.id}: not in the prompt manifest, expected every case of the run; record it anew.")
        if any(prompt.key_slice >= len(truth) for prompt in replay[case.id]):
            raise PromptError(
                f"{case.id}: the manifest prompts a slice beyond the volume's {len(truth)}; it is of another cohort."
            )
        return replay[case.id]
    return simulate(
        truth,
        case.prompt,
        key_slice=settings.key_slice,
        protocol=case.protocol,
        jitter_voxels=settings.jitter_voxels,
        seed=settings.seed,
        key=case.id,
        per_component=settings.per_component,
    )


def _predict(predictor: Predictor, image: Volume, prompts: Mapping[Case, tuple[Prompt, ...]]) -> dict[Case, np.ndarray]:
    """One mask for each case: the union of what its prompts gave; empty where nothing was prompted."""
    masks = {case: np.zeros(image.shape, bool) for case in prompts}
    encoded = None
    for protocol in dict.fromkeys(case.protocol for case in prompts):
        asked = [(case, prompt) for case in prompts if case.protocol == protocol for prompt in prompts[case]]
        if not asked:
            continue
        if encoded is None:
            encoded = predictor.encode(image)
        predictions = predictor.predict(encoded, [prompt for _, prompt in asked], protocol=protocol)
        for (case, _), prediction in zip(asked, predictions, strict=True):
            if prediction.mask.shape != image.shape:
                raise DataError(f"{case.id}: the prediction's shape {prediction.mask.shape} is not the image's")
            masks[case] |= prediction.mask
    return masks


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: tuple[float, float, float],
    prompts: Sequence[Prompt],
    settings: Settings,
) -> dict[str, float]:
    """Scores over the whole volume, over the slices where the region exists, and on the prompted slices.

    prediction, truth: (D, H, W) bool. Keys as in `CaseRecord.scores`. Where a scope has no slice (the region is
    absent), it is scored as two empty masks.
    """
    region_slices = np.flatnonzero(truth.any(axis=(1, 2)))
    key_slices = np.array(sorted({prompt.key_slice for prompt in prompts}), dtype=int)
    scores: dict[str, float] = {}
    for scope, slices in (("volume", None), ("region_slices", region_slices), ("key_slice", key_slices)):
        if slices is None:
            pair = prediction, truth
        elif len(slices):
            pair = prediction[slices], truth[slices]
        else:
            pair = np.zeros_like(prediction[:1]), np.zeros_like(truth[:1])
        values = score(*pair, spacing_mm, profile=settings.profile, metrics=settings.metrics)
        scores.update({f"{key}@{scope}": value for key, value in values.items()})
    return scores


def score_controls(
    image: np.ndarray, truth: np.ndarray, prompts: Sequence[Prompt], protocol: str, settings: Settings
) -> dict[str, dict[str, float]]:
    """Dice and IoU of every control over the whole volume and on the prompted slices; {} without prompts.

    image, truth: (D, H, W). Keys of a control's scores as in `CaseRecord.scores`. Only the control's window is looked
    at; no control is empty, so that no profile's rule for empty masks is needed.
    """
    found: dict[str, dict[str, float]] = {}
    if not prompts:
        return found
    key_slices = sorted({prompt.key_slice for prompt in prompts})
    truth_on_key_slices = int(np.count_nonzero(truth[key_slices]))
    truth_total = int(np.count_nonzero(truth))
    for name, control in CONTROLS.items():
        window = control(image, prompts, truth, protocol)
        own = truth[window.where]
        rows = [index - window.where[0].start for index in key_slices]
        found[name] = {}
        for scope, mask, inside, total, size in (
            ("volume", window.mask, own, truth_total, truth.size),
            ("key_slice", window.mask[rows], own[rows], truth_on_key_slices, truth[0].size * len(rows)),
        ):
            tp, predicted = int(np.count_nonzero(mask & inside)), int(np.count_nonzero(mask))
            counts = Counts(tp, predicted - tp, total - tp, size - predicted - total + tp)
            found[name] |= {
                score_key(settings.profile, "dice", scope): dice(counts),
                score_key(settings.profile, "iou", scope): iou(counts),
            }
    return found
