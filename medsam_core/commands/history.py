"""`medsam-core history [FOLDER]`: the runs under a folder or URL by date, and a plot of their scores and times."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "history", help="list runs by date, and plot them", description="List the runs under a folder, oldest first."
    )
    parser.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="or an fsspec URL (default: runs)")
    parser.add_argument("--metric", default="dice", help="whose means are shown (default: %(default)s)")
    parser.add_argument("--scope", default="volume", help="its scope: volume (default), region_slices or key_slice")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot means and times by date: .png, .svg or .pdf")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, draw the plot. Raises RunError or OptionError."""
    from medsam_core.cases import SCOPES, check_choices
    from medsam_core.gates.remote import local
    from medsam_core.metrics import METRICS
    from medsam_core.reports.history import history, plot, table

    check_choices("metric", (arguments.metric,), tuple(METRICS))
    check_choices("scope", (arguments.scope,), SCOPES)
    asked = {"metric": arguments.metric, "scope": arguments.scope}
    with local(arguments.folder) as folder:
        entries = history(folder, **asked)
    if arguments.json:
        print(json.dumps([one.to_json() for one in entries], indent=1))
    else:
        print("\n".join(table(entries)))
    if arguments.plot is not None:
        drawn = plot(entries, arguments.plot, **asked)
        if not arguments.json:
            print(f"wrote {arguments.plot}: {drawn} of {len(entries)} runs, those of the newest run's cohort")
    return 0
