"""Find a predictor by what the user wrote: a built-in name, `module:factory`, or the name of an entry point."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from medsam_core.errors import MedsamError, PredictorError
from medsam_core.predictors.checked import Checked, described
from medsam_core.predictors.contract import Predictor, PredictorIdentity

GROUP = "medsam_core.predictors"
"""The entry points by which an installed package offers predictors."""
BUILT_IN = {
    "engine": "medsam_core.predictors.engine:from_request",
    "sam2": "medsam_core.predictors.sam2_flow:from_request",
    "command": "medsam_core.predictors.command:from_request",
    "http": "medsam_core.predictors.http:from_request",
}
"""Name -> `module:factory`."""


@dataclass(frozen=True)
class PredictorRequest:
    """What a session asks of the predictor that it makes; a factory takes what it needs."""

    checkpoint: str | None = None
    """A path or a name; None: the predictor's default, for the engine the embedded one."""
    device: str = "auto"
    """As torch names it, or "auto"."""
    precision: str = "auto"
    """fp32, bf16 or "auto"."""
    architecture: str | None = None
    """The name of a preset; None: recognised from the weights."""
    image_size: int | None = None
    """Side of the image that the model sees, in pixels; None: the architecture's own."""
    weights: str | None = None
    """ "model" or "ema" where the file holds both; None: the model."""
    threads: int | None = None
    """How many threads of the CPU it may use, a worker's share; None: as the process is set to."""
    compiled: bool = False
    """Whether to use torch.compile."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further settings by name, such as the program of `command` and the address of `http`."""

    def refuse(self, name: str, *settings: str) -> None:
        """Raise PredictorError if a setting that the predictor `name` cannot follow was given."""
        for setting in settings:
            if getattr(self, setting):
                raise PredictorError(
                    f"predictor {name}: got {setting} {getattr(self, setting)}, expected none because this predictor "
                    "cannot pass it on; leave it out, and choose it where the predictor is set up."
                )

    def known_options(self, name: str, known: tuple[str, ...]) -> None:
        """Raise PredictorError for an option that the predictor `name` does not know."""
        unknown = [option for option in self.options if option not in known]
        if unknown:
            expected = _one_of(known) if known else "none"
            raise PredictorError(
                f"predictor {name}: got the option {unknown[0]!r}, expected {expected}{_meant(unknown[0], known)}; "
                "correct it, leave it out or choose another --medsam-predictor."
            )

    def number(self, name: str, option: str, default: float) -> float:
        """An option as a positive number. Raises PredictorError for anything else."""
        text = self.options.get(option, str(default))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 < value < float("inf"):
            raise PredictorError(
                f"predictor {name}: got {option} {text!r}, expected a number above 0; correct the option."
            )
        return value


def choose(spec: str, **settings: Any) -> Callable[[], Checked]:
    """A function without arguments that makes the predictor, checked against the contract.

    spec: one of BUILT_IN, `module:factory`, or the name of an entry point of the group GROUP. Built-in names win.
    settings: the fields of `PredictorRequest`; another one is a TypeError.
    The factory is called with the PredictorRequest, or without if it takes no argument.
    Raises PredictorError if there is no such predictor, now; if it cannot be made, when the function is called.
    """
    request = PredictorRequest(**settings)
    factory = _resolve(spec)

    def make() -> Checked:
        takes_request = _takes_an_argument(factory)
        if not takes_request:
            request.refuse(spec, "checkpoint", "architecture", "image_size", "weights", "compiled")
            request.known_options(spec, ())
        try:
            return checked(factory(request) if takes_request else factory(), spec)
        except MedsamError:
            raise
        except (Exception, SystemExit) as error:
            raise PredictorError(
                f"predictor {spec}: its factory failed with {described(error)}, expected a predictor; "
                "correct the factory."
            ) from error

    return make


def available() -> tuple[str, ...]:
    """Every name that `choose` knows: the built-in ones, then the installed entry points."""
    return tuple(dict.fromkeys([*BUILT_IN, *sorted(point.name for point in metadata.entry_points(group=GROUP))]))


def checked(made: Any, spec: str) -> Checked:
    """The object as a `Checked` predictor. Raises PredictorError if it lacks a part of the contract.

    spec: how the user named it, for the sentence.
    """
    if isinstance(made, Checked):
        return made
    lacking = [name for name in ("encode", "predict") if not callable(getattr(made, name, None))]
    lacking += [name for name in ("identity", "notes") if not hasattr(made, name)]
    if lacking:
        raise PredictorError(
            f"predictor {spec}: got a {type(made).__name__} without {' and '.join(lacking)}, expected encode, predict, "
            "identity and notes; see docs/adding-a-predictor.md."
        )
    if not isinstance(made.identity, PredictorIdentity):
        raise PredictorError(
            f"predictor {spec}: got an identity of type {type(made.identity).__name__}, expected a PredictorIdentity; "
            "make one from medsam_core.predictors.contract."
        )
    if not isinstance(made.notes, list):
        raise PredictorError(
            f"predictor {spec}: got notes of type {type(made.notes).__name__}, expected a list; start with []."
        )
    assert isinstance(made, Predictor)
    return Checked(made)


def check_name(spec: str) -> None:
    """Raise PredictorError if `choose` knows no such name; what `module:factory` names is not imported."""
    names = available()
    if ":" not in spec and spec not in names:
        raise PredictorError(
            f"predictor {spec}: got an unknown name, expected {_one_of(names)}, or "
            f"module:factory{_meant(spec, names)}; correct the name or install the package that has it."
        )


def _resolve(spec: str) -> Callable[..., Any]:
    check_name(spec)
    offered = {point.name: point.value for point in metadata.entry_points(group=GROUP)} | BUILT_IN
    return _imported(offered.get(spec, spec), spec)


def _imported(target: str, spec: str) -> Callable[..., Any]:
    name, _, path = target.partition(":")
    if not name or not path:
        raise PredictorError(
            f"predictor {spec}: got no module or no factory, expected module:factory; give both, such as "
            "my_models.onnx:make."
        )
    try:
        found: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise PredictorError(
            f"predictor {spec}: the module {name} cannot be imported: {described(error)}; install it, or put its "
            "folder on PYTHONPATH or into pytest's setting pythonpath."
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            close = _meant(part, [other for other in dir(found) if not other.startswith("_")])
            raise PredictorError(
                f"predictor {spec}: {name} has no {path}{close}, expected a function or a class that makes the "
                "predictor; correct the name after the colon."
            )
        found = getattr(found, part)
    if not callable(found):
        raise PredictorError(
            f"predictor {spec}: got a {type(found).__name__}, expected a function or a class that makes the "
            "predictor; name that."
        )
    factory: Callable[..., Any] = found
    return factory


def _takes_an_argument(factory: Callable[..., Any]) -> bool:
    """Whether the factory has a positional parameter without a default, or takes any number of them."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some classes written in C
        return False
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return any(one.kind is one.VAR_POSITIONAL for one in parameters) or any(
        one.default is one.empty or one.name == "request" for one in positional
    )


def _one_of(names: tuple[str, ...]) -> str:
    return f"one of {', '.join(names)}" if len(names) > 1 else names[0]


def _meant(word: str, names: Any) -> str:
    close = difflib.get_close_matches(word, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
