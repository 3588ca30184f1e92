"""`medsam-core ab OLD NEW`: is NEW worse than OLD? Both on the same subjects and prompts, in one command."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from medsam_core.ab.question import UNFIT
from medsam_core.commands.compare import add_rule_options, rule_of
from medsam_core.plugin.options import OPTIONS
from medsam_core.plugin.rerun import PLUGIN

_DESCRIPTION = """\
Say whether NEW is worse than OLD: score both on the same subjects and prompts, and compare them case by case.

  medsam-core ab old.pt new.pt --root=DIR -o ab
  medsam-core ab embedded new.safetensors            on the phantom cohort
  medsam-core ab predictor:sam2 predictor:engine --checkpoint=old.pt --root=DIR
  medsam-core ab predictor:http:http://old:8008 predictor:http:http://new:8008 --root=DIR

OLD and NEW are a checkpoint (a file, or a name such as embedded or medsam2-latest) or predictor:NAME, with NAME as for
--predictor. predictor:command:LINE and predictor:http:URL also say what they run. All other options are for both.
Each volume is read and prompted once; OLD segments it, then NEW. Both models are in memory at the same time.

DIR gets two ordinary runs, old and new, which every other command reads, ab.json, and ab.html with the cases sorted by
their change. A comparison that was stopped goes on where it was if the same command is given again with the same -o.

The verdict is the one of `medsam-core compare` (docs/comparing-runs.md): each region and prompt mode is one group. With
--gates=FILE, NEW also has to hold these gates. Exit code: 0 NEW is not worse, 1 NEW is worse, 10 INCONCLUSIVE (nothing
was shown, a case is missing, or it was stopped), 2 or 4 a mistake in an option, 3 an internal error.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "ab",
        help="compare two checkpoints: is NEW worse than OLD?",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("old", metavar="OLD", help="what is in use: a checkpoint, or predictor:NAME")
    parser.add_argument("new", metavar="NEW", help="what may replace it: a checkpoint, or predictor:NAME")
    place = "the folder of the comparison, new or to go on with (default: runs/ab-<time>)"
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help=place)
    add_rule_options(parser.add_argument_group("what is worse"))
    group = parser.add_argument_group("how both are scored, as in medsam-core run")
    for option in OPTIONS:
        # those that are refused in a sentence are not shown
        text = argparse.SUPPRESS if option.name in UNFIT else option.help.replace("%", "%%")
        group.add_argument(f"--{option.name}", dest=option.key, default=None, help=text, **option.arguments)


def run(arguments: argparse.Namespace) -> int:
    """Run the session and return its exit code. Raises GateError or OptionError for a rule that means nothing."""
    rule = vars(rule_of(arguments))
    words = [f"--medsam-ab-{name}={getattr(arguments, name)}" for name in ("old", "new")]
    words.append(f"--medsam-ab-rule={json.dumps(rule)}")
    if arguments.output is not None:
        words.append(f"--medsam-ab-output={arguments.output}")
    for option in OPTIONS:
        value = getattr(arguments, option.key)
        if value is not None:
            words.append(f"{option.flag}={value}" if option.metavar else option.flag)
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "medsam_core.ab.session", *words]
    sys.stdout.flush()
    if os.name == "posix":  # pytest takes the place of this process: an interrupt or a kill reaches the session itself
        os.execv(command[0], command)
    return subprocess.call(command)
