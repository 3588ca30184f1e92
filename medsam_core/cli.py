"""`medsam-core …` and `python -m medsam_core …`: the gate and the commands around it."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from medsam_core import __version__
from medsam_core.errors import MedsamError
from medsam_core.text import shown

COMMANDS = (
    "run",
    "robustness",
    "list",
    "doctor",
    "checkpoints",
    "phantom",
    "score",
    "judge",
    "merge",
    "propose",
    "accept",
    "compare",
    "ab",
    "history",
    "view",
    "summary",
    "badge",
    "export",
    "calibrate",
    "latency",
)

DESCRIPTION = """\
The MedSAM-2 regression gate on BraTS MRI, and the commands around it:

  medsam-core run                      phantom cohort, embedded checkpoint
  medsam-core run -m gpu --root=DIR --checkpoint=medsam2-latest --gates=FILE
                                       a real cohort on CUDA
"""


def parser() -> argparse.ArgumentParser:
    """The parser with every command; each is a module of `medsam_core.commands`."""
    top = argparse.ArgumentParser(
        prog="medsam-core", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"medsam-core {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        _module(name).add_parser(subparsers)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 2, with one sentence on stderr, for a mistake of the user."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an ASCII terminal cannot show every name
            stream.reconfigure(errors="backslashreplace")
    chosen = parser().parse_args(arguments)
    try:
        code = int(_module(chosen.command).run(chosen))
        sys.stdout.flush()
        return code
    except MedsamError as error:
        print(f"medsam-core {chosen.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = shown(str(error.filename or "the output"))
        print(
            f"medsam-core {chosen.command}: {where}: cannot be used ({error.strerror or error}); check the path and "
            "the space on the disk.",
            file=sys.stderr,
        )
        if error.filename is None:  # standard output is full, and would be written to again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"medsam_core.commands.{command}")
