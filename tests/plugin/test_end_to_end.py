"""The gate as a process of its own, with the embedded checkpoint: alone, on two workers, killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medsam_core.cli import main
from medsam_core.inference.devices import THREAD_VARIABLES, threads_for
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.runs import read_run

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds that a session may take on a busy machine
SUITE = """
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
# what each worker scored, and with how many threads
NOTED = """
import pathlib

def pytest_runtest_teardown(item):
    worker = getattr(item.config, "workerinput", None)
    if worker:
        import torch

        subject = item.callspec.params["medsam_case"].subject
        pathlib.Path(f"{worker['workerid']}-{torch.get_num_threads()}-{subject}").touch()
"""
GATES = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.0001\nmean_minimum = 0.0001\n'


@pytest.fixture(scope="module")
def share() -> tuple[int, str]:
    """The threads of each of two workers where the environment says nothing of threads, and how it is worded."""
    with pytest.MonkeyPatch.context() as patch:
        for name in THREAD_VARIABLES:
            patch.delenv(name, raising=False)
        return threads_for(workers=2)


@pytest.fixture(scope="module")
def start(tmp_path_factory, share):
    """`start(*options)` starts a session of four cases; `start.folder` is where it runs."""
    folder = tmp_path_factory.mktemp("session")
    write_cohort(folder / "cohort", subjects=2, size=(16, 48, 48), seed=11)
    (folder / "test_gate.py").write_text(SUITE)
    (folder / "conftest.py").write_text(NOTED)
    (folder / "gates.toml").write_text(GATES)

    def started(*options: str, threads: int | None = share[0]) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
        environment |= {"PYTHONPATH": str(ROOT)} | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
        chosen = ("--medsam-root=cohort", "--medsam-gates=gates.toml", "--medsam-regions=WT,TC", "--medsam-prompts=box")
        return subprocess.Popen(
            (
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "medsam_core.plugin.plugin",
                *chosen,
                "--medsam-overlays=0",
                *options,
            ),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    started.folder = folder  # type: ignore[attr-defined]
    return started


def scores(run: Path) -> dict[str, object]:
    return {record.id: record.scores for record in read_run(run).records}


@pytest.fixture(scope="module")
def alone(start):
    """What the session that runs alone says, and its scores."""
    out, _ = (session := start("--medsam-run-dir=alone")).communicate(timeout=PATIENCE)
    assert session.returncode == 0, out
    return out, scores(start.folder / "alone")


def test_a_session_of_the_embedded_checkpoint_passes(alone, start):
    out, found = alone
    assert "checkpoint: embedded" in out
    assert "PASS: 4 of 4 cases scored" in out
    assert len(found) == 4
    assert json.loads((start.folder / "alone" / "verdict.json").read_text())["outcome"] == "PASS"


@pytest.mark.slow
def test_workers_share_the_subjects_and_the_cores_and_give_the_same_scores(alone, start, share):
    out, _ = (session := start("--medsam-run-dir=together", "-n", "2", threads=None)).communicate(timeout=PATIENCE)
    assert session.returncode == 0, out
    assert scores(start.folder / "together") == alone[1]
    assert "cohort: " in out
    count, words = share
    assert f"threads {words}" in out
    noted = sorted(path.name.split("-", 2) for path in start.folder.glob("gw*"))
    assert [(worker, threads) for worker, threads, _ in noted] == [("gw0", str(count)), ("gw1", str(count))]
    assert len({subject for *_, subject in noted}) == 2, "all cases of a subject are scored by one worker"


@pytest.mark.slow
def test_a_session_that_is_killed_is_resumed_to_the_same_scores(alone, start):
    run = start.folder / "killed"
    session, deadline = start("--medsam-run-dir=killed"), time.monotonic() + PATIENCE
    while session.poll() is None and not ((run / "cases.jsonl").exists() and "\n" in (run / "cases.jsonl").read_text()):
        assert time.monotonic() < deadline, "no case was scored"
        time.sleep(0.002)
    session.kill()
    session.communicate()
    assert session.returncode < 0, "the session ended before it was killed"
    kept = [line for line in (run / "cases.jsonl").read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 1 <= len(kept) < 4
    out, _ = (resumed := start("--medsam-resume=killed")).communicate(timeout=PATIENCE)
    assert resumed.returncode == 0, out
    assert (run / "cases.jsonl").read_text().startswith("".join(kept))
    assert scores(run) == alone[1]


@pytest.mark.slow
def test_two_shards_merge_to_the_run_of_one_session(alone, start):
    for number in (1, 2):
        out, _ = (part := start(f"--medsam-run-dir=part{number}", f"--medsam-shard={number}/2")).communicate(
            timeout=PATIENCE
        )
        assert part.returncode == 11, out
        assert f"this is shard {number}/2 of a run, and only the whole run has a verdict" in out
    parts, merged = [str(start.folder / f"part{number}") for number in (2, 1)], start.folder / "merged"
    assert main(["merge", *parts, "-o", str(merged)]) == 0
    assert scores(merged) == alone[1]
    for name in ("verdict.json", "prompts.json"):
        assert (merged / name).read_bytes() == (start.folder / "alone" / name).read_bytes()


@pytest.mark.gpu
def test_two_workers_on_gpus_give_the_scores_of_one_process(start):
    import torch

    for run, options in (("gpu-alone", ()), ("gpu-together", ("-n", "2"))):
        session = start(f"--medsam-run-dir={run}", "-m", "gpu", *options, threads=None)
        out, _ = session.communicate(timeout=PATIENCE)
        assert session.returncode == 0, out
    header = read_run(start.folder / "gpu-together").header
    assert header.decided.workers == tuple(f"cuda:{worker % torch.cuda.device_count()}" for worker in range(2))
    assert header.device == read_run(start.folder / "gpu-alone").header.device == "cuda"
    assert scores(start.folder / "gpu-together") == scores(start.folder / "gpu-alone")
