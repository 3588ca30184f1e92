"""`medsam-core latency compare NEW.json` and `latency accept NEW.json --as NAME`: the latencies of the stages."""

from __future__ import annotations

import argparse
from pathlib import Path

FACTOR = 1.2  # as in medsam_core.latency, whose import would slow down --help


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "latency",
        help="compare or accept stage latencies",
        description="Measure first: pytest benchmarks/test_latency.py -m latency --benchmark-json=NEW.json",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    compare = actions.add_parser(
        "compare",
        help="compare a measurement with an accepted one",
        description="Exit code: 0 PASS, 1 FAIL (a stage is slower by more than the factor), 10 INCONCLUSIVE (another "
        "machine, too noisy, or nothing accepted), 2 wrong use. Nothing is written.",
    )
    compare.add_argument("measurement", type=Path, metavar="NEW.json", help="what --benchmark-json wrote")
    compare.add_argument("--against", metavar="NAME", help="an accepted name or file (default: that of this machine)")
    compare.add_argument("--across-checkpoints", action="store_true", help="allow other weights of one architecture")
    accept = actions.add_parser(
        "accept",
        help="accept a measurement",
        description="Write benchmarks/baselines/latency/NAME.json, for you to commit. Refused if it is not shown to be "
        "as fast as the measurement that it would replace.",
    )
    accept.add_argument("measurement", type=Path, metavar="NEW.json", help="what --benchmark-json wrote")
    accept.add_argument("--as", dest="name", required=True, metavar="NAME", help="the accepted measurement's name")
    accept.add_argument("--force", action="store_true", help="accept it even if it is slower")
    for one in (compare, accept):
        one.add_argument("--factor", type=float, default=FACTOR, help="allowed slowdown (default: %(default)s)")
        one.add_argument("--baselines", type=Path, metavar="DIR", help="default: benchmarks/baselines/latency")


def run(arguments: argparse.Namespace) -> int:
    """Compare or accept, and return the exit code. Raises GateError or OptionError."""
    from medsam_core.errors import OptionError
    from medsam_core.latency.measurement import FOLDER, accept_latency, compare_latency, find_accepted, read_measurement

    if not 1 <= arguments.factor < float("inf"):
        raise OptionError(f"--factor: got {arguments.factor}, expected a number ≥ 1; e.g. 1.2.")
    now, folder = read_measurement(arguments.measurement), arguments.baselines or FOLDER
    if arguments.action == "accept":
        path, overruled = accept_latency(
            now, arguments.name, folder=folder, factor=arguments.factor, force=arguments.force
        )
        for objection in overruled:
            print(f"overruled: {objection}")
        print(f"wrote {path}: commit it")
        return 0
    before = find_accepted(now, arguments.against, folder)
    if before is None:
        print(
            f"INCONCLUSIVE: nothing accepted in {folder} is of this machine and question; "
            f"accept this one with `medsam-core latency accept {arguments.measurement} --as NAME`"
        )
        return 10
    comparison = compare_latency(before, now, factor=arguments.factor, across_checkpoints=arguments.across_checkpoints)
    print("\n".join(comparison.lines()))
    return comparison.outcome.exit_code
