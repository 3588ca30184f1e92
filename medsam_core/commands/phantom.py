"""`medsam-core phantom DIR`: write a synthetic cohort in BraTS layout."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "phantom",
        help="write a synthetic cohort in BraTS layout",
        description="Write synthetic subjects in BraTS layout: t1, t1ce, t2, flair and a label map (1 necrotic core, "
        "2 oedema, 4 enhancing tumour). The same seed gives the same voxels; subjects that exist already are kept.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder to write to")
    parser.add_argument(
        "--subjects", type=int, default=6, metavar="N", help="number of subjects (default: %(default)s)"
    )
    size = "slices, rows and columns of a volume (default: 155 240 240)"
    parser.add_argument("--size", type=int, nargs=3, default=(155, 240, 240), metavar=("D", "H", "W"), help=size)
    varied = "the cohort of the default gate: each of six subjects has its own grid, axes and files; --size is ignored"
    parser.add_argument("--varied", action="store_true", help=varied)
    parser.add_argument("--seed", type=int, default=19, help="seed of the random numbers (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Write the cohort with a progress bar and say where it is."""
    from medsam_core.phantoms.cohort import write_cohort
    from medsam_core.progress import progress_bar

    with progress_bar("phantoms", unit="subject") as progress:
        names = write_cohort(
            arguments.directory,
            subjects=arguments.subjects,
            size=None if arguments.varied else tuple(arguments.size),
            seed=arguments.seed,
            progress=lambda done, total, _: progress(done, total),
        )
    print(f"{len(names)} subjects in {arguments.directory}: {names[0]} … {names[-1]}")
    return 0
