"""`medsam-core calibrate`: how much the scores differ between repeats of one run on this machine."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from medsam_core.commands.run import gate_command
from medsam_core.errors import GateError, RunError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "calibrate",
        help="measure this machine's noise by running the same gate several times",
        description="Run the accuracy gate --repeats times, or read stored repeats, and write how much the scores "
        "differ, by device and precision. Options of the gate follow after --, e.g. -- --medsam-root=DIR "
        "--medsam-device=cuda.",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="stored repeats; with --repeats, options of the gate")
    parser.add_argument("--repeats", type=int, metavar="K", help="run the gate K times")
    parser.add_argument("--suite", metavar="FILE", help="a test file (default: the gate of `medsam-core run`)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the K runs here (default: they are deleted)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: benchmarks/noise-floor.json")


def run(arguments: argparse.Namespace) -> int:
    """Measure the noise floor, print and write it. Raises GateError or RunError."""
    from medsam_core.gates.noise import FILE, measure, write_floor
    from medsam_core.runs import read_run

    output, directories = arguments.output or FILE, [Path(directory) for directory in arguments.runs]
    with TemporaryDirectory() as temporary:
        if arguments.repeats is None:
            _refuse_twice(directories)
        elif arguments.repeats < 2:
            raise GateError(f"--repeats: got {arguments.repeats}, expected at least 2; give more.")
        else:
            folder = arguments.keep or Path(temporary)
            directories = [folder / f"repeat-{number}" for number in range(1, arguments.repeats + 1)]
            for directory in directories:
                _repeat(directory, arguments.suite, arguments.runs)
        floor = measure([read_run(directory) for directory in directories])
    write_floor(floor, output)
    print("\n".join(floor.lines()))
    print(f"wrote {output}: commit it")
    return 0


def _refuse_twice(directories: list[Path]) -> None:
    given: dict[Path, Path] = {}
    for directory in directories:
        first = given.setdefault(directory.resolve(), directory)
        if first is not directory:  # a run does not differ from itself: the floor would be 0
            raise GateError(
                f"{directory}: the same run as {first}, expected every repeat once; name the directories of "
                "different runs."
            )


def _repeat(directory: Path, suite: str | None, options: list[str]) -> None:
    """Run the gate once into `directory`. Any verdict is fine: only the scores matter."""
    command = gate_command(["-q", f"--medsam-run-dir={directory}", *options], suite)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 10):
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no output"]
        raise RunError(
            f"{suite or 'the gate'}: a repeat ended with exit code {done.returncode} ({last[0]}); "
            "correct the options after --."
        )
