"""The command that scores one case of a stored run again, as far as the run's own command says it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from medsam_core.header import RunHeader

_DROPPED = ("run-dir", "resume", "shard", "subjects", "limit", "modality", "regions", "prompts", "protocol")
"""Options that a command for one case replaces, or that name the run which must not be written over."""

_OPTIONS = "PYTEST_ADDOPTS"
"""A variable with options, which the header has as the command's first word."""


def command_of(header: RunHeader) -> str:
    """The command of the run's session, without what chooses cases; the page adds those options for one case."""
    command = header.command or ("pytest",)
    if header.shards:  # the merge's own command scores nothing
        command = next((one.command for one in header.shards if one.command), ("pytest",))
    first, *rest = command
    name, equals, value = first.partition("=")
    if name != _OPTIONS or not equals:
        return shlex.join(without(command, _DROPPED))
    try:
        kept = shlex.join(without(shlex.split(value), _DROPPED))
    except ValueError:  # a quote without its end
        kept = value
    before = f"{name}={shlex.quote(kept)} " if kept else ""
    return before + shlex.join(without(rest, _DROPPED))


def without(command: Sequence[str], dropped: Sequence[str]) -> list[str]:
    """The words of a command without some options of the plugin, with their values."""
    flags = {f"--medsam-{name}" for name in dropped}
    words: list[str] = []
    skip = False
    for word in command:
        if skip:
            skip = False
        elif word in flags:
            skip = True
        elif word.partition("=")[0] not in flags:
            words.append(word)
    return words
