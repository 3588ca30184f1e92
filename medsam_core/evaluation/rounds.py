"""Rounds of corrections: the masks of every round of the cases of one subject, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsam_core.cases import Case, score_key
from medsam_core.errors import DataError, PromptError
from medsam_core.metrics import ROUND_METRICS, score
from medsam_core.metrics.boxes import around
from medsam_core.metrics.masks import bounding_box
from medsam_core.metrics.rounds import derived
from medsam_core.predictors.contract import Correctable, PredictionLike
from medsam_core.prompts.corrections import Correction, StoredCorrection, next_correction
from medsam_core.prompts.prompt import Prompt, objects_of
from medsam_core.prompts.truth import Truth
from medsam_core.settings import Settings


@dataclass(frozen=True, eq=False)
class CorrectedMasks:
    """The masks of one case, round by round, in an eighth of the memory."""

    packed: tuple[np.ndarray, ...]
    """Of rounds 0 to N, each (D, H, ceil(W / 8)) uint8 as `np.packbits` along the last axis."""
    width: int
    """W."""
    corrections: tuple[Correction | None, ...]
    """What led to rounds 1 to N; None where nothing was wrong, so the round repeats the mask before it."""
    predicted_iou: np.ndarray | None
    """(D,), the model's own estimates of round N; None if nothing was prompted."""

    @property
    def stored(self) -> tuple[StoredCorrection | None, ...]:
        """The corrections as a record keeps them."""
        return tuple(None if one is None else one.to_json() for one in self.corrections)

    @property
    def last(self) -> np.ndarray:
        """(D, H, W) bool: the mask of round N."""
        return np.unpackbits(self.packed[-1], axis=-1, count=self.width).view(bool)

    def masks(self) -> Iterator[np.ndarray]:
        """(D, H, W) bool of each round, unpacked one after the other."""
        for packed in self.packed:
            yield np.unpackbits(packed, axis=-1, count=self.width).view(bool)

    @classmethod
    def empty(cls, shape: tuple[int, int, int], rounds: int) -> CorrectedMasks:
        """Of a case whose region is absent: nothing is prompted, and nothing is wrong."""
        packed = np.packbits(np.zeros(shape, bool), axis=-1)
        return cls((packed,) * (rounds + 1), shape[2], (None,) * rounds, None)


def corrected_masks(
    predictor: Correctable,
    encoded: Any,
    prompts: Mapping[Case, Sequence[Prompt]],
    truths: Mapping[str, Truth],
    settings: Settings,
) -> dict[Case, CorrectedMasks]:
    """Segment the cases of one protocol and correct them, all in one batch per round.

    prompts: of each case, of one object. truths: by region. settings: how many rounds, and by which rule.
    Raises DataError for masks on another grid, and what the predictor raises.
    """
    cases = [case for case, own in prompts.items() if own]
    # numbers of objects are of a case, here they must be of all cases
    asked = [prompt.numbered(number) for number, case in enumerate(cases) for prompt in prompts[case]]
    if not asked:
        return {}
    protocol = cases[0].protocol
    rounds = predictor.refine(encoded, asked, protocol=protocol)
    packed: list[list[np.ndarray]] = [[] for _ in cases]
    given: list[list[Correction | None]] = [[] for _ in cases]
    wrong: list[Correction | None] = [None] * len(cases)
    predictions: Sequence[PredictionLike] = rounds.predictions
    for number in range(settings.refine + 1):
        if number and any(wrong):
            predictions = rounds.correct(wrong)
        for place, (case, prediction) in enumerate(zip(cases, predictions, strict=True)):
            if number:
                given[place].append(wrong[place])
                if wrong[place] is None:
                    packed[place].append(packed[place][-1])
                    continue
            mask, truth = prediction.mask, truths[case.region]
            if mask.shape != truth.mask.shape:
                raise DataError(
                    f"{case.id}: prediction: got shape {mask.shape}, expected {truth.mask.shape} as the image has; "
                    "return masks on the image's grid."
                )
            packed[place].append(np.packbits(mask, axis=-1))
            reached = objects_of(prompts[case], protocol)[0][0].slices_seen(len(mask), protocol)
            wrong[place] = next_correction(mask, truth, settings.refine_rule, slices=reached)
    widths = [truths[case.region].mask.shape[2] for case in cases]
    return {
        case: CorrectedMasks(tuple(packed[place]), widths[place], tuple(given[place]), predictions[place].predicted_iou)
        for place, case in enumerate(cases)
    }


def check_one_object(case: Case, prompts: Sequence[Prompt]) -> None:
    """Raise PromptError for prompts of several objects: a correction is of one."""
    objects = len(objects_of(prompts, case.protocol))
    if objects > 1:
        raise PromptError(
            f"{case.id}: got prompts of {objects} objects with corrections, expected one object because a correction "
            "is of one; leave out --medsam-refine, or use prompts of one object."
        )


def round_scores(
    found: CorrectedMasks,
    truth: Truth,
    spacing_mm: tuple[float, float, float],
    settings: Settings,
    region: str,
    final: Mapping[str, float],
) -> dict[str, float]:
    """The scores of every round over the volume, and those of all rounds together; keys as in `CaseRecord.scores`.

    final: the scores of the last mask, which the last round repeats.
    """
    metrics = [name for name in ROUND_METRICS if name in settings.metrics]
    values: dict[str, float] = {}
    rounds: dict[str, list[float]] = {name: [] for name in metrics}
    for number, mask in enumerate(found.masks()):
        if number == settings.refine:
            values = {name: final[score_key(settings.profile, name, "volume")] for name in metrics}
        elif number == 0 or found.corrections[number - 1] is not None:
            values = _scored(mask, truth, spacing_mm, settings, region, metrics)
        for name in metrics:
            rounds[name].append(values[name])
    scores = {
        score_key(settings.profile, name, scope): rounds[name][number]
        for number, scope in enumerate(settings.round_scopes)
        for name in metrics
    }
    return scores | {score_key(settings.profile, name, "volume"): value for name, value in derived(rounds).items()}


def _scored(
    mask: np.ndarray,
    truth: Truth,
    spacing_mm: tuple[float, float, float],
    settings: Settings,
    region: str,
    metrics: Sequence[str],
) -> dict[str, float]:
    """By metric."""
    boxes = [box for box in (truth.box, bounding_box(mask)) if box]
    _, rows, columns = around(*boxes) if boxes else (slice(0), slice(0, 1), slice(0, 1))
    values = score(
        np.ascontiguousarray(mask[:, rows, columns]),
        np.ascontiguousarray(truth.mask[:, rows, columns]),
        spacing_mm,
        profile=settings.profile,
        metrics=metrics,
        region=region,
        image_shape=mask.shape,
        truth_lesions=truth.lesions_on(slice(None)),
    )
    return {key.partition("/")[2]: value for key, value in values.items()}
