"""What `medsam-core ab` was asked: two things to judge, one set of options, one rule, one folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import OptionError
from medsam_core.plugin.options import BY_NAME, value_of

if TYPE_CHECKING:
    import pytest

    from medsam_core.gates.inferiority import Rule
    from medsam_core.plugin.configuration import Configuration

OLD, NEW = "old", "new"
"""The two sides, and the names of their run directories."""
PREDICTOR = "predictor:"
"""What a side begins with that is no checkpoint."""
SETTING = {"command": "command", "http": "url"}
"""Predictors that a side can set up: `predictor:http:URL`. Name -> the option of the predictor."""
UNFIT = {
    "run-dir": "the two runs are in the folder of -o; give -o DIR",
    "resume": "give -o DIR with the folder of the comparison to go on with",
    "shard": "both are scored in this process; leave it out, or use `medsam-core run`, `merge` and `compare`",
    "ray": "both are scored in this process; leave it out, or use `medsam-core run` and `compare`",
    "ray-actors": "both are scored in this process; leave it out",
    "ray-gpus": "both are scored in this process; leave it out",
    "ship-data": "both are scored in this process; leave it out",
    "allow-no-gpu": "nothing is skipped; leave it out, or name a device with --device",
}
"""Options of a run that a comparison cannot follow, and what to do about each."""
_OWN_FOLDER = ("run-dir", "resume")
"""Of the configuration file these concern other sessions."""


@dataclass(frozen=True)
class Question:
    """What is compared, by which rule, and where."""

    texts: dict[str, str]
    """OLD and NEW as typed, by side."""
    directory: Path
    """It gets the folders `old` and `new`, `ab.json` and `ab.html`."""
    rule: Rule
    configuration: Configuration
    """Of both sides, without what differs between them."""
    by_gates: bool
    """Whether NEW has to hold the gates, too."""


def declare(parser: pytest.Parser) -> None:
    """The four options of the session, which `medsam-core ab` gives."""
    group = parser.getgroup("medsam-ab", "medsam-core ab")
    for name, text in (
        (OLD, "what NEW is compared with"),
        (NEW, "what is judged"),
        ("output", "the folder of the comparison"),
        ("rule", "the rule, as JSON"),
    ):
        group.addoption(f"--medsam-ab-{name}", dest=f"medsam_ab_{name}", help=text)


def question_from(config: pytest.Config, resolve: Callable[[pytest.Config], Configuration]) -> Question:
    """What the options ask. Raises OptionError or another MedsamError in one sentence.

    resolve: makes the configuration of an ordinary session from its options.
    """
    from medsam_core.gates.inferiority import Rule

    def own(name: str) -> Any:
        return config.getoption(f"medsam_ab_{name}")

    for name, fix in UNFIT.items():
        option = BY_NAME[name]
        given = config.getoption(option.key) if name in _OWN_FOLDER else value_of(config, name)
        if given not in (None, option.default):
            value = f"={given}" if option.metavar else ""
            raise OptionError(f"--{name}{value}: is no option of a comparison; {fix}.")
    texts = {OLD: own(OLD), NEW: own(NEW)}
    if config.getoption(BY_NAME["checkpoint"].key) and not any(map(_is_predictor, texts.values())):
        raise OptionError(
            f"--checkpoint: got {config.getoption(BY_NAME['checkpoint'].key)} although OLD and NEW are checkpoints "
            f"themselves, expected it with {PREDICTOR}NAME alone; leave it out."
        )
    rule = Rule(**json.loads(own("rule")))
    made = resolve(config)
    metrics = tuple(dict.fromkeys([*made.settings.metrics, rule.metric]))
    made = replace(made, settings=replace(made.settings, metrics=metrics), workers=0, ray=None)
    directory = own("output") or f"runs/ab-{datetime.now():%Y%m%d-%H%M%S}"
    return Question(
        texts=texts,
        directory=(config.invocation_params.dir / Path(directory).expanduser()).resolve(),
        rule=rule,
        configuration=made,
        by_gates=value_of(config, "gates") is not None,
    )


def judged(text: str, configuration: Configuration) -> dict[str, Any]:
    """The fields of a configuration by which a side differs from the other. Raises OptionError.

    text: a checkpoint's file or name, or `predictor:NAME`, where `command` and `http` may be followed by what they run.
    """
    if not text:
        raise OptionError(f"OLD and NEW: got an empty word, expected a checkpoint or {PREDICTOR}NAME; give both.")
    if not _is_predictor(text):
        if (Path(text) / "run.json").is_file():
            raise OptionError(
                f"{text}: got a run, expected a checkpoint or {PREDICTOR}NAME; compare runs with `medsam-core compare`."
            )
        return {"checkpoint": text}
    name = text.removeprefix(PREDICTOR)
    first, colon, rest = name.partition(":")
    choice = configuration.choice
    if first in SETTING and colon:
        choice = replace(choice, name=first, options={**choice.options, SETTING[first]: rest}, files=())
    else:
        choice = replace(choice, name=name, files=())
    choice.check()
    return {"choice": choice}


def _is_predictor(text: str) -> bool:
    return text.startswith(PREDICTOR)
