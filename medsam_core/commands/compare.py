"""`medsam-core compare REFERENCE RUN`: is the run as good as the reference, compared case by case?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medsam_core.gates.comparison import Rule

RULE = ("metric", "scope", "margin", "listed_drop", "collapse", "case_drop_maximum")
"""Options that are fields of `comparison.Rule`, with the same defaults."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "compare",
        help="compare a run with a baseline or another run",
        description="Compare case by case, for each region and prompt. Exit code: 0 PASS, 1 FAIL, 10 INCONCLUSIVE, "
        "2 wrong use.",
    )
    parser.add_argument("reference", metavar="REFERENCE", help="a run, a baseline file or a baseline's name")
    parser.add_argument("run", metavar="RUN", help="a run directory or an fsspec URL")
    add_rule_options(parser)
    parser.add_argument("--format", choices=("text", "markdown", "junit", "json"), default="text", help="default: text")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here, and print only the verdict")
    parser.add_argument("--baselines", type=Path, metavar="DIR", help="default: benchmarks/baselines")


def add_rule_options(parser: argparse._ActionsContainer) -> None:
    """The options of RULE: what a comparison takes for worse."""
    parser.add_argument("--metric", default="dice", help="what is compared (default: %(default)s)")
    parser.add_argument("--scope", default="volume", help="volume (default), region_slices, key_slice, round0 …")
    parser.add_argument("--margin", type=float, default=0.010, help="the mean may drop by this (default: %(default)s)")
    parser.add_argument("--listed-drop", type=float, default=0.05, help="name cases that drop by more (%(default)s)")
    collapse = "FAIL if clearly more cases drop by more than rise by more (default: %(default)s)"
    parser.add_argument("--collapse", type=float, default=0.05, metavar="DROP", help=collapse)
    drop = "FAIL if a case drops by more, or `none` (default: %(default)s)"
    parser.add_argument("--case-drop-maximum", type=_limit, default=0.20, metavar="DROP", help=drop)


def rule_of(arguments: argparse.Namespace) -> Rule:
    """The rule that RULE's options make. Raises GateError or OptionError."""
    from medsam_core.cases import SCOPES, check_choices
    from medsam_core.gates.comparison import Rule

    check_choices("scope", (arguments.scope,), SCOPES)
    return Rule(**{name: getattr(arguments, name) for name in RULE})


def run(arguments: argparse.Namespace) -> int:
    """Print or write the comparison and return its exit code. Raises GateError or RunError."""
    from medsam_core.cases import check_scope
    from medsam_core.errors import RunError
    from medsam_core.files import write_whole
    from medsam_core.gates.baseline import identity_of
    from medsam_core.gates.baseline_file import FOLDER
    from medsam_core.gates.comparison import compare
    from medsam_core.gates.noise import check_rule, floor_of
    from medsam_core.gates.reference import find_reference
    from medsam_core.gates.remote import local
    from medsam_core.progress import progress_bar
    from medsam_core.reports.comparison import junit, markdown
    from medsam_core.runs import read_run

    check_scope(arguments.scope)
    rule = rule_of(arguments)
    with (
        progress_bar("comparing", unit="step") as progress,
        local(arguments.reference) as there,
        local(arguments.run) as here,
    ):
        progress(0, 3)
        stored = read_run(here)
        progress(1, 3)
        reference = find_reference(there, arguments.baselines or FOLDER, kind=identity_of(stored).kind)
        check_rule(rule, floor_of(stored))
        progress(2, 3)
        comparison = compare(reference, stored, rule)
    if arguments.format == "json":
        text = json.dumps(comparison.to_json(), indent=1, sort_keys=True) + "\n"
    elif arguments.format == "text":
        text = "\n".join(comparison.lines()) + "\n"
    else:
        text = markdown(comparison) if arguments.format == "markdown" else junit(comparison)
    if arguments.output is None:
        print(text, end="")
    else:
        write_whole(arguments.output, text, error=RunError, fix="choose another place")
        print(comparison.lines()[0])
    return comparison.outcome.exit_code


def _limit(text: str) -> float | None:
    return None if text == "none" else float(text)
