"""`medsam-core robustness`: a run with noisy prompts, and how the scores fall as the noise grows."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from medsam_core.commands.run import add_options, gate_command, session_options
from medsam_core.errors import OptionError
from medsam_core.plugin.options import OPTIONS

DESCRIPTION = """\
Score every case with its exact prompt and with noisy ones, write the run as `medsam-core run` does, and report how the
mean Dice falls with the noise: a table, robustness.json, robustness.svg, and robustness.png if matplotlib is installed.

  medsam-core robustness --jitter 0,1,2,3,5,10 --seeds 5 --expand 0,5 -o DIR
  medsam-core robustness RUN                  the report of a run that has noisy prompts, again

The other options are those of `medsam-core run`. Exit code: that of the run, 0 if only the report is written, 2 for a
mistake. What each noise is: docs/prompting.md.
"""
DECIDED = ("jitter", "seed", "noise", "noise-seeds", "run-dir")
"""Options of a session that this command sets or leaves out."""
NOISES = {
    "jitter": "edges of boxes and points move by up to N voxels (default: 0,1,2,3,5,10 if no noise is given)",
    "side": "edges move by up to N percent of the box's side, at most 20 voxels",
    "expand": "edges move outward by up to N voxels",
}
DEFAULT, SEEDS = "0,1,2,3,5,10", "5"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "robustness",
        help="score noisy prompts, and draw how the scores fall",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("directory", nargs="?", type=Path, metavar="RUN", help="a run to report on, without scoring")
    for kind, text in NOISES.items():
        parser.add_argument(f"--{kind}", metavar="N,…", help=text)
    parser.add_argument("--seeds", metavar="N", help=f"how often each noise is drawn (default: {SEEDS})")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="for run and report (default: runs/<time>, or RUN)"
    )
    add_options(parser, without=DECIDED)


def run(arguments: argparse.Namespace) -> int:
    """Score unless RUN is given, write the report, return the exit code. Raises OptionError or RunError."""
    from medsam_core.runs import HEADER

    if arguments.directory is not None:
        _refuse_options(arguments)
        _report(arguments.directory, arguments.output or arguments.directory)
        return 0
    noise = _noise_options(arguments)
    resumed = arguments.medsam_resume
    if resumed is not None and arguments.output is not None:
        raise OptionError(f"-o {arguments.output}: got it with --resume, which writes to its own run; leave one out.")
    directory = Path(resumed or arguments.output or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}")
    place = [] if resumed is not None else [f"--medsam-run-dir={directory}"]
    code = _session(gate_command([*session_options(arguments), *noise, *place]))
    if (directory / HEADER).is_file() and code != 4:  # 4: pytest says which option was wrong
        _report(directory, directory)
    return code


def _refuse_options(arguments: argparse.Namespace) -> None:
    names = {kind: f"--{kind}" for kind in (*NOISES, "seeds")} | {"workers": "-n", "mark": "-m"}
    names |= {option.key: f"--{option.name}" for option in OPTIONS}
    given = [name for key, name in names.items() if getattr(arguments, key, None) is not None]
    if given:
        raise OptionError(
            f"{arguments.directory}: got a run to report on with {', '.join(given)}, expected no option but -o, "
            "because nothing is scored; leave out one or the other."
        )


def _noise_options(arguments: argparse.Namespace) -> list[str]:
    """The noise as options of the session."""
    from medsam_core.prompts.noise import noises

    given = {kind: getattr(arguments, kind) for kind in NOISES}
    if not any(text is not None for text in given.values()):
        given["jitter"] = DEFAULT
    levels = [f"{kind}{n}" for kind, text in given.items() if text is not None for n in _amounts(kind, text) if n]
    if not levels:
        raise OptionError(
            "noise: got only 0, which is the exact prompt, expected more, such as --jitter 0,3,5; add one."
        )
    noises(levels, 1)  # a repetition is an error before anything starts
    seeds = SEEDS if arguments.seeds is None else arguments.seeds
    if not _is_whole(seeds) or int(seeds) < 1:
        raise OptionError(f"--seeds: got {seeds!r}, expected a whole number from 1 on; correct it.")
    return [f"--medsam-noise={','.join(levels)}", f"--medsam-noise-seeds={int(seeds)}"]


def _amounts(kind: str, text: str) -> list[int]:
    words = text.replace(",", " ").split()
    if not words or not all(map(_is_whole, words)):
        raise OptionError(f"--{kind}: got {text!r}, expected whole numbers from 0 on, such as 0,3,5; correct it.")
    return list(map(int, words))


def _is_whole(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _session(command: Sequence[str]) -> int:
    """Run pytest and return its exit code. An interrupt is pytest's: it still writes its verdict."""
    sys.stdout.flush()
    with subprocess.Popen(command) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _report(directory: Path, output: Path) -> None:
    from medsam_core.errors import RunError
    from medsam_core.files import write_whole
    from medsam_core.reports.robustness import curves_of, json_of, table_lines
    from medsam_core.reports.robustness_chart import robustness_svg
    from medsam_core.reports.robustness_plot import can_draw, robustness_png
    from medsam_core.runs import read_run

    run = read_run(directory)
    found = curves_of(run)
    print("\n".join(["", *table_lines(found)]))
    fix = "choose another --output"
    written = [output / "robustness.json", output / "robustness.svg"]
    write_whole(written[0], json_of(run, found), error=RunError, fix=fix, make_folder=True)
    write_whole(written[1], robustness_svg(found), error=RunError, fix=fix)
    if can_draw():
        written.append(output / "robustness.png")
        robustness_png(found, written[-1])
    print(f"wrote {', '.join(map(str, written))}")
    if not can_draw():
        print('note: no robustness.png, because matplotlib is not installed; pip install "medsam-core[suite]"')
