"""`medsam-core merge RUN… -o RUN`: the run of a whole cohort from the runs of its shards, and its verdict."""

from __future__ import annotations

import argparse
from pathlib import Path

_DESCRIPTION = """\
Merge the runs of all shards of a cohort, scored with --medsam-shard, into one run, and judge it by the gates and the
baseline of the shards. Every shard must have answered the same question by the same code. Nothing is written if one is
missing, is there twice or differs. docs/scale.md has the scripts. Exit code: 0 PASS, 1 FAIL, 10 INCONCLUSIVE, 2 wrong
use, or shards that do not make one run.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "merge",
        help="merge the runs of shards into one, and judge it",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the run directory of each shard")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="a directory that is not there")
    parser.add_argument(
        "--baseline", metavar="NAME", help="a baseline or a run (default: that of the shards, or of their gates)"
    )
    parser.add_argument("--baselines", type=Path, metavar="DIR", help="default: benchmarks/baselines")


def run(arguments: argparse.Namespace) -> int:
    """Write the merged run, print its table and verdict, and return its exit code. Raises RunError or GateError."""
    from medsam_core.gates.baseline_file import FOLDER
    from medsam_core.merging.merge import merge
    from medsam_core.plugin.terminal import result_lines
    from medsam_core.progress import progress_bar

    command = ("medsam-core", "merge", *map(str, arguments.runs), "-o", str(arguments.output))
    with progress_bar("merging", unit="step") as progress:
        merged, verdict = merge(
            arguments.runs,
            arguments.output,
            command=command,
            baseline=arguments.baseline,
            folder=arguments.baselines or FOLDER,
            progress=progress,
        )
    print("\n".join(result_lines(merged.records, verdict, merged.header.settings.profile)))
    print(f"run: {arguments.output} (page.html shows it)")
    return verdict.exit_code
