"""`medsam-core doctor ROOT`: what is wrong or odd with a cohort, before a model sees it."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medsam_core.commands.processes import check_processes, in_processes
from medsam_core.data.cohort import Survey, check_root, survey
from medsam_core.data.regions import convention_named
from medsam_core.doctor.findings import LOOK, NAMES, WRONG, Finding, exit_code
from medsam_core.errors import DataError, OptionError
from medsam_core.files import check_writable, write_whole
from medsam_core.text import counted

if TYPE_CHECKING:
    from medsam_core.doctor.examination import Examined

_SUBJECTS_PER_PROCESS, _HEADERS_PER_PROCESS = 4, 100


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "doctor",
        help="look for faults in a cohort, without a model",
        description="Look for faults in a cohort: damaged files, grids that differ, labels that do not fit, "
        "duplicates, leakage from another folder and more (docs/data.md has the list). No model is needed. Exit code "
        "0: nothing found; 1: something that the gate refuses or that would make a verdict wrong; 10: something to "
        "look at; 2: a mistake in the command.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="the cohort's folder")
    leak = "another cohort, such as the training set: no image or truth may be in both"
    parser.add_argument("--against", type=Path, metavar="DIR", help=leak)
    parser.add_argument("--labels", metavar="CONVENTION", help="what the labels mean (default: by the names)")
    other = "where a data set has several: automated (UPENN-GBM), hd-glio-auto (LUMIERE) (default: the data set's own)"
    parser.add_argument("--segmentation", metavar="NAME", help=other)
    headers = "read names and headers alone, a thousand subjects in seconds: no labels, intensities or duplicates"
    parser.add_argument("--headers", action="store_true", help=headers)
    parser.add_argument("--processes", type=int, metavar="N", help="default: one for each processor")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Examine, print the table and the findings, and return 0, 1 or 10. Raises MedsamError for a mistake."""
    # they import scipy, which the help of the other commands need not wait for
    from medsam_core.doctor.comparison import compare
    from medsam_core.doctor.examination import examine
    from medsam_core.doctor.tables import findings_text, json_text, subjects_table

    _check_options(arguments)
    surveyed, findings = _survey(arguments.root, arguments.segmentation)
    subjects = surveyed.subjects
    work = partial(examine, labels=arguments.labels, voxels=not arguments.headers)
    worth = _HEADERS_PER_PROCESS if arguments.headers else _SUBJECTS_PER_PROCESS
    examined = list(in_processes(work, subjects, arguments.processes, worth=worth, unit="subject", what="doctor"))
    findings += [finding for one in examined for finding in one.findings]
    findings += compare(subjects, examined)
    if arguments.against is not None:
        findings += _against(arguments.against, examined, arguments.processes)
    if examined:
        print("\n".join([*subjects_table(examined, findings), ""]))
    for line in findings_text(findings):
        print(line)
    wrong = sum(finding.severity is WRONG for finding in findings)
    read = " (headers alone)" if arguments.headers else ""
    print(f"{counted(len(subjects), 'subject')}{read}: {wrong} {NAMES[WRONG]}, {len(findings) - wrong} to look at")
    if arguments.json is not None:
        against = None if arguments.against is None else str(arguments.against)
        text = json_text(str(arguments.root), examined, findings, against=against, voxels=not arguments.headers)
        write_whole(arguments.json, text, error=OptionError, fix="choose another place for --json")
    return exit_code(findings)


def _check_options(arguments: argparse.Namespace) -> None:
    check_processes(arguments.processes)
    if arguments.labels is not None:
        convention_named(arguments.labels)
    if arguments.json is not None:
        check_writable(arguments.json, error=OptionError, fix="choose another place for --json")
    if arguments.against is None:
        return
    if arguments.headers:
        raise OptionError("--headers and --against: got both, expected one: voxels are compared; leave one out.")
    for root in (arguments.root, arguments.against):
        check_root(root)
    one, other = arguments.root.resolve(), arguments.against.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise OptionError(f"--against: got {other}, which shares files with {one}, expected another folder; give that.")


def _survey(root: Path, segmentation: str | None) -> tuple[Survey, list[Finding]]:
    """The subjects, and a finding where the gate would refuse the folder. Raises DataError if it is no folder."""
    check_root(root)
    try:
        surveyed = survey(root, segmentation=segmentation)
    except DataError as problem:
        surveyed = Survey((), str(problem))
    refused = [Finding(WRONG, "cohort", surveyed.lost)] if surveyed.lost else []
    return surveyed, refused


def _against(root: Path, examined: list[Examined], processes: int | None) -> list[Finding]:
    """What this cohort shares with another one."""
    from medsam_core.doctor.comparison import leaked
    from medsam_core.doctor.examination import examine

    other = survey(root)
    findings = [Finding(LOOK, "leakage", f"not all of it could be compared: {other.lost}")] if other.lost else []
    theirs = in_processes(
        examine, other.subjects, processes, worth=_SUBJECTS_PER_PROCESS, unit="subject", what="against"
    )
    return findings + leaked(examined, list(theirs), str(root))
