"""`medsam-core list ROOT`: the subjects of a folder, as the gate would find them. Reads no voxels."""

from __future__ import annotations

import argparse
from pathlib import Path

from medsam_core.data.cohort import find_subjects
from medsam_core.data.regions import CONVENTIONS


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "list",
        help="show the subjects of a BraTS or MSD folder",
        description="Show the subjects of a BraTS 2018-2025 or MSD Task01 folder: layout, label convention, "
        "modalities, grade and site. Reads names only, no voxels.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="the cohort's folder")


def run(arguments: argparse.Namespace) -> int:
    """Print a line per subject, then a summary."""
    subjects = find_subjects(arguments.root)
    width = max(len(subject.id) for subject in subjects)
    for subject in subjects:
        parts = [subject.id.ljust(width), subject.layout, "+".join(sorted(subject.images))]
        parts += [text for text in (subject.grade, subject.site) if text]
        parts += [] if subject.segmentation else ["no segmentation"]
        print("  ".join(parts + [f"({note})" for note in subject.notes]))
    named = sorted({subject.convention for subject in subjects if subject.convention is not None})
    conventions = [str(CONVENTIONS[name]) for name in named]
    if any(subject.convention is None for subject in subjects):
        conventions.append("unclear from the names, choose one with --labels")
    print(f"{len(subjects)} subjects; labels: {'; '.join(conventions)}")
    return 0
