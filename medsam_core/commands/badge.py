"""`medsam-core badge RUN`: a run's verdict as JSON for a badge of shields.io."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "badge",
        help="show a run's verdict as a badge",
        description="Print the verdict as JSON for https://shields.io/endpoint: green for PASS, red for all else. "
        "Exit code: 0, whatever the verdict, or 2 if the run cannot be read.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory or an fsspec URL")
    parser.add_argument("--title", metavar="TEXT", help="the badge's left side (default: MedSAM-2 gate)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here instead of printing")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the badge. Raises RunError."""
    from medsam_core.errors import RunError
    from medsam_core.files import write_whole
    from medsam_core.gates.remote import local
    from medsam_core.reports.summary import TITLE, badge

    with local(arguments.run) as directory:
        text = json.dumps(badge(directory, title=arguments.title or TITLE)) + "\n"
    if arguments.output is None:
        print(text, end="")
    else:
        write_whole(arguments.output, text, error=RunError, fix="choose another place")
    return 0
