"""`medsam-core accept RUN --as NAME`: make a run the baseline for later runs."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "accept",
        help="accept a run as a baseline",
        description="Write a run as benchmarks/baselines/NAME.json, for you to commit. Refused if the run is not a "
        "PASS or is not shown to be as good as the baseline that it would replace.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory or an fsspec URL")
    parser.add_argument("--as", dest="name", required=True, metavar="NAME", help="the baseline's name")
    parser.add_argument("--gates", type=Path, metavar="FILE", help="default: the gates that the run was judged by")
    parser.add_argument("--baselines", type=Path, metavar="DIR", help="default: benchmarks/baselines")
    parser.add_argument("--reason", default="", help="why you accept it; written into the file")
    parser.add_argument("--force", action="store_true", help="accept it; the objections are written into the file")


def run(arguments: argparse.Namespace) -> int:
    """Write the baseline or raise GateError with the objections."""
    from medsam_core.gates.acceptance import accept
    from medsam_core.gates.baseline_file import FOLDER
    from medsam_core.gates.gates_file import gates_of
    from medsam_core.gates.remote import local
    from medsam_core.runs import read_run

    with local(arguments.run) as directory:
        stored = read_run(directory)
        gates, folder = gates_of(stored, arguments.gates), arguments.baselines or FOLDER
        path, overruled = accept(
            stored, arguments.name, gates, folder=folder, force=arguments.force, reason=arguments.reason
        )
    for objection in overruled:
        print(f"overruled: {objection}")
    print(f"wrote {path}: commit it")
    return 0
