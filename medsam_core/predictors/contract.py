"""What a predictor is, and `Checked`, which turns a wrong answer into one sentence. No torch."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

import numpy as np

from medsam_core.errors import MedsamError, PredictorError
from medsam_core.predictors.abilities import (
    check_takes_modes,
    check_takes_three_sequences,
    takes_made_masks,
    takes_three_sequences,
)
from medsam_core.predictors.answers import problem_of
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import Prompt, objects_of
from medsam_core.text import counted

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


@dataclass(frozen=True, eq=False)
class CheckedVolume:
    """A volume that a `Checked` predictor encoded."""

    encoded: Any
    """What the predictor itself made of it."""
    shape: tuple[int, int, int]
    """(D, H, W)."""


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


class Checked:
    """A predictor whose answers are compared with the contract; the first wrong one is a PredictorError.

    Errors of this package (DataError, PromptError, …) pass through; any other exception of the predictor becomes a
    PredictorError that names its type and message.
    """

    predictor: Predictor
    """The predictor itself."""
    identity: PredictorIdentity
    """The predictor's own when it was made; another one later is a wrong answer."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.identity = predictor.identity

    @property
    def notes(self) -> list[str]:
        """The predictor's own."""
        return self.predictor.notes

    @property
    def several_slices(self) -> bool:
        """The predictor's own."""
        return takes_several_slices(self.predictor)

    @property
    def made_masks(self) -> bool:
        """The predictor's own."""
        return takes_made_masks(self.predictor)

    @property
    def three_sequences(self) -> bool:
        """The predictor's own."""
        return takes_three_sequences(self.predictor)

    @property
    def corrections(self) -> bool:
        """The predictor's own."""
        return takes_corrections(self.predictor)

    def encode(self, volume: Volume) -> CheckedVolume:
        """The volume, prepared for `predict`."""
        if getattr(volume, "channels", ()):  # a caller may give another object with a shape and voxels
            check_takes_three_sequences(self)
        depth, height, width = volume.shape
        with self.named("encode"):
            return CheckedVolume(self.predictor.encode(volume), (depth, height, width))

    def predict(self, encoded: CheckedVolume, prompts: Sequence[Prompt], *, protocol: str) -> Sequence[PredictionLike]:
        """The predictor's predictions, all of which follow the contract. Raises PredictorError otherwise."""
        prompts = list(prompts)
        objects = objects_of(prompts, protocol)
        starts = {id(prompt): own[0] for own in objects for prompt in own}
        if len(objects) < len(prompts):
            check_takes_several_slices(self)
        check_takes_modes(self, (prompt.mode for prompt in prompts))
        with self.named("predict"):
            found = self.predictor.predict(encoded.encoded, prompts, protocol=protocol)
            return self._answers(found, [starts[id(prompt)] for prompt in prompts], encoded, protocol, "prompt")

    def refine(self, encoded: CheckedVolume, prompts: Sequence[Prompt], *, protocol: str) -> CheckedRounds:
        """The objects, to be corrected; their predictions follow the contract. Raises PredictorError otherwise."""
        check_takes_corrections(self)
        check_takes_modes(self, (prompt.mode for prompt in prompts))
        starts = [own[0] for own in objects_of(prompts, protocol)]
        predictor: Any = self.predictor
        with self.named("refine"):
            rounds = predictor.refine(encoded.encoded, list(prompts), protocol=protocol)
            return CheckedRounds(
                self, rounds, partial(self._answers, starts=starts, encoded=encoded, protocol=protocol)
            )

    def _answers(
        self, found: Any, starts: Sequence[Prompt], encoded: CheckedVolume, protocol: str, what: str = "object"
    ) -> list[PredictionLike]:
        """The predictions, one for each start."""
        try:
            found = list(found)
        except TypeError:
            self._wrong(f"got a {type(found).__name__} as the answer, expected a list of predictions; return a list")
        if len(found) != len(starts):
            got = f"{counted(len(found), 'prediction')} for {counted(len(starts), what)}"
            self._wrong(f"got {got}, expected one for each; return them in the order of the {what}s")
        for index, (prediction, start) in enumerate(zip(found, starts, strict=True)):
            problem = problem_of(prediction, start, encoded.shape, protocol)
            if problem:
                self._wrong(f"prediction {index} of {len(found)}: {problem}")
        if self.predictor.identity != self.identity:
            self._wrong(
                f"got the identity {self.predictor.identity}, expected {self.identity} as at the start; keep it"
            )
        return list(found)

    def _wrong(self, problem: str) -> NoReturn:
        raise PredictorError(f"predictor {self.identity.name}: {problem}.")

    @contextlib.contextmanager
    def named(self, step: str) -> Iterator[None]:
        """The context of a call to the predictor. step: which, for the sentence."""
        try:
            yield
        except MedsamError:
            raise
        except (Exception, SystemExit) as error:
            raise PredictorError(
                f"predictor {self.identity.name}: {step} failed with {described(error)}, expected an answer; "
                "correct the predictor."
            ) from error


class CheckedRounds:
    """The rounds of a `Checked` predictor."""

    predictions: list[PredictionLike]
    """Of the last round, checked."""

    def __init__(self, checked: Checked, rounds: Rounds, check: Callable[[Any], list[PredictionLike]]) -> None:
        """rounds: the predictor's own. check: gives its predictions if they follow the contract."""
        self.checked, self.rounds, self._check = checked, rounds, check
        self.predictions = check(rounds.predictions)

    def correct(self, corrections: Sequence[Correction | None]) -> list[PredictionLike]:
        """As `Rounds.correct`. Raises PredictorError for a wrong answer."""
        with self.checked.named("correct"):
            self.predictions = self._check(self.rounds.correct(corrections))
        return self.predictions


def described(error: BaseException) -> str:
    """Type and first line of an exception, for a sentence: `ValueError (wrong shape)`."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__} ({lines[0].rstrip('.')[:300]})" if lines else type(error).__name__
