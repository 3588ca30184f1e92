"""`medsam-core calibrate`: how far repeats of one run drift apart on this machine, and what tolerances follow."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="measure this machine's noise by running the same gate several times",
        description="Run the accuracy gate --repeats times, or take stored repeats, and record the spread by device "
        "and precision. Options of the gate follow after --, e.g. -- --brats-root=DIR --device cuda.",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="stored repeats; or, after --, options for pytest")
    parser.add_argument("--repeats", type=int, metavar="K", help="run the gate K times instead")
    parser.add_argument("--suite", default="benchmarks/test_accuracy.py", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the K runs there (default: a temporary folder)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: benchmarks/noise-floor.json")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record the floor. Raises GateError or RunError in one sentence."""
    from tempfile import TemporaryDirectory

    from medsam_core.errors import GateError
    from medsam_core.gates.noise import FILE, measure, write_floor
    from medsam_core.runs import read_run

    output = arguments.output or FILE
    if arguments.repeats is None:
        refuse_twice(arguments.runs)
        floor = measure([read_run(directory) for directory in arguments.runs])
    else:
        if arguments.repeats < 2:
            raise GateError(f"--repeats: got {arguments.repeats}, expected at least 2; give more.")
        with TemporaryDirectory() as temporary:
            folder = arguments.keep or Path(temporary)
            directories = [folder / f"repeat-{number}" for number in range(1, arguments.repeats + 1)]
            for directory in directories:
                repeat(directory, arguments.suite, arguments.runs)
            floor = measure([read_run(directory) for directory in directories])
    write_floor(floor, output)
    print("\n".join(floor.lines()))
    print(f"wrote {output}: commit it")
    return 0


def refuse_twice(directories: list[str]) -> None:
    """Raise GateError if two are one directory: a run has no distance from itself, and a floor of 0 refuses nothing."""
    from medsam_core.errors import GateError

    given: dict[Path, str] = {}
    for directory in directories:
        place = Path(directory).resolve()
        if place in given:
            raise GateError(
                f"{directory}: the same run as {given[place]}, expected every repeat once; give the directories of "
                "different runs."
            )
        given[place] = directory


def repeat(directory: Path, suite: str, options: list[str]) -> None:
    """Run the gate once into `directory`; its verdict does not matter here, only that it scored its cases."""
    from medsam_core.errors import RunError

    command = [sys.executable, "-m", "pytest", suite, "-q", f"--run-dir={directory}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 10):
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no output"]
        raise RunError(
            f"{suite}: a repeat ended with exit code {done.returncode} ({last[0]}); mend the options after --."
        )
