"""`medsam-core judge RUN`: the verdict on a stored run, computed again from its records, without the model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "judge",
        help="judge a stored run again",
        description="Exit code: 0 PASS, 1 FAIL, 10 INCONCLUSIVE, 11 a shard that awaits a merge, 2 wrong use.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory or an fsspec URL")
    parser.add_argument("--gates", type=Path, metavar="FILE", help="default: the gates that the run was judged by")
    parser.add_argument(
        "--baseline", metavar="NAME", help="a baseline or a run (default: that of the run, or its gates)"
    )
    parser.add_argument("--baselines", type=Path, metavar="DIR", help="default: benchmarks/baselines")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the run's page with this verdict (HTML)")


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict and return its exit code. Raises GateError or RunError. Writes nothing but --page."""
    from medsam_core.gates.baseline_file import FOLDER
    from medsam_core.gates.gates_file import gates_of
    from medsam_core.gates.noise import check_gates, floor_of
    from medsam_core.gates.reference import reference_of
    from medsam_core.gates.remote import local
    from medsam_core.gates.verdict import judge_run
    from medsam_core.runs import read_run

    folder = arguments.baselines or FOLDER
    with local(arguments.run) as directory:
        stored = read_run(directory)
        gates = gates_of(stored, arguments.gates)
        check_gates(gates, floor_of(stored))
        baseline = reference_of(stored, gates, arguments.baseline, folder=folder)
        verdict = judge_run(stored, gates, baseline=baseline, folder=folder)
        if arguments.page is not None:
            from medsam_core.page.page import write_page

            write_page(stored, verdict, arguments.page, baseline, fix="choose another --page")
    if arguments.json:
        print(json.dumps(verdict.to_json(), indent=1, sort_keys=True))
    else:
        print("\n".join(verdict.lines()))
    return verdict.exit_code
