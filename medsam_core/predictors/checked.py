"""A predictor whose wrong answers become one sentence. No torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from medsam_core.errors import MedsamError, PredictorError
from medsam_core.predictors.abilities import (
    Around,
    check_takes_corrections,
    check_takes_modes,
    check_takes_several_slices,
    check_takes_three_sequences,
)
from medsam_core.predictors.answers import problem_of
from medsam_core.predictors.contract import PredictionLike, Predictor, PredictorIdentity, Rounds
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.prompt import Prompt, objects_of
from medsam_core.text import counted

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume


@dataclass(frozen=True, eq=False)
class CheckedVolume:
    """A volume that a `Checked` predictor encoded."""

    encoded: Any
    """What the predictor itself made of it."""
    shape: tuple[int, int, int]
    """(D, H, W)."""


class Checked(Around):
    """A predictor whose answers are compared with the contract; the first wrong one is a PredictorError.

    Errors of this package (DataError, PromptError, …) pass through; any other exception of the predictor becomes a
    PredictorError that names its type and message.
    """

    identity: PredictorIdentity
    """The predictor's own when it was made; another one later is a wrong answer."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.identity = predictor.identity

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
