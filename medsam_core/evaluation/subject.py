"""A case from its subject's files to its record: read, prompt, segment, score.

All cases of a subject that share a modality share one reading and one encoding of its slices, and their prompts
advance through the volume in one batch.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medsam_core.cases import Case, CaseRecord, Settings, score_key
from medsam_core.data.cohort import Subject, load
from medsam_core.data.regions import region_mask
from medsam_core.errors import DataError, PromptError
from medsam_core.metrics import score
from medsam_core.metrics.lesionwise import count_components
from medsam_core.metrics.overlap import Counts, dice, iou
from medsam_core.prompts.controls import CONTROLS
from medsam_core.prompts.prompt import Prompt
from medsam_core.prompts.simulation import simulate

if TYPE_CHECKING:
    from medsam_core.data.cohort import LoadedSubject
    from medsam_core.data.volume import Volume
    from medsam_core.inference.predictor import EncodedVolume, Predictor


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """A record together with what it was made from, alive only while its subject is: for overlays and masks.

    prediction, truth: (D, H, W) bool. prompts: what was asked, () if the region is absent.
    """

    record: CaseRecord
    image: Volume
    prediction: np.ndarray
    truth: np.ndarray
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Cases of one subject in one modality with all that comes before the device: read, normalised, prompts made.

    encoded: the image as the model sees it, its features yet to be computed; None if there is no prompt, or no longer.
    truths: region -> (D, H, W) bool. prompts: one entry per case, () where the region is absent.
    data: `data_hash` of image and labels. seconds: what it took.
    """

    loaded: LoadedSubject
    encoded: EncodedVolume | None
    truths: Mapping[str, np.ndarray]
    prompts: Mapping[Case, tuple[Prompt, ...]]
    data: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Segmented:
    """What the model made of them.

    masks: case -> (D, H, W) bool. predicted_iou: case -> (D,) the model's own estimate by slice, for cases of one
    prompt alone: no estimate is made of a union. seconds: what it took on the device. notes: what the predictor had to
    say meanwhile, such as that a batch did not fit into the device's memory.
    """

    prepared: Prepared
    masks: Mapping[Case, np.ndarray]
    predicted_iou: Mapping[Case, np.ndarray]
    seconds: float
    notes: tuple[str, ...] = ()


def evaluate_subject(
    subject: Subject,
    cases: Iterable[Case],
    predictor: Predictor,
    settings: Settings,
    *,
    replay: Mapping[str, tuple[Prompt, ...]] | None = None,
) -> Iterator[ScoredCase]:
    """Score the given cases of one subject, in the order given within each modality.

    replay: prompts by case id, used instead of simulated ones; a case it lacks raises PromptError.
    Raises DataError, LabelError or PromptError in a sentence that names the subject's file.
    """
    for modality, chosen in by_modality(cases).items():
        prepared = prepare(subject, modality, chosen, predictor, settings, replay=replay)
        yield from score_segmented(segment(prepared, predictor), settings)


def by_modality(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """The cases that share one reading and one encoding, in the order given."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.modality, []).append(case)
    return groups


def prepare(
    subject: Subject,
    modality: str,
    cases: Iterable[Case],
    predictor: Predictor,
    settings: Settings,
    *,
    replay: Mapping[str, tuple[Prompt, ...]] | None = None,
) -> Prepared:
    """Read one modality and the labels, make the prompts of the given cases and the pixels that the model sees.

    Nothing is computed on the device. Raises as `evaluate_subject` does.
    """
    started = time.perf_counter()
    loaded = load(subject, modality, convention=settings.labels)
    cases = list(cases)
    truths = {
        region: region_mask(loaded.labels.voxels, region, loaded.convention)
        for region in dict.fromkeys(case.region for case in cases)
    }
    prompts = {case: _prompts(case, truths[case.region], settings, replay) for case in cases}
    encoded = predictor.encode(loaded.image) if any(prompts.values()) else None
    data = data_hash(loaded.image, loaded.labels)
    return Prepared(loaded, encoded, truths, prompts, data, time.perf_counter() - started)


def segment(prepared: Prepared, predictor: Predictor) -> Segmented:
    """Put the prompts of all cases to the model. Raises DeviceError, DataError or PromptError in a sentence."""
    started, said = time.perf_counter(), len(predictor.notes)
    masks, predicted_iou = _predict(predictor, prepared)
    scored_from = replace(prepared, encoded=None)  # the device's memory is for the next volume
    return Segmented(scored_from, masks, predicted_iou, time.perf_counter() - started, tuple(predictor.notes[said:]))


def score_segmented(segmented: Segmented, settings: Settings) -> Iterator[ScoredCase]:
    """The records of the cases with what they were made from, in the order of the cases. Touches no device."""
    started = time.perf_counter()
    prepared, masks = segmented.prepared, segmented.masks
    loaded, prompts = prepared.loaded, prepared.prompts
    image, truths = loaded.image, {case: prepared.truths[case.region] for case in prompts}
    scores = {
        case: score_case(
            masks[case], truths[case], image.spacing_mm, asked, settings, segmented.predicted_iou.get(case)
        )
        for case, asked in prompts.items()
    }
    counted = score_key(settings.profile, "truth_components", "volume")  # whether asked for or not: gates filter by it
    components = {region: float(count_components(truth)) for region, truth in prepared.truths.items()}
    controls = {
        case: score_controls(image.voxels, truths[case], prompts[case], case.protocol, settings) for case in prompts
    }
    seconds = (prepared.seconds + segmented.seconds + time.perf_counter() - started) / max(len(prompts), 1)
    for case, asked in prompts.items():
        record = CaseRecord(
            case=case,
            scores={**scores[case], counted: components[case.region]},
            key_slices=tuple(sorted({prompt.key_slice for prompt in asked})),
            grade=loaded.subject.grade,
            site=loaded.subject.site,
            labels=loaded.convention.name,
            seconds=seconds,
            data=prepared.data,
            prompts=tuple(prompt.to_json() for prompt in asked),
            notes=(*loaded.subject.notes, *segmented.notes),
            controls=controls[case],
        )
        yield ScoredCase(record, image, masks[case], truths[case], asked)


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
        return _replayed(case, truth, replay)
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


def _replayed(case: Case, truth: np.ndarray, replay: Mapping[str, tuple[Prompt, ...]]) -> tuple[Prompt, ...]:
    """What the manifest has for the case. Raises PromptError if it cannot have been recorded on this case."""
    if case.id not in replay:
        raise PromptError(f"{case.id}: not in the prompt manifest, expected every case of the run; record it anew.")
    prompts = tuple(replay[case.id])
    if any(prompt.key_slice >= len(truth) for prompt in prompts):
        raise PromptError(
            f"{case.id}: the manifest prompts a slice beyond the volume's {len(truth)}; it is of another cohort."
        )
    other = sorted({prompt.mode for prompt in prompts} - {case.prompt})
    if other:
        raise PromptError(
            f"{case.id}: prompts in the manifest: got mode {other[0]!r}, expected {case.prompt!r} as the case is "
            "called; it was changed by hand: record it anew."
        )
    # a case without prompts is not counted by any bound, so whether it has some is for these labels alone to say
    if bool(prompts) != bool(truth.any()):
        got, expected, where = ("none", "some", "here") if truth.any() else (len(prompts), "none", "absent")
        raise PromptError(
            f"{case.id}: prompts in the manifest: got {got}, expected {expected}, because the region is {where}; it "
            "was recorded on other labels: use those, or record it anew."
        )
    return prompts


def _predict(predictor: Predictor, prepared: Prepared) -> tuple[dict[Case, np.ndarray], dict[Case, np.ndarray]]:
    """One mask for each case: the union of what its prompts gave; empty where nothing was prompted.

    And the predicted IoU of the cases that have one prompt.
    """
    prompts, shape = prepared.prompts, prepared.loaded.image.shape
    predicted_iou: dict[Case, np.ndarray] = {}
    masks = {case: np.zeros(shape, bool) for case in prompts}
    for protocol in dict.fromkeys(case.protocol for case in prompts):
        asked = [(case, prompt) for case in prompts if case.protocol == protocol for prompt in prompts[case]]
        if not asked or prepared.encoded is None:
            continue
        predictions = predictor.predict(prepared.encoded, [prompt for _, prompt in asked], protocol=protocol)
        for (case, _), prediction in zip(asked, predictions, strict=True):
            if prediction.mask.shape != shape:
                raise DataError(f"{case.id}: the prediction's shape {prediction.mask.shape} is not the image's")
            masks[case] |= prediction.mask
            if len(prompts[case]) == 1:
                predicted_iou[case] = prediction.predicted_iou
    return masks, predicted_iou


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: tuple[float, float, float],
    prompts: Sequence[Prompt],
    settings: Settings,
    predicted_iou: np.ndarray | None = None,
) -> dict[str, float]:
    """Scores over the whole volume, over the slices where the region exists, and on the prompted slices.

    prediction, truth: (D, H, W) bool. predicted_iou: (D,), the model's own estimates; their metrics are NaN without.
    Keys as in `CaseRecord.scores`. Where a scope has no slice (the region is
    absent), it is scored as two empty masks. The half-life is counted in slices of the volume: NaN in other scopes.
    """
    region_slices = np.flatnonzero(truth.any(axis=(1, 2)))
    key_slices = np.array(sorted({prompt.key_slice for prompt in prompts}), dtype=int)
    scores: dict[str, float] = {}
    for scope, slices in (("volume", None), ("region_slices", region_slices), ("key_slice", key_slices)):
        estimates = predicted_iou
        if slices is None:
            pair = prediction, truth
        elif len(slices):
            pair = prediction[slices], truth[slices]
            estimates = None if predicted_iou is None else predicted_iou[slices]
        else:
            pair, estimates = (np.zeros_like(prediction[:1]), np.zeros_like(truth[:1])), None
        values = score(
            *pair,
            spacing_mm,
            profile=settings.profile,
            metrics=settings.metrics,
            key_slices=key_slices.tolist() if slices is None else (),
            predicted_iou=estimates,
        )
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
