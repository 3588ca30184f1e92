"""Processes that read and score: no torch in them, one sentence when one ends, and nothing left behind."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from medsam_core.data.cohort import find_subjects
from medsam_core.errors import DataError, MedsamError
from medsam_core.evaluation.shared_memory import receive, send
from medsam_core.evaluation.subject import Segmented
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.plugin import reading_processes, reading_worker
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.plugin.evaluator import Evaluator
from medsam_core.plugin.finishing import Finishing
from medsam_core.plugin.reading_processes import ReadingProcesses
from medsam_core.plugin.reading_worker import Failure, Part, Reading, Request, Scoring, serve
from medsam_core.runs import read_run
from medsam_core.settings import Settings
from tests.plugin.box_filler import BoxFiller

ROOT = Path(__file__).parents[2]
SUBJECTS = 6
SETTINGS = Settings(prompts=("box",), regions=("WT", "TC"))
PATIENCE = 300  # seconds that something may take on a busy machine


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Six phantoms of 16 × 40 × 40."""
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, subjects=SUBJECTS, size=(16, 40, 40), seed=5)
    return root


@pytest.fixture
def parts(cohort):
    return [Part(subject, SETTINGS.cases(subject.id), SETTINGS, None) for subject in find_subjects(cohort)]


@pytest.fixture
def finishing(tmp_path):
    return Finishing(tmp_path / "run", None, 0, save_masks=False)


@pytest.fixture
def processes():
    made = ReadingProcesses()
    yield made
    made.close()


def mappings(pid="self"):
    return Path(f"/proc/{pid}/maps").read_text().count("medsam-arrays")


def wait_until(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def segmented(read):
    """The truth, as the model's answer."""
    return Segmented(read, {case: read.truths[case.region].mask for case in read.prompts}, {}, 0.5)


def test_a_process_reads_and_scores_without_torch_and_forgets_what_it_scored(processes, parts, finishing):
    held, read = processes.read(parts[0])
    assert read.loaded.subject == parts[0].subject
    assert mappings() == 1
    records = [one.record for one in processes.score(held, segmented(read), finishing)]
    assert [record.case for record in records] == list(parts[0].cases)
    assert [record.score("dice") for record in records] == [1.0, 1.0]
    assert "torch" not in Path(f"/proc/{held.process.pid}/maps").read_text()
    wait_until(lambda: mappings(held.process.pid) == 0)
    del read
    assert mappings() == 0


def test_parts_that_nobody_scores_are_forgotten_with_the_next_request(processes, parts):
    first, _ = processes.read(parts[0])
    _, _ = processes.read(parts[1])
    pid = first.process.pid
    wait_until(lambda: mappings(pid) == 2)
    del first, _
    third, _ = processes.read(parts[2])
    fourth, _ = processes.read(parts[3])
    assert third.process.pid == fourth.process.pid != pid, "the two parts after the first two have the other process"
    fifth, _ = processes.read(parts[4])
    assert fifth.process.pid == pid
    wait_until(lambda: mappings(pid) == 1)


@pytest.mark.parametrize("asked", ["reading", "scoring"])
def test_a_process_that_is_killed_is_one_sentence_that_names_the_subject(processes, parts, finishing, asked):
    held, read = processes.read(parts[0])
    pid = held.process.pid
    os.kill(pid, signal.SIGSTOP)  # it is in the middle of its work until it is killed
    timer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    timer.start()
    subject = parts[1 if asked == "reading" else 0].subject.id
    sentence = rf"^{subject}: the process that reads and scores it ended \(SIGKILL\), expected a result; see whether "
    with pytest.raises(MedsamError, match=sentence):
        _ = processes.read(parts[1]) if asked == "reading" else processes.score(held, segmented(read), finishing)
    timer.join()
    with pytest.raises(MedsamError, match=f"^{parts[0].subject.id}: the process that reads and scores it ended"):
        processes.score(held, segmented(read), finishing)
    for part in parts[2:]:  # another one takes its place
        again, read = processes.read(part)
        assert again.process.pid != pid
        assert len(processes.score(again, segmented(read), finishing)) == 2


def test_a_process_that_does_not_answer_is_ended(processes, parts, monkeypatch):
    held, _ = processes.read(parts[0])
    monkeypatch.setattr(reading_processes, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(reading_processes, "ENDING_SECONDS", 0.2)
    os.kill(held.process.pid, signal.SIGSTOP)
    with pytest.raises(MedsamError, match=rf"^{parts[1].subject.id}: the process .* ended \(no answer in 0.2 s\)"):
        processes.read(parts[1])
    assert not Path(f"/proc/{held.process.pid}").exists()


def test_a_process_that_cannot_start_is_one_sentence(parts, monkeypatch):
    monkeypatch.setattr(reading_processes, "START", "raise SystemExit(3)")
    processes = ReadingProcesses()
    with pytest.raises(MedsamError, match=rf"^{parts[0].subject.id}: the process .* ended \(exit code 3\), expected a"):
        processes.read(parts[0])
    processes.close()


def test_closing_ends_the_processes_and_whoever_waits_for_one(parts, monkeypatch):
    monkeypatch.setattr(reading_processes, "CLOSING_SECONDS", 0.2)
    processes, errors = ReadingProcesses(), []
    held, _ = processes.read(parts[0])
    os.kill(held.process.pid, signal.SIGSTOP)

    def read():
        try:
            processes.read(parts[1])
        except MedsamError as error:
            errors.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(held.process._lock.locked)
    processes.close()
    reader.join(PATIENCE)
    assert len(errors) == 1
    assert "ended (SIGKILL)" in errors[0]
    assert not Path(f"/proc/{held.process.pid}").exists()
    with pytest.raises(MedsamError, match=f"{parts[2].subject.id}: not read because the session was stopped"):
        processes.read(parts[2])
    processes.close()


@pytest.fixture
def served():
    """The connection to `serve` in a thread of this process."""
    own, its = socket.socketpair()
    thread = threading.Thread(target=serve, args=(its.detach(),))
    thread.start()
    with Connection(own.detach()) as connection:
        yield connection
    thread.join(PATIENCE)
    assert not thread.is_alive()


def ask(connection, *request):
    send(connection, Request(*request))
    return receive(connection)


def test_what_is_served_is_read_scored_once_and_dropped_when_the_request_says_so(served, parts, finishing):
    read = ask(served, Reading(1, parts[0]))
    again = ask(served, Reading(2, parts[0]))
    assert again.data == read.data
    records = [one.record for one in ask(served, Scoring.of(1, segmented(read), finishing))]
    assert [record.score("dice") for record in records] == [1.0, 1.0]
    for number, dropped in ((1, ()), (2, (2,))):
        answer = ask(served, Scoring.of(number, segmented(read), finishing), dropped)
        assert isinstance(answer, Failure)
        assert isinstance(answer.error, KeyError)
        assert "in the process that reads and scores:\nTraceback" in answer.error.__notes__[0]


def test_an_error_keeps_its_class_and_text_and_one_that_cannot_be_sent_its_traceback(served, parts, monkeypatch):
    lost = dataclasses.replace(parts[0].subject, segmentation=Path("nowhere.nii.gz"))
    answer = ask(served, Reading(1, dataclasses.replace(parts[0], subject=lost)))
    assert type(answer.error) is DataError
    assert str(answer.error).startswith("nowhere.nii.gz: no such file")
    assert not hasattr(answer.error, "__notes__")

    class Local(Exception):
        """Has no name by which it could be found at the other end."""

    def broken(*_, **__):
        raise Local("cause")

    monkeypatch.setattr(reading_worker, "read_cases", broken)
    answer = ask(served, Reading(2, parts[0]))
    assert type(answer.error) is RuntimeError
    assert "in broken" in str(answer.error)
    assert "Local: cause" in str(answer.error)


class Killer(BoxFiller):
    """Kills a process that holds parts when it gets to its third volume, and notes how many parts are in memory."""

    def __init__(self):
        self.volumes, self.most, self.kill = 0, 0, lambda: None

    def predict(self, image, prompts, protocol):
        self.volumes += 1
        self.most = max(self.most, mappings())
        if self.volumes == 3:
            self.kill()
        return super().predict(image, prompts, protocol)


def records_of(cohort, run_dir, *, killing):
    """By case: the record, or the error's text; and the predictor."""
    configuration = Configuration(SETTINGS, PhantomCohort(run_dir), run_dir, cohort, device="cpu", reading="processes")
    vars(configuration)["predictor"] = killer = Killer()
    evaluator = Evaluator(configuration)
    found = {}
    try:
        if killing:
            killer.kill = lambda: os.kill(evaluator._processes._processes[1].pid, signal.SIGKILL)
        for case in configuration.plan:
            try:
                found[case] = dataclasses.replace(evaluator.evaluate(case, configuration.plan).record, seconds=None)
            except MedsamError as error:
                found[case] = str(error)
    finally:
        evaluator.close()
    return found, killer


def test_only_the_parts_that_a_killed_process_held_are_lost(cohort, tmp_path):
    before = mappings()  # a test that failed keeps what it held
    whole, _ = records_of(cohort, tmp_path / "whole", killing=False)
    found, killer = records_of(cohort, tmp_path / "killed", killing=True)
    names = [subject.id for subject in find_subjects(cohort)]
    lost = {case.subject for case, record in found.items() if isinstance(record, str)}
    assert names[2] in lost
    assert lost <= {names[2], names[3]}, "the third and the fourth are read by the second process"
    for case, record in found.items():
        if case.subject in lost:
            assert record.startswith(f"{case.subject}: the process that reads and scores it ended (SIGKILL)")
        else:
            assert record == whole[case]
    assert killer.most <= 4, "three parts, and the masks of one on their way"
    assert mappings() == before


SUITE = """
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
# at the third volume one of the processes, the session and its processes, or the session alone gets a signal
HOOK = """
import os, pathlib, signal
from tests.predictors.toys import BoxFiller


def children():
    found = [task.read_text().split() for task in pathlib.Path("/proc/self/task").glob("*/children")]
    return [int(pid) for own in found for pid in own]


class Filler(BoxFiller):
    volumes = 0

    def predict(self, *given, **more):
        self.volumes += 1
        how = os.environ.get("TEST_SIGNAL", "")
        if self.volumes == 3 and how:
            pathlib.Path("children").write_text(" ".join(map(str, children())))
            if how == "kill-one":
                os.kill(children()[-1], signal.SIGKILL)
            elif how == "interrupt":
                os.killpg(0, signal.SIGINT)  # as the terminal does
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(*given, **more)


def pytest_medsam_predictor(config, request):
    return Filler()
"""


@pytest.fixture
def start(tmp_path, cohort):
    """start(*options, how=""): a session in a process group of its own that has ended: its output and exit code."""
    (tmp_path / "test_gate.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text(HOOK)
    (tmp_path / "gates.toml").write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.0001\n')

    def started(*options, how="", reading="processes"):
        where = f"--medsam-root={cohort}", "--medsam-device=cpu", f"--medsam-reading={reading}"
        what = "--medsam-gates=gates.toml", "--medsam-regions=WT", "--medsam-prompts=box", "--medsam-overlays=0"
        session = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "medsam_core.plugin.plugin", *where, *what, *options],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TEST_SIGNAL": how},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            out, _ = session.communicate(timeout=PATIENCE)
        finally:
            if session.poll() is None:
                os.killpg(session.pid, signal.SIGKILL)
        return out, session.returncode

    return started


def records(run):
    return {record.id: dataclasses.replace(record, seconds=None) for record in read_run(run).records}


def test_two_workers_with_two_processes_each_give_the_records_of_one_process(start, tmp_path):
    out, code = start("--medsam-run-dir=here", reading="here")
    assert code == 0, out
    out, code = start("--medsam-run-dir=together", "-n", "2")
    assert code == 0, out
    assert records(tmp_path / "together") == records(tmp_path / "here")
    assert len(records(tmp_path / "here")) == SUBJECTS


def test_a_session_whose_process_is_killed_is_inconclusive_and_can_be_resumed(start, tmp_path):
    out, code = start("--medsam-run-dir=run", how="kill-one")
    assert code == 10, out
    assert "INCONCLUSIVE" in out
    assert "the process that reads and scores it ended (SIGKILL), expected a result" in out
    assert SUBJECTS - 2 <= len(records(tmp_path / "run")) < SUBJECTS
    out, code = start("--medsam-resume=run")
    assert code == 0, out
    start("--medsam-run-dir=here", reading="here")
    assert records(tmp_path / "run") == records(tmp_path / "here")


@pytest.mark.parametrize(("how", "expected"), [("interrupt", 10), ("kill", -signal.SIGKILL)])
def test_after_an_interrupt_or_a_killed_session_nothing_is_left(start, tmp_path, how, expected):
    listed = sorted(Path("/dev/shm").iterdir())
    out, code = start("--medsam-run-dir=run", how=how)
    assert code == expected, out
    assert "Traceback" not in out
    children = (tmp_path / "children").read_text().split()
    assert len(children) == 2
    wait_until(lambda: not any(Path("/proc", child).exists() for child in children))
    assert sorted(Path("/dev/shm").iterdir()) == listed
