"""Which predictor a session judges: the option's, else that of a hook, else the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import MedsamError, OptionError, PredictorError

if TYPE_CHECKING:
    import pytest

    from medsam_core.predictors.choosing import PredictorRequest
    from medsam_core.predictors.contract import Predictor

HOOK, FIXTURE = "pytest_medsam_predictor", "medsam_predictor"
HERE = ("engine", "sam2")
"""Predictors that run their model in this process with torch; their identity is the same on every device."""


@dataclass(frozen=True)
class PredictorChoice:
    """How the predictor of a session is made."""

    name: str | None = None
    """What --medsam-predictor says; None: the hook's predictor, and without a hook the engine."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Settings of the predictor by name, such as the program of `command`."""
    postprocess: str = ""
    """The steps that are applied to its masks, as `postprocessing.steps_from` reads them."""
    hook: Callable[[PredictorRequest], Any] | None = field(default=None, compare=False)
    """Calls the hook pytest_medsam_predictor of conftest files and plugins; None where there is none."""
    files: tuple[Path, ...] = field(default=(), compare=False)
    """The files that have the hook."""

    @property
    def runs_here(self) -> bool:
        """Whether it is one of HERE."""
        return self.name in HERE or self.is_engine

    @property
    def is_engine(self) -> bool:
        """Whether it is this package's own engine."""
        return self.name == "engine" or (self.name is None and self.hook is None)

    @property
    def passed_on(self) -> str:
        """For the header: that device and precision are only what the predictor was given; "" if it is known more."""
        return "" if self.runs_here else "as the predictor was given it; what it uses itself is not known"

    def make(self, request: PredictorRequest) -> Predictor:
        """The predictor, checked against the contract. Raises PredictorError or another MedsamError."""
        from medsam_core.predictors.choosing import choose
        from medsam_core.predictors.postprocessing import PostProcessed, steps_from

        steps = steps_from(self.postprocess)
        made: Predictor | None = None
        if self.name is None and self.hook is not None:
            made = _by_hook(self.hook, request)
        made = made or choose(self.name or "engine", **vars(request))()
        return PostProcessed(made, steps) if steps else made

    def check(self) -> None:
        """Raise PredictorError or OptionError for a name or steps that mean nothing; imports nothing of the user's."""
        if self.postprocess:
            from medsam_core.predictors.postprocessing import steps_from

            steps_from(self.postprocess)
        if self.name is not None:
            from medsam_core.predictors.choosing import check_name

            check_name(self.name)


def choice_from(
    name: str | None, settings: Mapping[str, str | None], postprocess: str | None, config: pytest.Config
) -> PredictorChoice:
    """From the texts of the options, None where one is not given.

    settings: --medsam-predictor-NAME by NAME; `options` has several NAME=VALUE. Raises OptionError if it has not.
    """
    given = {option: value for option, value in settings.items() if value is not None}
    for word in filter(None, (one.strip() for one in given.pop("options", "").split(","))):
        option, equals, value = word.partition("=")
        if not option or not equals:
            raise OptionError(
                f"--medsam-predictor-options: got {word!r}, expected NAME=VALUE, several with commas between; "
                "correct it."
            )
        given[option.strip()] = value.strip()
    caller = getattr(config.hook, HOOK)
    hooked = caller.get_hookimpls()
    hook = (lambda request: caller(config=config, request=request)) if hooked else None
    files = [getattr(one.plugin, "__file__", None) for one in hooked] if name is None else []
    return PredictorChoice(name, given, postprocess or "", hook, tuple(Path(file) for file in files if file))


def unused_predictor(config: pytest.Config, items: Collection[pytest.Item], hooks: int) -> str | None:
    """A sentence on a predictor that somebody defined where it would score no case, None if there is none.

    items: the tests of cases. hooks: how many hooks there were when the predictor was chosen.
    """
    found = getattr(config.hook, HOOK).get_hookimpls()
    if items and len(found) > hooks:
        where = getattr(found[-1].plugin, "__file__", None) or found[-1].plugin_name
        return (
            f"{HOOK}: found in {where}, which pytest loads after the predictor is chosen, expected in a conftest.py "
            "that it loads at the start; move the hook to the conftest.py of the root."
        )
    for item in items:
        for definition in item.session._fixturemanager.getfixturedefs(FIXTURE, item) or ():
            where = definition.func.__module__
            if where != "medsam_core.plugin.plugin":
                code = getattr(definition.func, "__code__", None)
                place = f"{code.co_filename}:{code.co_firstlineno}" if code else where
                return (
                    f"fixture {FIXTURE}: got another one from {place}, expected the "
                    f"plugin's, because a fixture is made too late to be named in the run; define the hook {HOOK} in "
                    "its place, or give --medsam-predictor=module:factory."
                )
    return None


def _by_hook(hook: Callable[[PredictorRequest], Any], request: PredictorRequest) -> Predictor | None:
    from medsam_core.predictors.checked import described
    from medsam_core.predictors.choosing import checked

    try:
        made = hook(request)
        return None if made is None else checked(made, HOOK)
    except MedsamError:
        raise
    except (Exception, SystemExit) as error:
        raise PredictorError(
            f"predictor: the hook {HOOK} failed with {described(error)}, expected a predictor or None; "
            "correct the hook."
        ) from error
