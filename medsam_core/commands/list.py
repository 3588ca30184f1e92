"""`medsam-core list ROOT`: the subjects of a folder, as the gate would find them. Reads no voxels."""

from __future__ import annotations

import argparse
from pathlib import Path

from medsam_core.data.cohort import find_subjects
from medsam_core.data.regions import convention_named
from medsam_core.text import counted, shown


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "list",
        help="show the subjects of a folder",
        description="Show the subjects of a folder in any layout that the gate reads: layout, label convention, "
        "modalities, grade and site, and what was not read. Reads names and dataset.json, no voxels.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="the cohort's folder")
    other = "where a data set has several: automated (UPENN-GBM), hd-glio-auto (LUMIERE) (default: the data set's own)"
    parser.add_argument("--segmentation", metavar="NAME", help=other)


def run(arguments: argparse.Namespace) -> int:
    """Print a line per subject, then a summary."""
    subjects = find_subjects(arguments.root, segmentation=arguments.segmentation)
    width = max(len(subject.id) for subject in subjects)
    for subject in subjects:
        parts = [subject.id.ljust(width), subject.layout, "+".join(sorted(subject.images))]
        parts += [text for text in (subject.grade, subject.site) if text]
        parts += [] if subject.segmentation else ["no segmentation"]
        print(shown("  ".join(parts + [f"({note})" for note in subject.notes])))
    named = sorted({subject.convention for subject in subjects if subject.convention is not None})
    conventions = [str(convention_named(name)) for name in named]
    if any(subject.convention is None for subject in subjects):
        conventions.append("unclear from the names, name it with --medsam-labels")
    print(f"{counted(len(subjects), 'subject')}; labels: {'; '.join(conventions)}")
    return 0
