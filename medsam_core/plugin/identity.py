"""What `run.json` says of the cohort's files and of the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from medsam_core import __version__
from medsam_core.data.cohort import Subject
from medsam_core.data.nifti import LARGEST_FILE
from medsam_core.errors import DataError, OptionError
from medsam_core.files import opened, read_input
from medsam_core.gates.baseline import Identity
from medsam_core.header import CohortIdentity, Environment
from medsam_core.plugin.source import package_source

if TYPE_CHECKING:
    import torch


def environment(device: torch.device | None = None) -> Environment:
    """Versions and hardware that a score or a latency may depend on.

    device: the GPU whose model is named, if it is one; else that of the first GPU, if there is one.
    """
    import torch

    index = device.index if device is not None and device.type == "cuda" else None

    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        gpu=torch.cuda.get_device_name(index or 0) if torch.cuda.is_available() else None,
        cuda=torch.version.cuda,
        medsam_core=__version__,
        commit=_commit(),
        dirty=_dirty(),
        source=package_source(),
        **{name: metadata.version(name) for name in ("torch", "sam2", "numpy", "scipy", "nibabel", "pytest")},
    )


def kind_of(device: str, precision: str) -> str:
    """The kind of scores that these options give on this machine, as `Identity.kind`; both may be `auto`."""
    import torch

    from medsam_core.inference.devices import resolve_device, resolve_precision

    chosen = resolve_device(device)
    name = torch.cuda.get_device_name(chosen.index or 0) if chosen.type == "cuda" else None
    resolved = resolve_precision(precision, chosen)
    return Identity(device=str(chosen), precision=resolved, environment=Environment(gpu=name)).kind


def host_name() -> str:
    """This machine's name in its network; of a container or pod its own."""
    return platform.node()


def cohort_identity(
    root: str, subjects: Sequence[Subject], labels: str | None, marks: Mapping[Path, str] | None = None
) -> CohortIdentity:
    """Layouts, label conventions, subjects, and a fingerprint of the names and contents of their files.

    labels: the convention for all subjects; None for each subject's own.
    marks: `content_marks` of the subjects; None to read the files. Raises DataError if a file cannot be read.
    """
    marks = content_marks(subjects) if marks is None else marks
    digest = hashlib.sha256()
    for subject in subjects:
        for path in files_of(subject):
            digest.update(f"{subject.id}\0{path.name}\0{marks[path]}\n".encode())
    return CohortIdentity(
        root=root,
        layouts=tuple(sorted({subject.layout for subject in subjects})),
        labels=tuple(sorted({labels or str(subject.convention) for subject in subjects})),
        subjects=tuple(subject.id for subject in subjects),
        fingerprint=digest.hexdigest(),
    )


def content_marks(subjects: Iterable[Subject]) -> dict[Path, str]:
    """The `content_mark` of every file of the subjects. Raises DataError if one cannot be read."""
    return {path: content_mark(path) for subject in subjects for path in files_of(subject)}


def files_of(subject: Subject) -> list[Path]:
    """The images of all modalities and the segmentation, sorted."""
    return sorted({image.path for image in subject.images.values()} | {subject.segmentation or Path()} - {Path()})


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex. Raises OptionError if it cannot be read."""
    return hashlib.sha256(read_input(path, what="a file of a run", error=OptionError)).hexdigest()


def content_mark(path: Path) -> str:
    """CRC-32 and size of the content from the end of a gzip file, or the BLAKE2b of any other file.

    The former costs nothing and does not depend on which zlib packed the file. Files that only have the name of a gzip
    file, and those of bgzip, whose last block is empty, are hashed.
    """
    try:
        with opened(path, largest=LARGEST_FILE, what="an image", error=DataError, fix="replace the file") as file:
            if path.suffix == ".gz" and file.read(2) == b"\x1f\x8b":
                file.seek(-min(8, path.stat().st_size), os.SEEK_END)
                trailer = file.read(8)
                if any(trailer):
                    return trailer.hex()
            file.seek(0)
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected an image; replace the file.") from None


def _cpu_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit that the session's directory is checked out at, None where there is none.

    None outside a repository, before its first commit, on an orphan branch and in a bare repository.
    """
    found = _git("rev-parse", "--is-inside-work-tree", "HEAD")  # with no commit git fails, and prints the word HEAD
    place, _, commit = (found or "").strip().partition("\n")
    return commit if place == "true" and commit else None


def _dirty() -> bool | None:
    """Whether a tracked file differs from the commit, None where there is no commit or git does not answer."""
    if _commit() is None:
        return None
    changed = _git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    return None if changed is None else bool(changed.strip())


def _git(*arguments: str) -> str | None:
    """What git prints, None if it fails, takes longer than ten seconds or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
