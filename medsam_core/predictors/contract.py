"""What a predictor is. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from medsam_core.errors import PredictorError
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume


@dataclass(frozen=True)
class PredictorIdentity:
    """What was judged, as a run records it. Raises PredictorError if a field cannot be what it should be."""

    name: str
    """A short word, such as "engine"; post-processing is part of it, such as "engine+fill-holes:8"."""
    version: str
    """The version of the code that runs the model."""
    sha256: str
    """Of what it runs: the weights, the exported model or the program. 64 lower-case hex digits."""
    image_size: int | None = None
    """Side of the square image that the model sees, in pixels; None if it is unknown or has no meaning."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know about it, a sentence each."""
    checkpoint: str = ""
    """The name of the weights; "" where they have none apart from the predictor's."""
    architecture: str = ""
    """The name of the model's architecture; "" if it is unknown."""

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.sha256[:12]})"

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise PredictorError(f"predictor {self.name!r}: identity: {problem}.")

    def _problem(self) -> str | None:
        if not isinstance(self.name, str) or not self.name.strip():
            return f"got the name {self.name!r}, expected a short word; name the predictor"
        if not isinstance(self.version, str) or not self.version.strip():
            return f"got the version {self.version!r}, expected text; give the version of its code"
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            return f"got the sha256 {self.sha256!r}, expected 64 lower-case hex digits; hash the file that it runs"
        size = self.image_size
        if size is not None and (type(size) is not int or size < 1):
            return f"got the image size {size!r}, expected pixels or None; give the side of the model's image"
        if not isinstance(self.notes, tuple) or not all(isinstance(note, str) for note in self.notes):
            return f"got notes {self.notes!r}, expected a tuple of sentences; give () if there are none"
        for what in ("checkpoint", "architecture"):
            if not isinstance(getattr(self, what), str):
                return f'got the {what} {getattr(self, what)!r}, expected text; give its name, or "" if it has none'
        return None


class PredictionLike(Protocol):
    """The answer to one prompt."""

    @property
    def mask(self) -> np.ndarray:
        """(D, H, W) bool on the volume's grid; False on every slice that the protocol does not see."""

    @property
    def predicted_iou(self) -> np.ndarray:
        """(D,) float, the model's own estimate in [0, 1] for each slice; NaN where it is unknown."""


@runtime_checkable
class Predictor(Protocol):
    """From a volume and prompts to masks. `isinstance` checks that the attributes are there, not what they do.

    A predictor that can do more says so by attributes that are True: `several_slices` if it tracks an object with
    prompts on several slices, `made_masks` if it turns prompts into masks, `three_sequences` if it sees images of three
    sequences, `corrections` if its objects can be corrected; then it has the method of `Correctable`.
    """

    @property
    def identity(self) -> PredictorIdentity:
        """The same for the predictor's whole life, and for another predictor of the same weights and code."""

    @property
    def notes(self) -> list[str]:
        """Sentences for the report; a predictor may append to it while it works. A plain attribute is enough."""

    def encode(self, volume: Volume) -> Any:
        """What `predict` needs of a volume. It may run in another thread while `predict` works on another volume.

        Only a predictor with `three_sequences` gets a volume with `channels`.
        """

    def predict(self, encoded: Any, prompts: Sequence[Prompt], *, protocol: str) -> Sequence[PredictionLike]:
        """One prediction for each prompt, in their order; prompts do not influence one another; [] gives [].

        Prompts that share an `object_id` are on several slices of one object and belong to one track; the prediction of
        each is the object's. Only a predictor with `several_slices` gets them.
        Prompts of a mode in MADE_MASKS have a box or points. The predictor makes a mask of them on their slice, and
        tracks the object from this mask as from one that was given. Only a predictor with `made_masks` gets them.

        encoded: what `encode` returned.
        protocol: one of PROTOCOLS. `bidirectional` may find the object on every slice, `forward` from the key slice
            on, `slicewise` on the key slice alone.
        """


class Rounds(Protocol):
    """Objects that are corrected round by round."""

    @property
    def predictions(self) -> Sequence[PredictionLike]:
        """Of the last round, one for each object."""

    def correct(self, corrections: Sequence[Correction | None]) -> Sequence[PredictionLike]:
        """Correct the objects and segment them again; the new `predictions`.

        corrections: for each object one, or None to leave its prediction as it is. Earlier prompts and corrections
            stay in force.
        """


class Correctable(Protocol):
    """What a predictor with `corrections` has beyond `Predictor`."""

    def refine(self, encoded: Any, prompts: Sequence[Prompt], *, protocol: str) -> Rounds:
        """The objects of the prompts, in the order of `objects_of`, segmented as `predict` does.

        protocol: as in `predict`, but not `slicewise`.
        """


@dataclass(frozen=True, eq=False)
class PlainPrediction:
    """A prediction made of two arrays, for those who write a predictor."""

    mask: np.ndarray
    """(D, H, W) bool."""
    predicted_iou: np.ndarray = None  # type: ignore[assignment]  # replaced below
    """(D,) float in [0, 1] or NaN; left out: NaN everywhere."""

    def __post_init__(self) -> None:
        if self.predicted_iou is None:
            object.__setattr__(self, "predicted_iou", np.full(len(self.mask), np.nan, np.float32))


@dataclass(frozen=True, eq=False)
class PackedPrediction:
    """A prediction that keeps its mask in an eighth of the memory."""

    packed: np.ndarray
    """(D, H, ceil(W / 8)) uint8, the mask as `np.packbits` along the last axis."""
    width: int
    """W."""
    predicted_iou: np.ndarray
    """(D,) float in [0, 1] or NaN."""

    @classmethod
    def of(cls, mask: np.ndarray) -> PackedPrediction:
        """From (D, H, W) bool; the predicted IoU is NaN."""
        return cls(np.packbits(mask, axis=-1), mask.shape[-1], np.full(len(mask), np.nan, np.float32))

    @property
    def mask(self) -> np.ndarray:
        """(D, H, W) bool, unpacked at every call."""
        return np.unpackbits(self.packed, axis=-1, count=self.width).view(bool)
