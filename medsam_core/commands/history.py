"""`medsam-core history [FOLDER]`: the runs under a folder or URL by date, what moved between them, plot and page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

DESCRIPTION = """\
List the runs under a folder, oldest first, by cohort and machine, with their means and verdicts, and say between which
two runs a group's mean moved by more than its noise. Unfinished runs are listed apart.

  medsam-core history runs                         on the terminal
  medsam-core history runs --page history.html     one HTML file with charts of accuracy and latency
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "history",
        help="list runs by date, what moved between them, and plot them",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="or an fsspec URL (default: runs)")
    parser.add_argument("--metric", default="dice", help="whose means are shown (default: %(default)s)")
    parser.add_argument("--scope", default="volume", help="volume (default), region_slices, key_slice, round0 …")
    parser.add_argument("--page", type=Path, metavar="FILE", help="also write everything as one HTML file with charts")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot means and times by date: .png, .svg or .pdf")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, write the page, draw the plot. Raises RunError, GateError or OptionError."""
    from medsam_core.cases import check_choices, check_scope
    from medsam_core.errors import RunError
    from medsam_core.files import write_whole
    from medsam_core.gates.remote import local
    from medsam_core.metrics import KNOWN
    from medsam_core.progress import progress_bar
    from medsam_core.reports.history import history
    from medsam_core.reports.history_page import history_page
    from medsam_core.reports.history_plot import plot
    from medsam_core.reports.history_table import charted, table

    check_choices("metric", (arguments.metric,), tuple(KNOWN))
    check_scope(arguments.scope)
    asked = {"metric": arguments.metric, "scope": arguments.scope}
    with local(arguments.folder) as folder, progress_bar("runs", unit="run") as progress:
        entries = history(folder, **asked, progress=progress)
    if arguments.json:
        print(json.dumps([one.to_json() for one in entries], indent=1))
    else:
        print("\n".join(table(entries, **asked)))
    if arguments.page is not None:
        write_whole(arguments.page, history_page(entries, **asked), error=RunError, fix="choose another --page")
    if arguments.plot is not None:
        plot(entries, arguments.plot, **asked)
    if not arguments.json:
        for path in filter(None, (arguments.page, arguments.plot)):
            print(f"wrote {path}: {charted(entries)}")
    return 0
