"""How many subjects a second the session keeps up with on Ray, and how its memory grows: actors that answer at once.

    python -m benchmarks.ray_driver --subjects 5000

The actors do everything but the work: each scores its first subject and answers with those scores ever after. So this
is what the session itself takes, for the messages alone and with every record written to the disk.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ray_stub import EchoActor
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.plugin import ray_pool
from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.plugin.ray_options import RayOptions
from medsam_core.plugin.recorder import Recorder
from medsam_core.plugin.rerun import SUITE
from medsam_core.plugin.streaming import StreamedEvaluator
from medsam_core.settings import Settings

STUB = "benchmarks.ray_stub:make"


def linked_cohort(folder: Path, subjects: int) -> Path:
    """So many subjects of one phantom's voxels."""
    write_cohort(folder / "one", subjects=1, size=(16, 40, 40), seed=5)
    (source,) = (path for path in (folder / "one").iterdir() if path.is_dir())
    for number in range(subjects):
        name = f"Brats18_Copy_{number:05d}_1"
        (folder / "cohort" / name).mkdir(parents=True)
        for path in source.glob("*.nii.gz"):
            (folder / "cohort" / name / path.name.replace(source.name, name)).hardlink_to(path)
    return folder / "cohort"


def resident_mib() -> float:
    """What this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(what: str, configuration: Configuration, keep: Callable[..., None], pool: ray_pool.RayPool) -> None:
    evaluator = StreamedEvaluator(configuration, pool, keep)
    plan = configuration.plan
    seconds, memory = [], []
    for number, case in enumerate(plan):
        evaluator.evaluate(case, plan)
        if number % max(1, len(plan) // 5) == 0 or number == len(plan) - 1:
            seconds.append(time.perf_counter())
            memory.append(resident_mib())
    rate = (len(configuration.cohort) - 1) / (seconds[-1] - seconds[0])
    grown = " ".join(f"{value:.0f}" for value in memory)
    print(f"{what}: {rate:.0f} subjects/s, {rate * len(plan) / len(configuration.cohort):.0f} cases/s; MiB: {grown}")


class Echoing:
    """A pytest plugin: the session's actors are EchoActors, and its memory is noted."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.memory: list[float] = []

    def pytest_runtest_logfinish(self) -> None:
        self.seconds.append(time.perf_counter())
        if len(self.seconds) % 1000 == 1:
            self.memory.append(resident_mib())

    def pytest_unconfigure(self) -> None:
        rate = (len(self.seconds) - 1) / (self.seconds[-1] - self.seconds[0])
        grown = " ".join(f"{value:.0f}" for value in [*self.memory, resident_mib()])
        print(f"a whole session: {rate:.0f} cases/s; MiB: {grown}")


def whole_session(root: Path, folder: Path, settings: Settings, actors: int) -> None:
    """pytest itself with a test for each case."""
    made = ray_pool.RayPool
    ray_pool.RayPool = functools.partial(made, kind=EchoActor)  # type: ignore[misc, assignment]
    try:
        words = ["-p", "medsam_core.plugin.plugin", "--pyargs", SUITE, "-o", "python_functions=test", "-q"]
        words += [f"--medsam-root={root}", f"--medsam-run-dir={folder / 'session'}", "--medsam-overlays=0"]
        words += [f"--medsam-predictor={STUB}", "--medsam-ray", f"--medsam-ray-actors={actors}"]
        words += [f"--medsam-regions={','.join(settings.regions)}", f"--medsam-prompts={','.join(settings.prompts)}"]
        pytest.main([*words, "-c", os.devnull, "--no-header", "--rootdir", str(folder)], plugins=[Echoing()])
    finally:
        ray_pool.RayPool = made  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=5000)
    parser.add_argument("--cases", type=int, default=1, choices=(1, 2, 3, 6), help="of each subject")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--session", action="store_true", help="also a whole session of pytest")
    given = parser.parse_args()
    regions = ("WT", "TC", "ET")[: max(1, given.cases // (2 if given.cases % 2 == 0 else 1))]
    settings = Settings(regions=regions, prompts=("box", "point") if given.cases % 2 == 0 else ("box",))
    with tempfile.TemporaryDirectory(prefix="medsam-ray-") as folder:
        root = linked_cohort(Path(folder), given.subjects)
        configuration = Configuration(
            settings,
            PhantomCohort(Path(folder)),
            Path(folder) / "run",
            brats_root=root,
            device="cpu",
            overlays=0,
            choice=PredictorChoice(STUB),
        )
        print(f"{given.subjects} subjects, {len(configuration.plan)} cases, {given.actors} actors")
        for what in ("messages alone", "with the records written"):
            pool = ray_pool.RayPool(configuration, RayOptions(actors=given.actors), EchoActor)
            try:
                recorder = Recorder(configuration, pool.placement)
                recorder.open()
                measured(what, configuration, (lambda *_: None) if "alone" in what else recorder.receive, pool)
                recorder.close()
            finally:
                pool.close()
            for path in (Path(folder) / "run").glob("*"):
                path.unlink()
        if given.session:
            whole_session(root, Path(folder), settings, given.actors)


if __name__ == "__main__":
    main()
