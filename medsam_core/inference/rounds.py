"""Objects of one volume that are corrected round by round; each slice is encoded once for all rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from medsam_core.errors import PromptError
from medsam_core.inference.encoding import EncodedVolume
from medsam_core.inference.predictions import Prediction, PredictionBuilder
from medsam_core.inference.propagation import Known, Propagation, with_others
from medsam_core.inference.tracking import Tracker
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import Prompt, objects_of

if TYPE_CHECKING:
    from medsam_core.inference.predictor import Predictor


class Rounds:
    """The objects of one call of `Predictor.refine`. All objects that get a correction go in one batch.

    Equal objects are tracked once, for as long as their corrections are equal, too.
    """

    predictions: list[Prediction]
    """Of the last round, one for each object; its prompt is the object's first."""

    def __init__(
        self,
        predictor: Predictor,
        volume: EncodedVolume,
        prompts: Sequence[Prompt],
        protocol: str,
        *,
        keep_logits: bool = False,
    ) -> None:
        """Tracks the objects from their prompts. The arguments are those of `Predictor.refine`, checked."""
        self.predictor, self.volume, self.protocol, self.keep_logits = predictor, volume, protocol, keep_logits
        self.objects = objects_of(prompts, protocol)
        contents = [tuple(map(content_of, one)) for one in self.objects]
        first = {content: place for place, content in reversed([*enumerate(contents)])}
        distinct = sorted(first.values())
        self._known: list[Known] = []
        self.predictions = []
        if not distinct:
            return
        with predictor.working():
            propagation, builder = self._start(distinct)
            known = propagation.see([self.objects[place] for place in distinct], builder)
            found = self._followed(propagation, known, builder)
        where = {contents[place]: at for at, place in enumerate(distinct)}
        self._known = [known[where[content]] for content in contents]
        self.predictions = [
            replace(found[where[content]], prompt=one[0]) for content, one in zip(contents, self.objects, strict=True)
        ]

    def correct(self, corrections: Sequence[Correction | None]) -> list[Prediction]:
        """Correct the objects and track them again. corrections: for each object one, or None to leave it as it is.

        The slice of a correction is a conditioning slice from now on. Further corrections of the same slice add to its
        box and points, as sam2's `clear_old_points=False`; a mask that it was given stays as its logits so far.
        Returns `predictions`. Raises PromptError for a correction outside the slices that the protocol reaches.
        """
        if len(corrections) != len(self.objects):
            raise PromptError(
                f"corrections: got {len(corrections)}, expected {len(self.objects)}, one for each object; give None "
                "for an object that is right."
            )
        for one, prediction in zip(corrections, self.predictions, strict=True):
            if one is not None:
                _check_inside(one, prediction)
        # the same corrections of what is tracked as one
        groups: dict[tuple[int, Correction], list[int]] = {}
        for place, correction in enumerate(corrections):
            if correction is not None:
                groups.setdefault((id(self._known[place]), correction), []).append(place)
        if not groups:
            return self.predictions
        with self.predictor.working():
            propagation, builder = self._start([places[0] for places in groups.values()])
            known = [self._known[places[0]].corrected() for places in groups.values()]
            propagation.correct(known, [correction for _, correction in groups])
            for number, (own, places) in enumerate(zip(known, groups.values(), strict=True)):
                own.tracked = {}  # nothing of an earlier round is read again
                for index, state in own.conditioning.items():
                    builder.record([number], [index], state.output)
                for place in places:
                    self._known[place] = own
            found = self._followed(propagation, known, builder)
        for places, prediction in zip(groups.values(), found, strict=True):
            for place in places:
                self.predictions[place] = replace(prediction, prompt=self.objects[place][0])
        return self.predictions

    def _start(self, places: Sequence[int]) -> tuple[Propagation, PredictionBuilder]:
        """For a round of the objects at these places."""
        objects = [self.objects[place] for place in places]
        builder = PredictionBuilder(objects, self.volume, self.protocol, keep_logits=self.keep_logits)
        tracker = Tracker(self.volume, self.predictor.fixed)
        return Propagation(tracker, self.predictor.in_batches, self.predictor.notes), builder

    def _followed(
        self, propagation: Propagation, known: Sequence[Known], builder: PredictionBuilder
    ) -> list[Prediction]:
        propagation.follow(with_others(builder.tracks(), known), known, builder, keep=True)
        return builder.predictions()


def content_of(prompt: Prompt) -> tuple[object, ...]:
    """What the model is given: equal for prompts that are tracked once, such as those of two regions of one extent."""
    mask = None if prompt.mask is None else prompt.mask.tobytes()
    return prompt.key_slice, prompt.box, prompt.points, prompt.point_labels, mask, prompt.makes_mask


def _check_inside(correction: Correction, prediction: Prediction) -> None:
    _, height, width = prediction.shape
    outside = [at for at in correction.points if not (0 <= at[0] < width and 0 <= at[1] < height)]
    slices = prediction.slices
    if correction.key_slice not in slices:
        reached = f"{slices.start} to {slices.stop - 1}"
        got = f"slice {correction.key_slice}, expected one of {reached}, which the track reaches"
    elif outside:
        got = f"(x, y) = {outside[0]}, expected a place within {width} x {height} voxels"
    else:
        return
    raise PromptError(f"correction: got {got}; correct what was tracked.")
