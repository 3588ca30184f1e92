"""`medsam-core …` and `python -m medsam_core …`: the commands around the gate. The gate itself is `pytest`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from medsam_core import __version__
from medsam_core.errors import MedsamError

COMMANDS = ("list", "phantom", "score", "judge", "propose", "accept", "compare", "history", "calibrate", "latency")

DESCRIPTION = """\
Commands around the MedSAM-2 regression gate on BraTS MRI. The gate itself runs under pytest:

  pytest benchmarks/test_accuracy.py                        phantom cohort, embedded checkpoint
  pytest -m gpu --brats-root=DIR --checkpoint=medsam2-latest --gates=FILE
                                                            a real cohort on CUDA
"""


def parser() -> argparse.ArgumentParser:
    """The parser with every command; each lives in `medsam_core/commands/<name>.py`."""
    top = argparse.ArgumentParser(
        prog="medsam-core", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"medsam-core {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"medsam_core.commands.{name}")
        module.add_parser(subparsers)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 2 for a mistake of the user's, told in one sentence."""
    chosen = parser().parse_args(arguments)
    module = importlib.import_module(f"medsam_core.commands.{chosen.command}")
    try:
        code: int = module.run(chosen)
    except MedsamError as error:
        print(f"medsam-core {chosen.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
