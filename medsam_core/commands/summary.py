"""`medsam-core summary RUN`: a run's verdict, table and worst cases as Markdown, for a job or a pull request."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "summary",
        help="show a run as Markdown",
        description="Print the verdict, the reasons, the table and the worst cases of a run as GitHub's Markdown. "
        "Exit code: 0, whatever the verdict, or 2 if the run cannot be read.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory or an fsspec URL")
    parser.add_argument("--title", metavar="TEXT", help="the heading's first words (default: MedSAM-2 gate)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here instead of printing")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the summary. Raises RunError or OptionError."""
    from medsam_core.errors import RunError
    from medsam_core.files import write_whole
    from medsam_core.gates.remote import local
    from medsam_core.reports.summary import TITLE, summary

    with local(arguments.run) as directory:
        text = summary(directory, title=arguments.title or TITLE)
    if arguments.output is None:
        print(text, end="")
    else:
        write_whole(arguments.output, text, error=RunError, fix="choose another place")
    return 0
