"""The command that scores a failed case again: it can be pasted into a shell, in any folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from medsam_core.plugin.options import NEVER_REPEATED, OPTIONS, PATH_OR_NAME, PATHS

PLUGIN, SUITE = "medsam_core.plugin.plugin", "medsam_core.suite.test_accuracy"
_SUITE_FILE = Path(__file__).parents[1] / "suite" / "test_accuracy.py"


def rerun_command(item: pytest.Item) -> str:
    """One shell line: this interpreter, the test by its full path, and what the session was given but its own run."""
    config = item.config
    _, _, test = item.nodeid.partition("::")
    words = [sys.executable, "-m", "pytest"]
    if item.path == _SUITE_FILE:  # by its name: pytest does not look into an environment's folder for a path
        words += ["--pyargs", f"{SUITE}::{test}"]
    else:
        words.append(f"{item.path}::{test}")
    if config.inipath and (config.option.inifilename or not item.path.is_relative_to(config.rootpath)):
        words += ["-c", str(config.inipath)]
    for plugin in config.option.plugins:  # of the command line and of addopts; "no:…" changes no score
        if not plugin.startswith("no:"):
            words += ["-p", plugin]
    if config.option.markexpr and config.option.markexpr not in config.getini("addopts"):
        words += ["-m", config.option.markexpr]
    return shlex.join([*words, *given_options(config)])


def given_options(config: pytest.Config) -> list[str]:
    """The options of the command line with full paths; without the run directory, which is not to be written over.

    They have an equals sign because pytest takes a path after a blank for the path of a test.
    """
    words = []
    for option in OPTIONS:
        value = config.getoption(option.key)
        if value is None or option.name in NEVER_REPEATED:
            continue
        path = _absolute(config, value) if option.metavar else None
        # a name stays a name, even if a folder is called so
        named = option.metavar == PATH_OR_NAME and path and (path.is_file() or (path / "run.json").is_file())
        if option.metavar in PATHS or named:
            value = path
        words.append(f"{option.flag}={value}" if option.metavar else option.flag)
    return words


def _absolute(config: pytest.Config, value: str) -> Path:
    return (config.invocation_params.dir / Path(value).expanduser()).resolve()
