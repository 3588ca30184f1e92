"""`medsam-core run`: the whole gate, in any folder and without a test file."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Collection, Sequence

from medsam_core.errors import OptionError
from medsam_core.plugin.options import OPTIONS
from medsam_core.plugin.rerun import PLUGIN, SUITE

_DESCRIPTION = """\
Run the accuracy gate: score every case of a cohort, write a run directory, and say PASS, FAIL or INCONCLUSIVE.
Without options: the phantom cohort and the embedded checkpoint. It runs pytest on a test that is installed with the
package; the folder's conftest.py and pytest configuration count, and every option here is --medsam-NAME there.
Arguments after -- go to pytest. Exit code: 0 PASS, 1 FAIL, 10 INCONCLUSIVE, 11 a shard that awaits a merge, 4 a mistake
in an option.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "run",
        help="run the gate: score a cohort and give the verdict",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)
    parser.add_argument("pytest", nargs="*", metavar="-- ARG", help="arguments for pytest, such as -- -x -k WT")


def add_options(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Declare the options of a gate session. without: the names of those that the command decides itself."""
    for option in OPTIONS:
        if option.name not in without:
            text = option.help.replace("%", "%%")
            parser.add_argument(f"--{option.name}", dest=option.key, default=None, help=text, **option.arguments)
    parser.add_argument("-n", dest="workers", metavar="N", help="score subjects in N processes (needs pytest-xdist)")
    parser.add_argument("-m", dest="mark", metavar="EXPR", help="-m gpu: on CUDA, and an error without a GPU")


def run(arguments: argparse.Namespace) -> int:
    """Run pytest, and return its exit code. Raises OptionError if -n is given without pytest-xdist."""
    command = gate_command([*session_options(arguments), *arguments.pytest])
    sys.stdout.flush()
    if os.name == "posix":  # pytest takes the place of this process: an interrupt or a kill reaches the session itself
        os.execv(command[0], command)
    return subprocess.call(command)


def session_options(arguments: argparse.Namespace) -> list[str]:
    """What was given of `add_options`, as pytest takes it. Raises OptionError if -n is given without pytest-xdist."""
    words = ["-v"]
    for option in OPTIONS:
        value = getattr(arguments, option.key, None)
        if value is not None:
            words.append(f"{option.flag}={value}" if option.metavar else option.flag)
    if arguments.workers is not None:
        if importlib.util.find_spec("xdist") is None:
            raise OptionError(
                f"-n {arguments.workers}: got no pytest-xdist, expected it to be installed; "
                "pip install pytest-xdist, or leave -n out."
            )
        words += ["-n", arguments.workers]
    if arguments.mark is not None:
        words += ["-m", arguments.mark]
    return words


def gate_command(options: Sequence[str], suite: str | None = None) -> list[str]:
    """The command of a gate session: pytest in another process, with the same interpreter.

    Within this process pytest would find modules imported that it wants to import itself, and warn.
    suite: a test file; None for the one that is installed.
    """
    tests = [suite] if suite else ["--pyargs", SUITE, "-o", "python_functions=test"]
    return [sys.executable, "-m", "pytest", "-p", PLUGIN, *tests, *options]
