"""`medsam-core view RUN`: a run's cases in the viewer, served to this machine's browser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medsam_core.cases import CaseRecord

DESCRIPTION = """\
Look at the cases of a run in three planes and in 3-D: image, truth, prediction and prompt. The run is served to this
machine alone (127.0.0.1) until Ctrl-C; nothing is written, and nothing leaves the machine.

  medsam-core view RUN                          a list of its cases, the worst first
  medsam-core view RUN A/t1ce/WT/box            one case; a part of its id is enough if no other id has it
  medsam-core view RUN --no-browser --port 8000 for a browser at the other end of `ssh -L 8000:127.0.0.1:8000 HOST`

A case that the run keeps data of (--medsam-viewer=worst|all) is shown as it was scored. Of any other, image and truth
are read from the cohort again, if it is still where it was (else give --root), and the prediction from the run's masks,
which --medsam-save-masks saves. What is missing is named in the viewer. Press ? there for its keys.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "view",
        help="look at a run's cases in three planes and in 3-D",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("case", nargs="?", metavar="CASE", help="a case's id, or a part of it that no other id has")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="default: one that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the cohort's folder (default: as the run names it)")
    parser.add_argument("--segmentation", metavar="NAME", help="as --medsam-segmentation of the run, if it had one")


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises RunError, or OptionError for a case that is not in the run or a port in use."""
    import webbrowser

    from medsam_core.runs import read_run
    from medsam_core.viewer.server import RunServer, page_of
    from medsam_core.viewer.stored import StoredScripts

    stored = read_run(arguments.run)
    path = "/" if arguments.case is None else page_of(chosen(stored.records, arguments.case))
    with RunServer(stored, StoredScripts(stored, arguments.root, arguments.segmentation), arguments.port) as server:
        address = server.address.rstrip("/") + path
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if not arguments.no_browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def chosen(records: Sequence[CaseRecord], text: str) -> CaseRecord:
    """The record whose id is `text`, or the only one whose id holds it. Raises OptionError."""
    from medsam_core.errors import OptionError
    from medsam_core.text import few

    found = [record for record in records if record.id == text] or [one for one in records if text in one.id]
    if len(found) == 1:
        return found[0]
    got = f"{len(found)} cases have it in their id ({few([one.id for one in found])})" if found else "no case has it"
    raise OptionError(f"{text}: {got}, expected one case; `medsam-core view RUN` without a case lists them all.")
