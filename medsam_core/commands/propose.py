"""`medsam-core propose RUN`: a gates file with floors under a run's scores, for a person to check."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from medsam_core.errors import GateError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "propose",
        help="propose a gates file from a run's measured scores",
        description="Print a gates file whose floors are the scores of a run less a margin; its head explains how. "
        "Read it, save it, and pass it to pytest with --medsam-gates=FILE.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory or an fsspec URL, with every planned case")
    parser.add_argument(
        "--repeat",
        action="append",
        default=[],
        metavar="RUN",
        help="a run of the same cases, e.g. on another device: floors are under its scores too; may be repeated",
    )
    for option, margin, what in (("--margin", 0.05, "worst case"), ("--mean-margin", 0.02, "mean")):
        help_ = f"how far a floor is below the {what} (default: %(default)s)"
        parser.add_argument(option, type=float, default=margin, help=help_)
    parser.add_argument("--baseline", metavar="NAME", help="also propose gates relative to this baseline")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here instead of to the terminal")
    parser.add_argument("--force", action="store_true", help="overwrite the file of -o")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the proposal. Raises GateError or RunError."""
    from medsam_core.files import write_whole
    from medsam_core.gates.proposal import propose_gates
    from medsam_core.gates.remote import local
    from medsam_core.progress import progress_bar
    from medsam_core.runs import Run, read_run

    places = (arguments.run, *arguments.repeat)
    with ExitStack() as stack:
        progress = stack.enter_context(progress_bar("proposing", unit="step"))
        runs: list[Run] = []
        for place in places:
            progress(len(runs), len(places) + 1)
            runs.append(read_run(stack.enter_context(local(place))))
        progress(len(runs), len(places) + 1)
        first, *repeats = runs
        margins = {"margin": arguments.margin, "mean_margin": arguments.mean_margin}
        text = propose_gates(first, repeats=repeats, **margins, baseline=arguments.baseline)
    if arguments.output is None:
        print(text, end="")
        return 0
    if arguments.output.is_file() and not arguments.force:
        raise GateError(f"{arguments.output}: exists already, expected a new file; choose another or add --force.")
    write_whole(arguments.output, text, error=GateError, fix="choose another place")
    print(f"wrote {arguments.output}: look at the run's worst cases before you commit it")
    return 0
