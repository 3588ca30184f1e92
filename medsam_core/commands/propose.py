"""`medsam-core propose RUN`: a gates file with floors from what a run measured, for a person to look at."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from medsam_core.errors import GateError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "propose",
        help="propose a gates file from a run's measured scores",
        description="Print a gates file with floors under what a run measured, with the margins that its head "
        "explains. Read it, save it, and give it to pytest with --gates=FILE.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory or fsspec URL, every planned case scored")
    parser.add_argument(
        "--repeat",
        action="append",
        default=[],
        metavar="RUN",
        help="under this run's scores, too: the same cases on another device or in another precision; may be repeated",
    )
    parser.add_argument("--margin", type=float, default=0.05, help="below the worst case (default: %(default)s)")
    parser.add_argument("--mean-margin", type=float, default=0.02, help="below the mean (default: %(default)s)")
    parser.add_argument("--baseline", metavar="NAME", help="add gates against this baseline, which the file names")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here, not to the terminal")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the proposal. Raises GateError or RunError in one sentence; never overwrites unasked."""
    from medsam_core.files import write_whole
    from medsam_core.gates.proposal import propose_gates
    from medsam_core.gates.remote import local
    from medsam_core.runs import read_run

    with ExitStack() as stack:
        first, *repeats = (read_run(stack.enter_context(local(one))) for one in (arguments.run, *arguments.repeat))
        text = propose_gates(
            first,
            repeats=repeats,
            margin=arguments.margin,
            mean_margin=arguments.mean_margin,
            baseline=arguments.baseline,
        )
    if arguments.output is None:
        print(text, end="")
        return 0
    if arguments.output.is_file() and not arguments.force:
        raise GateError(f"{arguments.output}: exists already, expected a new file; choose another or add --force.")
    write_whole(arguments.output, text, error=GateError, fix="choose another place")
    print(f"wrote {arguments.output}: look at the run's worst cases before you commit it")
    return 0
