"""`pytest benchmarks/test_latency.py -m latency --latency-against=REV_OR_CHECKPOINT`: two sides timed in turn.

Other weights run through this code, another revision's code with these weights through its own
benchmarks/test_latency.py in a worktree. Each round of a side is a process of its own; both are given the same files.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from medsam_core.errors import MedsamError, OptionError
from medsam_core.inference.checkpoints import EMBEDDED_NAME, resolve
from medsam_core.inference.published import NAMES
from medsam_core.latency.interleaved import compare_rounds, order
from medsam_core.latency.measurement import Measurement, read_measurement
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.plugin.rerun import given_options
from medsam_core.plugin.resolving import configuration_from

SUITE = Path("benchmarks/test_latency.py")
SECONDS, ROUNDS = 1.0, 3  # of warm timing for a stage in one round; a job has several
OWN = tuple(
    f"--medsam-{name}" for name in ("checkpoint", "root", "limit", "phantom", "gates", "baseline", "prompts-from")
)


@dataclass(frozen=True)
class Side:
    """name: for the reader. root: the checkout whose suite runs. checkpoint: the weights' file."""

    name: str
    root: Path
    checkpoint: Path


def main(config: pytest.Config, against: str) -> int:
    """Time both sides in turn and print the comparison; its exit code. pytest.UsageError for the user's mistakes."""
    try:
        return _main(config, against)
    except MedsamError as error:
        raise pytest.UsageError(str(error)) from None


def _main(config: pytest.Config, against: str) -> int:
    pairs, factor = config.getoption("--latency-pairs"), config.getoption("--latency-factor")
    if pairs < 1:
        raise OptionError(f"--latency-pairs: got {pairs}, expected at least 1; 3 are needed for a verdict.")
    if not 1 <= factor < float("inf"):
        raise OptionError(f"--latency-factor: got {factor:g}, expected a number ≥ 1; e.g. 1.1.")
    configuration = configuration_from(config)
    this = Side("this code", config.rootpath, resolve(configuration.checkpoint).path.resolve())
    with TemporaryDirectory(prefix="medsam-latency-") as folder, other_side(against, this, Path(folder)) as other:
        root = configuration.brats_root
        if root is None:
            root, phantom = Path(folder) / "cohort", configuration.phantom
            write_cohort(root, subjects=1, size=phantom.size, seed=phantom.seed)
        options = [f"--medsam-root={root}", "--medsam-limit=1", *_handed_on(config)]
        rounds: dict[str, list[Measurement]] = {"A": [], "B": []}
        turns = order(pairs)
        print(f"{this.name} against {other.name}: {len(turns)} rounds, {turns}, A is {other.name}")
        for number, turn in enumerate(turns, start=1):
            side = other if turn == "A" else this
            started = time.perf_counter()
            rounds[turn].append(_round(side, options, Path(folder) / f"{number}.json"))
            print(f"round {number} of {len(turns)}: {side.name}, {time.perf_counter() - started:.0f} s", flush=True)
    comparison = compare_rounds(other.name, rounds["A"], rounds["B"], factor=factor)
    print("\n".join(comparison.lines()))
    return comparison.outcome.exit_code


@contextmanager
def other_side(text: str, this: Side, folder: Path) -> Iterator[Side]:
    """The side that a file, a checkpoint's name or a git revision means. A worktree in `folder` ends with the block.

    Raises OptionError if it is none of the three, or a revision that has no latency suite.
    """
    if Path(text).is_file() or text in (EMBEDDED_NAME, *NAMES):
        yield Side(text, this.root, resolve(text).path.resolve())
        return
    commit = _git(this.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if commit is None:
        raise OptionError(
            f"--latency-against: got {text!r}, expected a checkpoint's file or name (medsam2-latest, sam2.1-tiny …) or "
            f"a git revision of {this.root}; mend it."
        )
    tree = folder / "worktree"
    if _git(this.root, "worktree", "add", "--detach", "--quiet", str(tree), commit) is None:
        raise OptionError(f"--latency-against: git made no worktree of {text!r} at {tree}; see `git worktree list`.")
    try:
        if not (tree / SUITE).is_file():
            raise OptionError(f"--latency-against: {text!r} has no {SUITE}, expected it; choose a later revision.")
        side = Side(f"{text} ({commit[:9]})", tree, this.checkpoint)
        _check_code(side)
        yield side
    finally:
        _git(this.root, "worktree", "remove", "--force", str(tree))


def _git(root: Path, *command: str) -> str | None:
    """What git prints, None if it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _check_code(side: Side) -> None:
    """That a process in the worktree imports the worktree's package, whatever is installed."""
    command = [sys.executable, "-c", "import medsam_core; print(medsam_core.__file__)"]
    done = subprocess.run(command, cwd=side.root, env=_environment(side), capture_output=True, text=True, check=False)
    if not done.stdout.strip() or not Path(done.stdout.strip()).resolve().is_relative_to(side.root.resolve()):
        raise OptionError(
            f"--latency-against: {side.name} imports {done.stdout.strip() or 'nothing'}, expected its own code; "
            "run it in an environment where medsam-core is installed editable."
        )


def _environment(side: Side) -> dict[str, str]:
    path = os.pathsep.join([str(side.root), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _handed_on(config: pytest.Config) -> list[str]:
    """This session's options, but for the weights and the files, which are said for each side."""
    given = [word for word in given_options(config) if not word.startswith(OWN)]
    return [*given, *(["-k", config.option.keyword] if config.option.keyword else [])]


def _round(side: Side, options: Sequence[str], out: Path) -> Measurement:
    """One process of one side. Raises OptionError with the last line that it printed."""
    conftest = side.root / SUITE.parent / "conftest.py"
    short = [f"--latency-seconds={SECONDS:g}", f"--latency-rounds={ROUNDS}"]
    if short[0].split("=")[0] not in conftest.read_text(encoding="utf-8"):
        short = []  # of a revision that takes its own time
    command = [sys.executable, "-m", "pytest", str(SUITE), "-m", "latency", "-q", "-p", "no:cacheprovider"]
    command += [f"--benchmark-json={out}", f"--medsam-checkpoint={side.checkpoint}", *short, *options]
    done = subprocess.run(command, cwd=side.root, env=_environment(side), capture_output=True, text=True, check=False)
    if done.returncode != 0 or not out.is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["it printed nothing"]
        errors = [line for line in lines if line.startswith(("E  ", "ERROR"))]
        raise OptionError(
            f"--latency-against: a round of {side.name} ended with exit code {done.returncode} "
            f"({(errors or lines)[-1].strip()}); try `{shlex.join(command[2:])}` in {side.root}."
        )
    return read_measurement(out)
