"""What a predictor can do beyond the least of the contract: it says so by an attribute that is True. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from medsam_core.errors import PredictorError
from medsam_core.prompts.prompt import MADE_MASKS, MODES

if TYPE_CHECKING:
    from medsam_core.predictors.contract import Predictor


def takes_made_masks(predictor: Any) -> bool:
    """Whether a predictor makes masks of prompts, as the modes of MADE_MASKS ask: its attribute `made_masks`."""
    return bool(getattr(predictor, "made_masks", False))


def takes_three_sequences(predictor: Any) -> bool:
    """Whether a predictor sees images of three sequences (`Volume.channels`): its attribute `three_sequences`."""
    return bool(getattr(predictor, "three_sequences", False))


def check_takes_modes(predictor: Predictor, modes: Iterable[str]) -> None:
    """Raise PredictorError if a mode is of MADE_MASKS and the predictor makes no masks of prompts."""
    refused = [mode for mode in modes if mode in MADE_MASKS]
    if refused and not takes_made_masks(predictor):
        others = ", ".join(mode for mode in MODES if mode not in MADE_MASKS)
        raise PredictorError(
            f"predictor {predictor.identity.name}: got the prompt mode {refused[0]}, expected one of {others} because "
            "this predictor does not turn prompts into masks; leave the mode out of --medsam-prompts, or set "
            "made_masks = True on a predictor that can (docs/adding-a-predictor.md)."
        )


def check_takes_three_sequences(predictor: Predictor) -> None:
    """Raise PredictorError for a predictor that sees images of one sequence only."""
    if not takes_three_sequences(predictor):
        raise PredictorError(
            f"predictor {predictor.identity.name}: got an image of three sequences, expected one of a single sequence "
            "because this predictor does not take colours; give a single --medsam-modality, or set "
            "three_sequences = True on a predictor that can (docs/adding-a-predictor.md)."
        )


def takes_several_slices(predictor: Any) -> bool:
    """Whether a predictor can track an object with prompts on several slices: its attribute `several_slices`."""
    return bool(getattr(predictor, "several_slices", False))


def check_takes_several_slices(predictor: Predictor) -> None:
    """Raise PredictorError for a predictor that takes one prompt for each object only."""
    if not takes_several_slices(predictor):
        raise PredictorError(
            f"predictor {predictor.identity.name}: got an object with prompts on several slices, expected one because "
            "this predictor does not take them; leave out --medsam-key-slices, use other prompts, or set "
            "several_slices = True on a predictor that can (docs/adding-a-predictor.md)."
        )


def takes_corrections(predictor: Any) -> bool:
    """Whether the objects of a predictor can be corrected: its attribute `corrections`."""
    return bool(getattr(predictor, "corrections", False))


def check_takes_corrections(predictor: Predictor) -> None:
    """Raise PredictorError for a predictor whose objects cannot be corrected."""
    if not takes_corrections(predictor):
        raise PredictorError(
            f"predictor {predictor.identity.name}: got corrections, expected none because this predictor does not take "
            "them; leave out --medsam-refine, or set corrections = True on a predictor that can "
            "(docs/adding-a-predictor.md)."
        )


class Around:
    """Base of a predictor around another one: it can do what the inner one can, and its notes are the inner one's."""

    predictor: Predictor
    """The inner predictor."""

    @property
    def notes(self) -> list[str]:
        """The inner predictor's."""
        return self.predictor.notes

    @property
    def several_slices(self) -> bool:
        """The inner predictor's."""
        return takes_several_slices(self.predictor)

    @property
    def made_masks(self) -> bool:
        """The inner predictor's."""
        return takes_made_masks(self.predictor)

    @property
    def three_sequences(self) -> bool:
        """The inner predictor's."""
        return takes_three_sequences(self.predictor)

    @property
    def corrections(self) -> bool:
        """The inner predictor's."""
        return takes_corrections(self.predictor)
