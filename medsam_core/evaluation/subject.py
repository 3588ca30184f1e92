"""The cases of one subject from its files to their records, in four stages: read, encode, segment, score.

All cases of a subject in one modality go together: the files are read once, the slices are encoded once, and the
prompts are propagated in one batch. Only `segment` needs the device, so that `pipeline.Lookahead` can run the others
meanwhile. `read_cases` and `score_segmented` need no predictor.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medsam_core.cases import Case, CaseRecord, score_key
from medsam_core.data.cohort import Subject, load
from medsam_core.data.regions import region_mask
from medsam_core.errors import DataError, PredictorError, PromptError
from medsam_core.evaluation.masks import Masks
from medsam_core.evaluation.rounds import CorrectedMasks, check_one_object, corrected_masks, round_scores
from medsam_core.evaluation.scoring import count_case, score_case, score_controls
from medsam_core.predictors.abilities import check_takes_corrections
from medsam_core.prompts.noise import Noise
from medsam_core.prompts.prompt import Prompt, objects_of
from medsam_core.prompts.simulation import simulate
from medsam_core.prompts.truth import Truth
from medsam_core.settings import Settings

if TYPE_CHECKING:
    from medsam_core.data.cohort import LoadedSubject
    from medsam_core.data.volume import Volume
    from medsam_core.predictors.contract import Predictor


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """A record with the arrays behind it, for overlays and masks; dropped with its subject."""

    record: CaseRecord
    image: Volume
    """The image that the model saw."""
    prediction: np.ndarray
    """(D, H, W) bool."""
    truth: np.ndarray
    """(D, H, W) bool."""
    prompts: tuple[Prompt, ...]
    """What the model was given; () if the region is absent."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Cases of one subject in one modality: files read and prompts made; after `encode` ready for the device."""

    loaded: LoadedSubject
    encoded: Any
    """What the predictor made of the image; None before `encode`, if there is no prompt, and after segmentation."""
    truths: Mapping[str, Truth]
    """By region."""
    prompts: Mapping[Case, tuple[Prompt, ...]]
    """One entry per case; () where the region is absent."""
    data: str
    """`data_hash` of image and labels."""
    seconds: float
    """Wall time of the preparation."""
    notes: Mapping[Case, tuple[str, ...]] = field(default_factory=dict)
    """What was unusual about a case's prompts; no entry for most."""
    settings: Settings = field(default_factory=Settings)
    """How the cases are prompted and corrected."""


@dataclass(frozen=True, eq=False)
class Segmented:
    """The model's masks for prepared cases."""

    prepared: Prepared
    masks: Mapping[Case, np.ndarray]
    """Case -> (D, H, W) bool; of a noisy prompt made again at every look."""
    predicted_iou: Mapping[Case, np.ndarray]
    """Case -> (D,), the model's own estimate for each slice; only cases with one object, a union has no estimate."""
    seconds: float
    """Wall time of the segmentation."""
    rounds: Mapping[Case, CorrectedMasks] = field(default_factory=dict)
    """The masks of every round; {} without corrections."""
    notes: tuple[str, ...] = ()
    """What the predictor noted during the segmentation, such as a batch too large for the device's memory."""


def prepare(
    subject: Subject,
    modality: str,
    cases: Iterable[Case],
    predictor: Predictor,
    settings: Settings,
    *,
    replay: Mapping[str, tuple[Prompt, ...]] | None = None,
) -> Prepared:
    """`read_cases`, then `encode`: all that the device needs. Raises what these two raise."""
    return encode(read_cases(subject, modality, cases, settings, replay=replay), predictor)


def read_cases(
    subject: Subject,
    modality: str,
    cases: Iterable[Case],
    settings: Settings,
    *,
    replay: Mapping[str, tuple[Prompt, ...]] | None = None,
) -> Prepared:
    """Read one modality and the labels of a subject, and make the prompts.

    cases: cases of this subject in this modality. replay: prompts by case id, used instead of simulated ones.
    Raises DataError or LabelError that names the file, PromptError for a case that `replay` lacks or that its prompts
    do not fit.
    """
    started = time.perf_counter()
    loaded = load(subject, modality, convention=settings.labels)
    truths: dict[str, Truth] = {}
    prompts, notes = {}, {}
    for case in cases:
        if case.region not in truths:
            truths[case.region] = Truth(region_mask(loaded.labels.voxels, case.region, loaded.convention))
        prompts[case] = _prompts(case, truths[case.region], settings, replay, loaded.image.spacing_mm)
        if settings.refine:
            check_one_object(case, prompts[case])
        if replay is None:
            notes[case] = _few_slices(case, prompts[case], settings)
    data = data_hash(loaded.image, loaded.labels)
    return Prepared(loaded, None, truths, prompts, data, time.perf_counter() - started, notes, settings)


def encode(prepared: Prepared, predictor: Predictor) -> Prepared:
    """Let the predictor make of the image what it needs; not if there is no prompt. Computes nothing on the device."""
    started = time.perf_counter()
    encoded = predictor.encode(prepared.loaded.image) if any(prepared.prompts.values()) else None
    return replace(prepared, encoded=encoded, seconds=prepared.seconds + time.perf_counter() - started)


def segment(prepared: Prepared, predictor: Predictor) -> Segmented:
    """Segment the prompts of all cases on the device. Raises DeviceError, DataError or PromptError.

    prepared: encoded; PredictorError if it has prompts and is not.
    A case's mask is the union of the masks of its objects, empty where nothing was prompted. With corrections it is
    that of the last round.
    """
    prompted = [case for case, own in prepared.prompts.items() if own]
    if prompted and prepared.encoded is None:
        raise PredictorError(
            f"{prompted[0].id}: the image was not encoded, expected what the predictor made of it; call encode before "
            "segment."
        )
    if prepared.settings.refine:
        return _segment_rounds(prepared, predictor)
    started, noted = time.perf_counter(), len(predictor.notes)
    prompts, shape = prepared.prompts, prepared.loaded.image.shape
    predicted_iou: dict[Case, np.ndarray] = {}
    masks = Masks(shape, prompts)
    for protocol in dict.fromkeys(case.protocol for case in prompts):
        objects = [(case, own) for case in prompts if case.protocol == protocol for own in objects_of(prompts[case])]
        asked = [
            # numbers of objects are of a case, here they must be of all cases
            (case, prompt.numbered(number), prompt is own[0])
            for number, (case, own) in enumerate(objects)
            for prompt in own
        ]
        if not asked:
            continue
        if prepared.encoded is None:
            raise PredictorError(
                f"{asked[0][0].id}: the image was not encoded, expected what the predictor made of it; call encode "
                "before segment."
            )
        predictions = predictor.predict(prepared.encoded, [prompt for _, prompt, _ in asked], protocol=protocol)
        for (case, _, first), prediction in zip(asked, predictions, strict=True):
            if not first:
                continue  # the same mask again
            mask = prediction.mask  # unpacked at every call
            if mask.shape != shape:
                raise DataError(
                    f"{case.id}: prediction: got shape {mask.shape}, expected {shape} as the image has; "
                    "return masks on the image's grid."
                )
            masks.add(case, mask)
            if len(objects_of(prompts[case])) == 1:
                predicted_iou[case] = prediction.predicted_iou
    without_encoding = replace(prepared, encoded=None)  # frees the device's memory for the next volume
    notes = tuple(predictor.notes[noted:])
    return Segmented(without_encoding, masks, predicted_iou, time.perf_counter() - started, notes=notes)


def _segment_rounds(prepared: Prepared, predictor: Predictor) -> Segmented:
    """As `segment`, with corrections."""
    started, noted = time.perf_counter(), len(predictor.notes)
    settings, prompts, shape = prepared.settings, prepared.prompts, prepared.loaded.image.shape
    check_takes_corrections(predictor)
    correctable: Any = predictor
    rounds = {case: CorrectedMasks.empty(shape, settings.refine) for case in prompts}
    for protocol in dict.fromkeys(case.protocol for case in prompts):
        of_protocol = {case: own for case, own in prompts.items() if case.protocol == protocol}
        if prepared.encoded is not None:
            rounds |= corrected_masks(correctable, prepared.encoded, of_protocol, prepared.truths, settings)
    return Segmented(
        replace(prepared, encoded=None),
        {case: one.last for case, one in rounds.items()},
        {case: one.predicted_iou for case, one in rounds.items() if one.predicted_iou is not None},
        time.perf_counter() - started,
        rounds,
        tuple(predictor.notes[noted:]),
    )


def score_segmented(segmented: Segmented, settings: Settings) -> Iterator[ScoredCase]:
    """Score the masks: a record with its arrays for each case, in the order of the cases. Does not use the device."""
    started = time.perf_counter()
    prepared, masks = segmented.prepared, segmented.masks
    loaded, prompts, truths = prepared.loaded, prepared.prompts, prepared.truths
    image, estimates = loaded.image, segmented.predicted_iou
    counted = score_key(settings.profile, "truth_components", "volume")  # always: gates filter by it
    components = {region: float(truth.components[1]) for region, truth in truths.items()}
    scores, controls = {}, {}
    for case, asked in prompts.items():
        truth = truths[case.region]
        given = (masks[case], truth, image.spacing_mm, asked, settings, estimates.get(case))
        scores[case] = score_case(*given, case.region)
        if case in segmented.rounds:
            corrected = segmented.rounds[case]
            scores[case] |= round_scores(corrected, truth, image.spacing_mm, settings, case.region, scores[case])
        controls[case] = score_controls(image.voxels, truth, asked, case.protocol, settings)
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
            notes=(*loaded.subject.notes, *segmented.notes, *prepared.notes.get(case, ())),
            controls=controls[case],
            counts=count_case(masks[case], truths[case.region], asked),
            spacing_mm=image.spacing_mm,
            corrections=segmented.rounds[case].stored if case in segmented.rounds else (),
        )
        yield ScoredCase(record, image, masks[case], truths[case.region].mask, asked)


def data_hash(image: Volume, labels: Volume) -> str:
    """16 hex digits: equal if, and practically only if, voxels, labels and spacing are equal (BLAKE2b).

    Of an image of three sequences the voxels of all are read, in the order of the channels.
    """
    digest = hashlib.blake2b(digest_size=8)
    for volume in (image, labels):
        for voxels in volume.channels or (volume.voxels,):
            digest.update(repr((volume.shape, voxels.dtype.str, np.round(volume.spacing_mm, 4).tolist())).encode())
            digest.update(np.ascontiguousarray(voxels).data)
    return digest.hexdigest()


def _prompts(
    case: Case,
    truth: Truth,
    settings: Settings,
    replay: Mapping[str, tuple[Prompt, ...]] | None,
    spacing_mm: tuple[float, float, float],
) -> tuple[Prompt, ...]:
    """Simulated prompts, or those of the manifest. Raises PromptError if they were not recorded on this case."""
    if replay is None:
        return simulate(
            truth,
            case.prompt,
            key_slice=settings.key_slice,
            key_slices=settings.key_slices,
            protocol=case.protocol,
            jitter_voxels=settings.jitter_voxels,
            seed=settings.seed,
            key=case.exact.id,  # so that the amounts of a noise move an edge the same way
            per_component=settings.per_component,
            spacing_mm=spacing_mm,
            noise=Noise.of(case.noise) if case.noise else None,
        )
    if case.id not in replay:
        raise PromptError(f"{case.id}: not in the prompt manifest, expected every case of the run; record it again.")
    prompts = replay[case.id]
    where = f"{case.id}: prompts in the manifest"
    if any(prompt.key_slice >= len(truth.mask) for prompt in prompts):
        raise PromptError(
            f"{where}: got a slice beyond the volume's {len(truth.mask)}, expected one of them; "
            "the manifest is of another cohort: record it again."
        )
    other = sorted({prompt.mode for prompt in prompts} - {case.prompt})
    if other:
        raise PromptError(
            f"{where}: got mode {other[0]!r}, expected {case.prompt!r} as in the case's "
            "id; the manifest was changed by hand: record it again."
        )
    # no bound counts a case without prompts, so only the labels may decide whether a case has some
    present = bool(truth.slices.size)
    if bool(prompts) != present:
        got, expected, state = ("none", "some", "present") if present else (len(prompts), "none", "absent")
        raise PromptError(
            f"{where}: got {got}, expected {expected}, because the region is {state}; "
            "the manifest was recorded on other labels: use those, or record it again."
        )
    return prompts


def _few_slices(case: Case, prompts: tuple[Prompt, ...], settings: Settings) -> tuple[str, ...]:
    """A sentence if an object has fewer slices than are to be prompted."""
    if settings.key_slices == 1 or not prompts:
        return ()
    fewest = min(map(len, objects_of(prompts)))
    if fewest >= settings.key_slices:
        return ()
    what = f"a component of {case.region}" if settings.per_component else case.region
    return (f"{settings.key_slices} key slices were asked for, but {what} has {fewest}: all of them are prompted.",)
