"""Steps that some of MedSAM2's scripts apply to masks, as a wrapper around any predictor; by default there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from medsam_core.errors import OptionError
from medsam_core.predictors.abilities import (
    Around,
)
from medsam_core.predictors.contract import PackedPrediction, PredictionLike, Predictor, PredictorIdentity, Rounds
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume

FILL_HOLES, LARGEST_COMPONENT = "fill-holes", "largest-component"
HOLE_AREA = 8
"""Pixels; what MedSAM2's and sam2's predictors use on CUDA."""


@dataclass(frozen=True)
class Step:
    """One step of post-processing."""

    text: str
    """As it stands in the predictor's name, such as "fill-holes:8"."""
    apply: Callable[[np.ndarray], np.ndarray] = dataclasses.field(compare=False)
    """(D, H, W) bool -> the same, a new array."""


def steps_from(text: str) -> tuple[Step, ...]:
    """The steps of `fill-holes[:AREA],largest-component`, in the order in which they are applied; "" gives ().

    Raises OptionError for another step or an area that is not a whole number above 0.
    """
    return tuple(_step(word.strip()) for word in text.split(",")) if text.strip() else ()


def fill_holes(mask: np.ndarray, area: int = HOLE_AREA) -> np.ndarray:
    """The mask with the holes of each slice filled.

    mask: (D, H, W) bool. A slice without a voxel stays empty.
    area: the largest hole, in pixels of the slice. A hole is a piece of the slice's background, connected over edges
        and corners, that is no larger than that, at the border of the slice too.
    Definition: sam2's `fill_holes_in_mask_scores`. sam2 applies it to logits of a quarter of the model's image size,
    before they are resized to the slice, and then remembers the filled mask; this one is applied to the final mask.
    """
    filled = mask.copy()
    for index in np.flatnonzero(mask.any((1, 2))):
        pieces, _ = ndimage.label(~mask[index], np.ones((3, 3)))
        small = np.bincount(pieces.ravel()) <= area
        small[0] = False  # the mask itself
        filled[index] |= small[pieces]
    return filled


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest part of the mask that is connected over faces, edges and corners; of equal ones the first.

    mask: (D, H, W) bool; an empty one stays empty.
    Definition: `getLargestCC` of MedSAM2's CT script, which applies it to the mask of one object.
    """
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count < 2:
        return mask.copy()
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == np.argmax(sizes))


class PostProcessed(Around):
    """A predictor whose masks go through steps, one after the other. The predicted IoU stays the model's."""

    steps: tuple[Step, ...]
    """In the order in which they are applied."""

    def __init__(self, predictor: Predictor, steps: Sequence[Step] | str) -> None:
        """steps: a text is read by `steps_from`."""
        self.predictor = predictor
        self.steps = steps_from(steps) if isinstance(steps, str) else tuple(steps)

    @property
    def identity(self) -> PredictorIdentity:
        """The predictor's own, with the steps in its name: "engine+fill-holes:8"."""
        own = self.predictor.identity
        return dataclasses.replace(own, name="+".join([own.name, *(step.text for step in self.steps)]))

    def encode(self, volume: Volume) -> Any:
        """What the predictor makes of the volume."""
        return self.predictor.encode(volume)

    def predict(self, encoded: Any, prompts: Sequence[Prompt], *, protocol: str) -> list[PredictionLike]:
        """The predictor's predictions with processed masks."""
        return [self._processed(one) for one in self.predictor.predict(encoded, prompts, protocol=protocol)]

    def refine(self, encoded: Any, prompts: Sequence[Prompt], *, protocol: str) -> ProcessedRounds:
        """The predictor's rounds with processed masks, which are what is corrected."""
        predictor: Any = self.predictor
        return ProcessedRounds(predictor.refine(encoded, prompts, protocol=protocol), self._processed)

    def _processed(self, prediction: PredictionLike) -> PredictionLike:
        if not self.steps:
            return prediction
        mask = prediction.mask
        for step in self.steps:
            mask = step.apply(mask)
        return dataclasses.replace(PackedPrediction.of(mask), predicted_iou=prediction.predicted_iou)


class ProcessedRounds:
    """The rounds of a `PostProcessed` predictor."""

    def __init__(self, rounds: Rounds, process: Callable[[PredictionLike], PredictionLike]) -> None:
        self.rounds, self._process = rounds, process

    @property
    def predictions(self) -> list[PredictionLike]:
        """Of the last round, processed."""
        return [self._process(one) for one in self.rounds.predictions]

    def correct(self, corrections: Sequence[Correction | None]) -> list[PredictionLike]:
        """As `contract.Rounds.correct`."""
        self.rounds.correct(corrections)
        return self.predictions


def _step(word: str) -> Step:
    name, colon, number = word.partition(":")
    if name == FILL_HOLES and (not colon or (number.isdecimal() and int(number) > 0)):
        area = int(number) if colon else HOLE_AREA
        return Step(f"{FILL_HOLES}:{area}", lambda mask: fill_holes(mask, area))
    if word == LARGEST_COMPONENT:
        return Step(word, largest_component)
    raise OptionError(
        f"post-processing: got {word!r}, expected {FILL_HOLES}, {FILL_HOLES}:AREA with an area in pixels, or "
        f"{LARGEST_COMPONENT}; correct the step."
    )
