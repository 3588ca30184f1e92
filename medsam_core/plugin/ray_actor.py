"""What runs in an actor of Ray: the same predictor and evaluator as in the session's process, kept warm.

Nothing here imports Ray. `ray_pool.py` makes actors of `SubjectActor` and gives them subjects.
"""

from __future__ import annotations

import pickle
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core import __version__
from medsam_core.errors import MedsamError
from medsam_core.files import write_whole

if TYPE_CHECKING:
    from medsam_core.inference.ambient import Found
    from medsam_core.plugin.configuration import Configuration
    from medsam_core.plugin.evaluator import Evaluated
    from medsam_core.plugin.placement import Placement
    from medsam_core.plugin.streaming import Answer, Kept, Work
    from medsam_core.predictors.contract import PredictorIdentity

VERSIONS = ("torch", "sam2", "numpy", "scipy", "nibabel")
"""Packages whose version must be the same in the session and in its actors."""
CARRIED = ("cohort", "loaded_gates", "replay", "reference_dice")
"""What a configuration on its way to an actor has read already."""


@dataclass(frozen=True)
class Order:
    """What an actor needs to make the session's evaluator."""

    configuration: Configuration
    """As `sendable` made it."""
    settings: Found
    """`ambient.process_settings` of the session."""
    threads: int
    """How many threads torch uses."""


@dataclass(frozen=True)
class Ready:
    """What an actor says when its predictor is made."""

    placement: Placement
    identity: PredictorIdentity
    source: str
    """The fingerprint of the predictor's source."""
    node: str
    """The name of the actor's machine."""
    folder: Path
    """Where the actor keeps files there."""


def code_of_this_process() -> dict[str, str]:
    """What -> the fingerprint of this package's source, and the versions that a score depends on."""
    from medsam_core.plugin.source import package_source

    return {
        "medsam_core's source": package_source()[:12],
        "Python": platform.python_version(),
        "medsam_core": __version__,
        **{name: metadata.version(name) for name in VERSIONS},
    }


def sendable(configuration: Configuration) -> Configuration:
    """The configuration for an actor: no cohort, no run directory, and nothing that cannot be pickled.

    Gates and replayed prompts go with it as they were read. Subjects come one by one.
    """
    checkpoint = configuration.checkpoint
    if checkpoint is not None and Path(checkpoint).is_file():
        checkpoint = str(Path(checkpoint).absolute())
    made = replace(
        configuration,
        run_dir=Path(),
        checkpoint=checkpoint,
        phantom=replace(configuration.phantom, prepare=None, progress=None),
        choice=replace(configuration.choice, hook=None, files=()),
        resume=False,
        workers=0,
        ray=None,
    )
    read = {name: getattr(configuration, name) for name in CARRIED}
    vars(made).update(read | {"cohort": ()})
    return made


class SubjectActor:
    """Scores one subject after the other."""

    def __init__(self) -> None:
        self.node = platform.node()

    @cached_property
    def folder(self) -> Path:
        """Where this actor keeps files; made on first use, so that one that cannot score leaves none."""
        return Path(tempfile.mkdtemp(prefix="medsam-actor-"))

    def start(
        self, code: Mapping[str, str], path: Sequence[str], order: bytes, checkpoint: Mapping[str, Any] | None = None
    ) -> Ready | str:
        """Make the predictor. Gives the sentence why this actor cannot score, if it cannot.

        code: `code_of_this_process` of the session. path: its `sys.path`. order: a pickled `Order`, which is opened
        only if the code is the same. checkpoint: name -> bytes of the checkpoint's file, where it is sent.
        """
        sys.path += [place for place in path if place not in sys.path]
        own = code_of_this_process()
        for what, expected in code.items():
            if own.get(what) != expected:
                return (
                    f"Ray node {self.node}: got {what} {own.get(what)}, expected {expected} as in the session; install "
                    "the same environment on every node."
                )
        try:
            return self._started(pickle.loads(order), checkpoint or {})
        except MedsamError as error:
            self.close()
            return f"Ray node {self.node}: {error}"

    def _started(self, order: Order, checkpoint: Mapping[str, Any]) -> Ready:
        import torch

        from medsam_core.inference.ambient import apply_settings
        from medsam_core.plugin.evaluator import Evaluator
        from medsam_core.plugin.placement import placement_of
        from medsam_core.plugin.sent_files import SentFiles

        torch.set_num_threads(order.threads)
        apply_settings(order.settings)
        given = order.configuration
        for name, content in checkpoint.items():
            write_whole(self.folder / name, bytes(content), error=MedsamError, fix="free space for temporary files")
            given = _changed(given, checkpoint=str(self.folder / name))
        made = given.predictor
        self.configuration = _changed(given, run_dir=self.folder / "run")
        vars(self.configuration)["predictor"] = made
        self.sent = SentFiles(self.folder / "data")
        self.evaluator = Evaluator(self.configuration)
        identity, source = self.configuration.predictor_identity, self.configuration.predictor_source
        return Ready(placement_of(self.configuration), identity, source, self.node, self.folder)

    def evaluate(
        self,
        work: Work,
        files: Mapping[Path, Any] | None = None,
        following: Work | None = None,
        its_files: Mapping[Path, Any] | None = None,
    ) -> Answer:
        """Score a subject.

        files: the session's path -> bytes, where they are sent; None to read the paths here.
        following: the subject that this actor gets next, which may be read ahead. its_files: likewise.
        """
        from medsam_core.plugin.streaming import Answer

        together = list(work.cases)
        try:
            self._take_in(work, files)
            if following is not None:
                together += self._readable(following, its_files)
            return Answer(work, tuple(self._kept(self.evaluator.evaluate(case, together)) for case in work.cases))
        except MedsamError as error:
            return Answer(work, error=self.sent.original(work, str(error)))
        finally:
            self.evaluator.forget(work.subject.id)
            self.sent.drop(work)

    def close(self) -> None:
        """Stop reading ahead and delete the files."""
        if hasattr(self, "evaluator"):
            self.evaluator.close()
        if "folder" in vars(self):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _take_in(self, work: Work, files: Mapping[Path, Any] | None) -> None:
        """Make the subject known to the evaluator. Raises DataError if a file of it is not the session's."""
        from medsam_core.plugin.sent_files import check_files

        here = work if files is None else self.sent.unpack(work, files)
        check_files(here, self.node)
        self.evaluator.subjects[work.subject.id] = here.subject

    def _readable(self, following: Work, files: Mapping[Path, Any] | None) -> Sequence[Any]:
        """The cases of the next subject, if it can be read ahead; what is wrong with it is said when it is scored."""
        try:
            self._take_in(following, files)
        except MedsamError:
            return ()
        return following.cases

    def _kept(self, evaluated: Evaluated) -> Kept:
        """The result with its overlay, its mask and the viewer's files, which leave this machine with it.

        The image that cases share leaves with the first of them.
        """
        from medsam_core.plugin.streaming import Kept
        from medsam_core.viewer.writing import files_of

        files = {}
        named = [name for name in (evaluated.record.overlay, evaluated.record.mask) if name is not None]
        for name in (*named, *files_of(evaluated.record, self.configuration.run_dir)):
            path = self.configuration.run_dir / name
            files[name] = path.read_bytes()
            path.unlink()
        return Kept(evaluated, files)


def _changed(configuration: Configuration, **changes: Any) -> Configuration:
    """Another configuration with what is CARRIED."""
    made = replace(configuration, **changes)
    vars(made).update({name: vars(configuration)[name] for name in CARRIED})
    return made
