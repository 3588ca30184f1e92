"""What a session was asked to do, resolved once from the options and passed on as a value.

Nothing here reads a voxel or imports torch until the checkpoint, the predictor or the header is asked for.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from medsam_core import __version__
from medsam_core.cases import CONTROL_METRICS, Case, Settings
from medsam_core.data.cohort import Subject, check_subjects, find_subjects
from medsam_core.data.regions import CONVENTIONS
from medsam_core.errors import DataError, OptionError
from medsam_core.files import shipped
from medsam_core.gates.gates_file import Gates, load_gates
from medsam_core.header import CheckpointIdentity, CohortIdentity, Decisions, Environment, GatesIdentity, RunHeader

if TYPE_CHECKING:
    from medsam_core.inference.predictor import Predictor


@dataclass(frozen=True)
class PhantomCohort:
    """The synthetic cohort that is used when no root is given; written on first use, then found again.

    size: (D, H, W) voxels. directory: where it is kept; its name inside carries everything that shapes the voxels.
    """

    directory: Path
    subjects: int = 6
    size: tuple[int, int, int] = (40, 160, 160)
    seed: int = 19

    @property
    def root(self) -> Path:
        """The cohort's own folder; a changed generator writes another one, never on top of old voxels."""
        from medsam_core.phantoms.cohort import generator_mark

        shape = "x".join(str(n) for n in self.size)
        return self.directory / f"phantoms-{self.subjects}-{shape}-s{self.seed}-{generator_mark()}"

    def write(self) -> Path:
        """Write what is missing of the cohort, one process at a time, and return its root."""
        from filelock import FileLock

        from medsam_core.phantoms.cohort import write_cohort

        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with FileLock(self.directory / f"{self.root.name}.lock"):
                write_cohort(self.root, subjects=self.subjects, size=self.size, seed=self.seed)
        except OSError as error:
            raise DataError(
                f"phantom cohort {self.root}: cannot be written ({error.strerror}); choose another place with "
                "--phantom-dir."
            ) from None
        return self.root


@dataclass(frozen=True)
class Configuration:
    """Everything that a session was asked to do.

    brats_root: a cohort's folder, or None for the phantom cohort.
    subjects: ids to take, () for all; limit: how many of them at most, from the first, None for all.
    checkpoint: a path or a name, None for the embedded one.
    gates: a gates file, or None for the default of the cohort (`benchmarks/gates/phantom.toml` for phantoms, none
        for others). baseline: what relative bounds refer to, by name or path; None takes the one the gates file names.
    overlays: how many of the worst cases get one beside the failed ones; None for every case.
    workers: how many processes share this machine's cores, 0 for one alone.
    """

    settings: Settings
    phantom: PhantomCohort
    run_dir: Path
    brats_root: Path | None = None
    subjects: tuple[str, ...] = ()
    limit: int | None = None
    checkpoint: str | None = None
    architecture: str | None = None
    image_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    compiled: bool = False
    gates: Path | None = None
    baseline: str | None = None
    prompts_from: Path | None = None
    resume: bool = False
    save_masks: bool = False
    overlays: int | None = 4
    allow_no_gpu: bool = False
    workers: int = field(default=0, compare=False)
    command: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def cohort(self) -> tuple[Subject, ...]:
        """The chosen subjects, sorted by id. Raises DataError or OptionError in a sentence."""
        root = self.brats_root if self.brats_root is not None else self.phantom.write()
        found = find_subjects(root)
        if self.subjects:
            known = {subject.id: subject for subject in found}
            missing = [name for name in self.subjects if name not in known]
            if missing:
                raise OptionError(
                    f"--subjects: {', '.join(missing[:3])} not found among the {len(found)} subjects of {root} "
                    f"({found[0].id} …); choose from `medsam-core list`."
                )
            found = tuple(known[name] for name in sorted(set(self.subjects)))
        found = found[: self.limit]
        _check_cohort(found, self.settings)
        return found

    @property
    def plan(self) -> tuple[Case, ...]:
        """Every case that this session is to score."""
        return tuple(case for subject in self.cohort for case in self.settings.cases(subject.id))

    @property
    def gates_path(self) -> Path | None:
        """The gates file that applies, None if there is none for this cohort."""
        if self.gates is not None:
            return self.gates
        if self.brats_root is not None:
            return None
        return shipped("gates", "phantom.toml")

    @cached_property
    def loaded_gates(self) -> Gates | None:
        """The gates that apply, read once; None if there are none for this cohort. Raises GateError."""
        return load_gates(self.gates_path) if self.gates_path else None

    @cached_property
    def scored(self) -> Settings:
        """The settings with Dice and IoU, by which tables and overlays go, and what the gates ask for added."""
        asked = [gate.metric for gate in self.loaded_gates.gates] if self.loaded_gates else []
        metrics = dict.fromkeys([*self.settings.metrics, *CONTROL_METRICS, *asked])
        return replace(self.settings, metrics=tuple(metrics))

    @cached_property
    def checkpoint_identity(self) -> CheckpointIdentity:
        """Name and SHA-256 of the weights, what model they were taken for, and why if that was a guess.

        Downloads a named checkpoint on first use. On an xdist controller, which scores nothing, the model is built
        once on the CPU and dropped: a checkpoint that cannot be used is told before any worker starts on it.
        """
        from medsam_core.inference.model import load_model

        if "predictor" in self.__dict__:
            model = self.predictor.model
        else:
            model = load_model(
                self.checkpoint,
                device="cpu",
                precision="fp32",
                architecture=self.architecture,
                image_size=self.image_size,
            )
        return CheckpointIdentity(
            name=model.checkpoint.name,
            sha256=model.checkpoint.sha256,
            architecture=model.architecture.name,
            image_size=model.architecture.image_size,
            notes=tuple(model.notes),
        )

    @cached_property
    def predictor(self) -> Predictor:
        """The loaded model; made on first use, once per process."""
        from medsam_core.inference.predictor import load_predictor

        return load_predictor(
            self.checkpoint,
            device=self.device,
            precision=self.precision,
            architecture=self.architecture,
            image_size=self.image_size,
            compiled=self.compiled,
        )

    def header(self) -> RunHeader:
        """What is written into `run.json`: question, cohort, checkpoint and environment."""
        from medsam_core.inference.devices import (
            resolve_device,
            resolve_precision,
            threads_for,
            why_device,
            why_precision,
        )

        device = resolve_device(self.device)
        gates = self.gates_path
        return RunHeader(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=self.command,
            settings=self.scored,
            checkpoint=self.checkpoint_identity,
            device=str(device),
            precision=resolve_precision(self.precision, device),
            decided=Decisions(
                device=why_device(self.device, device),
                precision=why_precision(self.precision, device),
                threads=threads_for(self.workers)[1],
                compiled="asked for" if self.compiled else "",
            ),
            cohort=self.cohort_identity,
            plan=tuple(case.id for case in self.plan),
            gates=GatesIdentity(file=gates.name, sha256=_sha256(gates)) if gates else None,
            baseline=self.baseline,
            prompts_from=_sha256(self.prompts_from) if self.prompts_from else None,
            environment=environment(),
        )

    @cached_property
    def cohort_identity(self) -> CohortIdentity:
        """Layouts, label conventions, subjects, and a fingerprint of files' names and contents."""
        digest = hashlib.sha256()
        for subject in self.cohort:
            for path in _files_of(subject):
                digest.update(f"{subject.id}\0{path.name}\0{_content_mark(path)}\n".encode())
        return CohortIdentity(
            root=str(self.brats_root or self.phantom.root.name),
            layouts=tuple(sorted({subject.layout for subject in self.cohort})),
            labels=tuple(sorted({self.settings.labels or str(subject.convention) for subject in self.cohort})),
            subjects=tuple(subject.id for subject in self.cohort),
            fingerprint=digest.hexdigest(),
        )


def environment() -> Environment:
    """Versions and hardware that a score or a latency may depend on."""
    import torch

    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        cuda=torch.version.cuda,
        medsam_core=__version__,
        commit=_commit(),
        **{name: metadata.version(name) for name in ("torch", "sam2", "numpy", "scipy", "nibabel", "pytest")},
    )


def _files_of(subject: Subject) -> list[Path]:
    """The images of all modalities and the segmentation, sorted."""
    return sorted({image.path for image in subject.images.values()} | {subject.segmentation or Path()} - {Path()})


def _content_mark(path: Path) -> str:
    """What a gzip file says at its end of its content, CRC-32 and size, or the BLAKE2b of any other file.

    Unlike a hash of the file itself, the former does not depend on which zlib packed it, and costs nothing. Where the
    end says nothing, the file is hashed: what is packed by its name only, and bgzip's files, whose last block is empty.
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz" and file.read(2) == b"\x1f\x8b":
                file.seek(-min(8, path.stat().st_size), os.SEEK_END)
                trailer = file.read(8)
                if any(trailer):
                    return trailer.hex()
            file.seek(0)
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected an image; mend the file.") from None


def _check_cohort(subjects: tuple[Subject, ...], settings: Settings) -> None:
    """Say at once which subjects lack a file, or a label convention, that the session will need."""
    for modality in settings.modalities:
        check_subjects(subjects, modality)
    # git-annex and datalad leave a link in place of what was not fetched; the fingerprint is over all modalities
    gone = [path for subject in subjects for path in _files_of(subject) if path.is_symlink() and not path.exists()]
    if gone:
        what = f"{gone[0]}: a link" if len(gone) == 1 else f"{gone[0]} and {len(gone) - 1} more: links"
        raise DataError(
            f"{what} to nothing, expected files; fetch what they stand for, e.g. with `git annex get`, or leave these "
            "subjects out with --subjects."
        )
    unclear = [subject.id for subject in subjects if subject.convention is None]
    if unclear and settings.labels is None:
        raise DataError(
            f"{unclear[0]}: the label convention cannot be told for {len(unclear)} of {len(subjects)} subjects, "
            f"expected one for each; name it with --labels ({', '.join(CONVENTIONS)})."
        )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror}); mend the path.") from None


def _cpu_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the directory that the session runs in, None outside a repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
