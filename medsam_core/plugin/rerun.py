"""The command that scores a failed case again: it can be pasted into a shell, in any folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from medsam_core.plugin.options import given_options

PATHS = ("root", "gates", "prompts-from", "phantom-dir")
"""Options with a path."""
PATHS_OR_NAMES = ("checkpoint", "baseline")
"""Options with a path or a name, and a name must stay one."""


def rerun_command(item: pytest.Item) -> str:
    """One shell line: this interpreter, the test by its full path, and what the session was given but its own run."""
    config = item.config
    _, _, test = item.nodeid.partition("::")
    words = [sys.executable, "-m", "pytest", f"{item.path}::{test}"]
    if config.option.inifilename:
        words += ["-c", str(_absolute(config, config.option.inifilename))]
    for plugin in config.option.plugins:  # of the command line and of addopts; "no:…" changes no score
        if not plugin.startswith("no:"):
            words += ["-p", plugin]
    if config.option.markexpr and config.option.markexpr not in config.getini("addopts"):
        words += ["-m", config.option.markexpr]
    words += [_with_full_path(config, word) for word in shlex.split(given_options(config))]
    return shlex.join(words)


def _with_full_path(config: pytest.Config, word: str) -> str:
    """`--option=value` with the full path, if the value is one."""
    flag, _, value = word.partition("=")
    name = flag.removeprefix("--").removeprefix("brats-")
    path = _absolute(config, value)
    if name in PATHS or (name in PATHS_OR_NAMES and (path.is_file() or (path / "run.json").is_file())):
        return f"{flag}={path}"
    return word


def _absolute(config: pytest.Config, value: str) -> Path:
    return (config.invocation_params.dir / Path(value).expanduser()).resolve()
