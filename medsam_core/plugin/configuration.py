"""What a session has to do, resolved once from the options and passed on as a value.

Nothing here reads a voxel or imports torch before the checkpoint, the predictor or the header is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from medsam_core.cases import CONTROL_METRICS, Case, score_key
from medsam_core.data.cohort import Subject, find_subjects
from medsam_core.errors import DataError, MedsamError, OptionError
from medsam_core.files import shipped
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import FOLDER
from medsam_core.gates.gates_file import Gates, load_gates
from medsam_core.gates.reference import find_reference
from medsam_core.header import (
    SCHEMA,
    WHOLE_SCHEMA,
    CheckpointIdentity,
    CohortIdentity,
    GatesIdentity,
    PredictorName,
    RunHeader,
    Shard,
)
from medsam_core.metrics import DERIVED
from medsam_core.modalities import sequences_of
from medsam_core.plugin.checking import check_cohort, check_rounds
from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.identity import cohort_identity, content_marks, host_name, kind_of, sha256_of
from medsam_core.plugin.placement import Placement, placement_of
from medsam_core.plugin.ray_options import RayOptions
from medsam_core.plugin.source import predictor_source
from medsam_core.predictors.abilities import (
    check_takes_corrections,
    check_takes_modes,
    check_takes_several_slices,
    check_takes_three_sequences,
)
from medsam_core.prompts.manifest import read_manifest
from medsam_core.prompts.prompt import Prompt
from medsam_core.settings import Settings
from medsam_core.sharding import part_of

if TYPE_CHECKING:
    from medsam_core.predictors.choosing import PredictorRequest
    from medsam_core.predictors.contract import Predictor, PredictorIdentity
    from medsam_core.progress import Progress

PHANTOM_FEATURE_MIB = 32
"""Memory for the features of a phantom's slices: 20 slices of the embedded checkpoint in fp32."""
READING = ("auto", "processes", "threads", "here")
"""`processes`: in two that this one starts, while the model works. `threads`: in two of this one. `here`: in turn with
the model. `auto`: `processes` on a GPU, which would wait for them. On the CPU `here`: the model keeps every core busy,
and reading and scoring are a twentieth of a subject's time (0.7 of 16 s for six cases of 155 slices on one core)."""


@dataclass(frozen=True)
class PhantomCohort:
    """The synthetic cohort that is used if no root is given; written on first use, then found again."""

    directory: Path
    """Where phantom cohorts are kept, each in a folder of its own."""
    subjects: int = 6
    size: tuple[int, int, int] | None = None
    """(D, H, W) voxels; None for the varied cohort, in which each subject has its own grid."""
    seed: int = 19
    prepare: Callable[[], None] | None = field(default=None, compare=False)
    """Called before the first phantom is written; None for nothing."""
    progress: Callable[[], AbstractContextManager[Progress]] | None = field(default=None, compare=False)
    """What shows how many are drawn; None for nothing."""

    @property
    def root(self) -> Path:
        """The cohort's folder, named after all that shapes its voxels: a changed generator writes another one."""
        from medsam_core.phantoms.cohort import generator_mark

        shape = "x".join(str(n) for n in self.size) if self.size else "varied"
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
                self._draw(write_cohort)
        except OSError as error:
            raise DataError(
                f"phantom cohort {self.root}: cannot be written ({error.strerror}); choose another place with "
                "--medsam-phantom-dir."
            ) from None
        return self.root

    def _draw(self, write_cohort: Callable[..., object]) -> None:
        what = {"subjects": self.subjects, "size": self.size, "seed": self.seed}
        if self.progress is None:
            write_cohort(self.root, **what)
            return
        with self.progress() as progress:
            write_cohort(self.root, **what, progress=lambda done, total, _: progress(done, total))


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
    shard: Shard | None = None
    """Which part of the chosen subjects this session scores; None for all."""
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
    viewer: str = "worst"
    """Of which cases the viewer has data: one of `viewer.selection.CHOICES`."""
    allow_no_gpu: bool = False
    reading: str = field(default="auto", compare=False)
    """Where files are read and masks scored, one of `READING`; changes no score."""
    ray: RayOptions | None = field(default=None, compare=False)
    """How actors of Ray score the subjects; None: this process or the workers of xdist do."""
    workers: int = field(default=0, compare=False)
    """How many processes share this machine's cores; 0 for a single one."""
    worker: int | None = field(default=None, compare=False)
    """This process among these, from 0; None in a single process and in the controller of the workers."""
    command: tuple[str, ...] = field(default=(), compare=False)
    ini: str = field(default="", compare=False)
    """Which options pytest's configuration file set; "" if none."""

    @cached_property
    def cohort(self) -> tuple[Subject, ...]:
        """The chosen subjects of all shards, sorted by id. Raises DataError or OptionError."""
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
        check_cohort(found, self.settings)
        return found

    @property
    def part(self) -> tuple[Subject, ...]:
        """The subjects that this session scores, sorted by id. Raises DataError or OptionError."""
        if self.shard is None:
            return self.cohort
        part = set(part_of((subject.id for subject in self.cohort), self.shard))
        return tuple(subject for subject in self.cohort if subject.id in part)

    @property
    def plan(self) -> tuple[Case, ...]:
        """Every case that this session has to score."""
        return tuple(case for subject in self.part for case in self.settings.cases(subject.id))

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
        gates = self.loaded_gates.gates if self.loaded_gates else ()
        check_rounds(gates, self.settings)
        asked = [DERIVED[gate.metric].of if gate.metric in DERIVED else gate.metric for gate in gates]
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
        if self.settings.key_slices > 1:
            check_takes_several_slices(made)
        check_takes_modes(made, self.settings.prompts)
        if any(len(sequences_of(image)) > 1 for image in self.settings.modalities):
            check_takes_three_sequences(made)
        if self.settings.refine:
            check_takes_corrections(made)
        return made.identity, predictor_source(made, self.choice.files)

    def adopt(self, identity: PredictorIdentity, source: str) -> None:
        """Take what a process elsewhere says of its predictor and its source, so that none is made here."""
        vars(self)["_judged"] = identity, source

    @cached_property
    def predictor(self) -> Predictor:
        """What scores the cases; made on first use, once per process. Raises PredictorError or another MedsamError."""
        return self.choice.make(self._request)

    @property
    def _predictor_options(self) -> Mapping[str, str]:
        """The options for the predictor. On the varied phantoms the engine keeps few features, so that the gate also
        covers the path where features were dropped and are encoded again."""
        few = self.brats_root is None and self.phantom.size is None and self.choice.is_engine
        return {**({"feature-mib": str(PHANTOM_FEATURE_MIB)} if few else {}), **self.choice.options}

    @property
    def _request(self) -> PredictorRequest:
        from medsam_core.inference.devices import threads_for
        from medsam_core.predictors.choosing import PredictorRequest

        return PredictorRequest(
            checkpoint=self.checkpoint,
            device=self.own_device,
            precision=self.precision,
            architecture=self.architecture,
            image_size=self.image_size,
            weights=self.weights,
            compiled=self.compiled,
            options=self._predictor_options,
            threads=threads_for(self.workers)[0],
        )

    @cached_property
    def own_device(self) -> str:
        """The device that this process scores on: of a worker its own GPU, if there are several."""
        from medsam_core.inference.devices import device_of_worker

        return self.device if self.worker is None else device_of_worker(self.device, self.worker)

    @cached_property
    def kind(self) -> str:
        """The model of the device that this process scores on and the precision, as `Identity.kind`."""
        return kind_of(self.own_device, self.precision)

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

    @cached_property
    def reference_dice(self) -> Mapping[str, float]:
        """Case id -> Dice in the reference of the relative bounds; {} without one, or if it cannot be read here.

        It only decides which cases are shown: what is wrong with the reference is reported where the run is judged.
        """
        try:
            if self.baseline is not None:
                reference: Baseline | None = find_reference(self.baseline, kind=self.kind)
            elif self.loaded_gates is not None:
                reference = self.loaded_gates.reference(FOLDER, self.kind)
            else:
                reference = None
        except MedsamError:
            return {}
        if reference is None:
            return {}
        key = score_key(self.settings.profile, "dice", "volume")
        return {case: dice for case in reference.cases if isfinite(dice := reference.score(case, key))}

    def header(self, placement: Placement | None = None) -> RunHeader:
        """What is written into `run.json`. placement: where the cases are scored; None for this process."""
        at, gates = placement or placement_of(self), self.loaded_gates
        return RunHeader(
            schema=SCHEMA if self.shard else WHOLE_SCHEMA,
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
            environment=replace(
                at.environment, predictor_source=self.predictor_source, host=host_name() if self.shard else None
            ),
            shard=self.shard,
        )
