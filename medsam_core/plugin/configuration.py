"""What a session has to do, resolved once from the options and passed on as a value.

Nothing here reads a voxel or imports torch before the checkpoint, the predictor or the header is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from medsam_core.cases import CONTROL_METRICS, Case, Settings
from medsam_core.data.cohort import Subject, check_subjects, find_subjects
from medsam_core.data.regions import CONVENTIONS, REGIONS, convention_named
from medsam_core.errors import DataError, OptionError
from medsam_core.files import shipped
from medsam_core.gates.gates_file import Gates, load_gates
from medsam_core.header import CheckpointIdentity, CohortIdentity, GatesIdentity, PredictorName, RunHeader
from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.identity import cohort_identity, content_marks, files_of, sha256_of
from medsam_core.plugin.placement import Placement, placement_of
from medsam_core.plugin.ray_options import RayOptions
from medsam_core.plugin.source import predictor_source
from medsam_core.prompts.manifest import read_manifest
from medsam_core.prompts.prompt import Prompt
from medsam_core.text import counted

if TYPE_CHECKING:
    from medsam_core.predictors.choosing import PredictorRequest
    from medsam_core.predictors.contract import Predictor, PredictorIdentity


@dataclass(frozen=True)
class PhantomCohort:
    """The synthetic cohort that is used if no root is given; written on first use, then found again."""

    directory: Path
    """Where phantom cohorts are kept, each in a folder of its own."""
    subjects: int = 6
    size: tuple[int, int, int] = (40, 160, 160)
    """(D, H, W) voxels."""
    seed: int = 19
    prepare: Callable[[], None] | None = field(default=None, compare=False)
    """Called before the first phantom is written; None for nothing."""

    @property
    def root(self) -> Path:
        """The cohort's folder, named after all that shapes its voxels: a changed generator writes another one."""
        from medsam_core.phantoms.cohort import generator_mark

        shape = "x".join(str(n) for n in self.size)
        return self.directory / f"phantoms-{self.subjects}-{shape}-s{self.seed}-{generator_mark()}"

    def write(self) -> Path:
        """Write what is missing of the cohort and return its root. Raises DataError if it cannot be written."""
        from filelock import FileLock

        from medsam_core.phantoms.cohort import write_cohort

        try:
            if self.prepare is not None:
                self.prepare()
            self.directory.mkdir(parents=True, exist_ok=True)
            with FileLock(self.directory / f"{self.root.name}.lock"):  # other processes may need the same cohort
                write_cohort(self.root, subjects=self.subjects, size=self.size, seed=self.seed)
        except OSError as error:
            raise DataError(
                f"phantom cohort {self.root}: cannot be written ({error.strerror}); choose another place with "
                "--medsam-phantom-dir."
            ) from None
        return self.root


@dataclass(frozen=True)
class Configuration:
    """Everything that a session has to do."""

    settings: Settings
    phantom: PhantomCohort
    run_dir: Path
    brats_root: Path | None = None
    """The cohort's folder; None for the phantom cohort."""
    segmentation: str | None = None
    """The truth where a data set has several, of `layouts.SOURCES`; None for its own."""
    subjects: tuple[str, ...] = ()
    """Ids of the subjects to score; () for all."""
    limit: int | None = None
    """How many subjects at most, from the first; None for all."""
    checkpoint: str | None = None
    """A path or a name; None for the embedded checkpoint."""
    architecture: str | None = None
    image_size: int | None = None
    weights: str | None = None
    """"model" or "ema" of a checkpoint that holds both; None for "model"."""
    device: str = "auto"
    precision: str = "auto"
    compiled: bool = False
    gates: Path | None = None
    """A gates file; None for the one of the phantom cohort, or none for another cohort."""
    baseline: str | None = None
    """The name or path of what relative bounds refer to; None for what the gates file names."""
    prompts_from: Path | None = None
    choice: PredictorChoice = field(default_factory=PredictorChoice)
    """Which predictor is judged."""
    resume: bool = False
    save_masks: bool = False
    overlays: int | None = 4
    """How many of the worst cases keep their overlay in addition to the failed ones; None for every case."""
    allow_no_gpu: bool = False
    ray: RayOptions | None = field(default=None, compare=False)
    """How actors of Ray score the subjects; None: this process or the workers of xdist do."""
    workers: int = field(default=0, compare=False)
    """How many processes share this machine's cores; 0 for a single one."""
    command: tuple[str, ...] = field(default=(), compare=False)
    ini: str = field(default="", compare=False)
    """Which options pytest's configuration file set; "" if none."""

    @cached_property
    def cohort(self) -> tuple[Subject, ...]:
        """The chosen subjects, sorted by id. Raises DataError or OptionError."""
        root = self.brats_root if self.brats_root is not None else self.phantom.write()
        found = find_subjects(root, segmentation=self.segmentation)
        if self.subjects:
            known = {subject.id: subject for subject in found}
            missing = [name for name in self.subjects if name not in known]
            if missing:
                raise OptionError(
                    f"--medsam-subjects: {', '.join(missing[:3])} not found among the {len(found)} subjects of {root} "
                    f"({found[0].id} …); choose from `medsam-core list`."
                )
            found = tuple(known[name] for name in sorted(set(self.subjects)))
        found = found[: self.limit]
        _check_cohort(found, self.settings)
        return found

    @property
    def plan(self) -> tuple[Case, ...]:
        """Every case that this session has to score."""
        return tuple(case for subject in self.cohort for case in self.settings.cases(subject.id))

    @property
    def gates_path(self) -> Path | None:
        """The gates file that applies; None if there is none for this cohort."""
        return self.gates or (shipped("gates", "phantom.toml") if self.brats_root is None else None)

    @cached_property
    def loaded_gates(self) -> Gates | None:
        """The gates that apply, read once; None if there are none for this cohort. Raises GateError."""
        return load_gates(self.gates_path) if self.gates_path else None

    @cached_property
    def scored(self) -> Settings:
        """The settings with the metrics of the gates, and with Dice and IoU, which tables and overlays need."""
        asked = [gate.metric for gate in self.loaded_gates.gates] if self.loaded_gates else []
        metrics = dict.fromkeys([*self.settings.metrics, *CONTROL_METRICS, *asked])
        return replace(self.settings, metrics=tuple(metrics))

    @cached_property
    def checkpoint_identity(self) -> CheckpointIdentity:
        """Name, SHA-256 and architecture of what the predictor runs, and a note on what was guessed."""
        made = self.predictor_identity
        return CheckpointIdentity(
            name=made.checkpoint or made.name,
            sha256=made.sha256,
            architecture=made.architecture or None,
            image_size=made.image_size,
            notes=made.notes,
        )

    @cached_property
    def predictor_identity(self) -> PredictorIdentity:
        """What is judged, as its predictor says.

        Downloads a named checkpoint on first use. The controller of xdist scores nothing, so there the predictor is
        made once and dropped: one that cannot be made is an error before any worker starts.
        """
        return self._judged[0]

    @property
    def predictor_source(self) -> str:
        """The SHA-256 of the source of what is judged."""
        return self._judged[1]

    @cached_property
    def _judged(self) -> tuple[PredictorIdentity, str]:
        """The identity of what is judged, and the SHA-256 of its source."""
        made = None
        if "predictor" not in vars(self):
            if self.choice.runs_here:
                made = self.choice.make(replace(self._request, device="cpu", precision="fp32", compiled=False))
            elif self.workers:
                made = self.choice.make(self._request)
        made = made or self.predictor
        return made.identity, predictor_source(made, self.choice.files)

    def adopt(self, identity: PredictorIdentity, source: str) -> None:
        """Take what a process elsewhere says of its predictor and its source, so that none is made here."""
        vars(self)["_judged"] = identity, source

    @cached_property
    def predictor(self) -> Predictor:
        """What scores the cases; made on first use, once per process. Raises PredictorError or another MedsamError."""
        return self.choice.make(self._request)

    @property
    def _request(self) -> PredictorRequest:
        from medsam_core.inference.devices import threads_for
        from medsam_core.predictors.choosing import PredictorRequest

        return PredictorRequest(
            checkpoint=self.checkpoint,
            device=self.device,
            precision=self.precision,
            architecture=self.architecture,
            image_size=self.image_size,
            weights=self.weights,
            compiled=self.compiled,
            options=self.choice.options,
            threads=threads_for(self.workers)[0],
        )

    @cached_property
    def content_marks(self) -> dict[Path, str]:
        """The content mark of every file of the cohort. Raises DataError if a file cannot be read."""
        return content_marks(self.cohort)

    @cached_property
    def cohort_identity(self) -> CohortIdentity:
        """What `run.json` says of the cohort. Raises DataError if a file cannot be read."""
        root = str(self.brats_root or self.phantom.root.name)
        return cohort_identity(root, self.cohort, self.settings.labels, self.content_marks)

    @cached_property
    def replay(self) -> dict[str, tuple[Prompt, ...]] | None:
        """The prompts to use instead of simulated ones, None if there are none.

        Raises PromptError if they are of a cohort that does not contain this one.
        """
        if self.prompts_from is None:
            return None
        cohort = self.cohort_identity
        return read_manifest(self.prompts_from, cohort=cohort.fingerprint, subjects=cohort.subjects)

    def header(self, placement: Placement | None = None) -> RunHeader:
        """What is written into `run.json`. placement: where the cases are scored; None for this process."""
        at, gates = placement or placement_of(self), self.loaded_gates
        return RunHeader(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=self.command,
            settings=self.scored,
            predictor=PredictorName(name=self.predictor_identity.name, version=self.predictor_identity.version),
            checkpoint=self.checkpoint_identity,
            device=at.device,
            precision=at.precision,
            decided=at.decided,
            cohort=self.cohort_identity,
            plan=tuple(case.id for case in self.plan),
            gates=GatesIdentity(file=gates.path.name, sha256=gates.sha256) if gates else None,
            baseline=self.baseline,
            prompts_from=sha256_of(self.prompts_from) if self.prompts_from else None,
            environment=replace(at.environment, predictor_source=self.predictor_source),
        )


def _check_cohort(subjects: tuple[Subject, ...], settings: Settings) -> None:
    """Raise DataError if a subject lacks a file or a label convention that the session will need."""
    for modality in settings.modalities:
        check_subjects(subjects, modality)
    # git-annex and datalad leave a link in place of a file that was not fetched; the fingerprint needs every modality
    gone = [path for subject in subjects for path in files_of(subject) if path.is_symlink() and not path.exists()]
    if gone:
        what = f"{gone[0]}: a link" if len(gone) == 1 else f"{gone[0]} and {len(gone) - 1} more: links"
        raise DataError(
            f"{what} to nothing, expected files; fetch them, e.g. with `git annex get`, or leave these subjects out "
            "with --medsam-subjects."
        )
    unclear = [subject.id for subject in subjects if subject.convention is None]
    if unclear and settings.labels is None:
        raise DataError(
            f"{unclear[0]}: the label convention is unclear for {len(unclear)} of {len(subjects)} subjects, "
            f"expected one for each; name it with --medsam-labels ({', '.join(CONVENTIONS)})."
        )
    _check_regions(subjects, settings)


def _check_regions(subjects: tuple[Subject, ...], settings: Settings) -> None:
    """Raise OptionError if the labels of a subject cannot give a region that the session asks for."""
    named = {subject.id: settings.labels or subject.convention or "" for subject in subjects}
    conventions = {name: convention_named(name) for name in dict.fromkeys(named.values())}
    in_all = [region for region in REGIONS if all(region in one.regions for one in conventions.values())]
    wanted = [region for region in settings.regions if region not in in_all]
    if not wanted:
        return
    lacking = [
        subject for subject, name in named.items() if not all(region in conventions[name].regions for region in wanted)
    ]
    names = " and ".join(str(conventions[name]) for name in dict.fromkeys(named[subject] for subject in lacking))
    choice = f"choose of {', '.join(in_all)} with --medsam-regions" if in_all else "score these subjects by themselves"
    raise OptionError(
        f"region{'s' * (len(wanted) > 1)} {', '.join(wanted)}: not among the labels of {names}, used in "
        f"{len(lacking)} of {counted(len(subjects), 'subject')} ({lacking[0]} …), expected regions that all "
        f"labels have; {choice}."
    )
