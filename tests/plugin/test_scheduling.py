"""Workers of pytest-xdist: whose subjects, whose GPU, and how far ahead."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from medsam_core.errors import DeviceError, RunError
from medsam_core.gates.baseline import identity_of
from medsam_core.inference.devices import device_of_worker, devices_of_workers, use_device
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.plugin.evaluator import Evaluated
from medsam_core.plugin.hooks import MedsamSession
from medsam_core.plugin.identity import environment, kind_of
from medsam_core.plugin.recorder import Recorder
from medsam_core.plugin.scheduling import HELD, SubjectScheduling
from medsam_core.runs import RunWriter, read_run
from tests.headers import made_header
from tests.plugin.fake_gpus import show
from tests.plugin.test_plugin import LENIENT, PLUGIN, STAND_IN, said

pytest_plugins = ["pytester"]

H200, A100 = "NVIDIA H200", "NVIDIA A100"
SUITE = """
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
# what each worker scored, on which device, and how many subjects it read before it had scored the first
NOTED = """
import json
import pathlib

import torch

from medsam_core.evaluation import subject as evaluation

read, load = [], evaluation.load


def noted_load(subject, *given, **more):
    read.append(subject.id)
    return load(subject, *given, **more)


evaluation.load = noted_load


def pytest_runtest_teardown(item):
    worker = getattr(item.config, "workerinput", None)
    if worker:
        configuration = item.config.pluginmanager.get_plugin("medsam-session").configuration
        subject = item.callspec.params["medsam_case"].subject
        note = {"device": configuration.own_device, "kind": configuration.kind, "threads": torch.get_num_threads(),
                "read": list(read)}
        path = pathlib.Path(f"{worker['workerid']}-{subject}.json")
        if not path.exists():
            path.write_text(json.dumps(note))
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Twelve phantoms of 16 × 40 × 40."""
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, subjects=12, size=(16, 40, 40), seed=5)
    return root


@pytest.fixture
def session(pytester, cohort, monkeypatch):
    """session(gpus, *options): a gate on two workers, where torch sees those models; gives pytest's result."""
    pytester.makepyfile(test_gate=SUITE)
    pytester.makeconftest(NOTED)
    gates = pytester.makefile(".toml", gates=LENIENT)
    few = ("--medsam-regions=WT,TC", "--medsam-prompts=box", "--medsam-overlays=0", f"--medsam-gates={gates}")

    def run(gpus, *options):
        monkeypatch.setenv("FAKE_GPUS", ",".join(gpus))
        fake = ("-p", "tests.plugin.fake_gpus")
        where = (f"--medsam-root={cohort}", "--medsam-run-dir=run")
        return pytester.runpytest_inprocess(*STAND_IN, *fake, *PLUGIN, *where, *few, "-n", "2", *options)

    return run


def noted(pytester):
    """What each worker noted after the first test of each of its subjects, by worker and subject."""
    found = {}
    for path in pytester.path.glob("gw*.json"):
        worker, subject = path.stem.split("-", 1)
        found.setdefault(worker, {})[subject] = json.loads(path.read_text())
    return found


def devices(pytester):
    return {worker: {one["device"] for one in notes.values()} for worker, notes in noted(pytester).items()}


@pytest.fixture
def two_gpus(monkeypatch):
    return show(monkeypatch, [H200, H200])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("auto", ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", ["cuda:1"] * 5),
        ("cpu", ["cpu"] * 5),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_workers_take_the_gpus_in_turn_unless_one_is_named(asked, expected):
    assert [device_of_worker(asked, worker) for worker in range(5)] == expected
    assert list(devices_of_workers(asked, 5)) == expected


def test_without_a_gpu_every_worker_is_on_the_cpu_and_a_gpu_that_is_asked_for_is_missed(monkeypatch):
    show(monkeypatch, [])
    assert devices_of_workers("auto", 2) == ("cpu", "cpu")
    with pytest.raises(DeviceError, match="got cuda where torch sees 0 CUDA devices"):
        devices_of_workers("cuda", 2)


def test_gpus_of_different_models_are_refused_if_workers_would_share_them(monkeypatch):
    show(monkeypatch, [H200, A100])
    sentence = (
        rf"GPUs of different models for 2 workers \(cuda:0 {H200}, cuda:1 {A100}\), expected one model, because models "
        r"round differently; name one with --medsam-device=cuda:N, or show torch .* CUDA_VISIBLE_DEVICES"
    )
    with pytest.raises(DeviceError, match=sentence):
        devices_of_workers("auto", 2)
    assert devices_of_workers("auto", 1) == ("cuda:0",)
    assert devices_of_workers("cuda:1", 2) == ("cuda:1", "cuda:1")
    assert devices_of_workers("cpu", 2) == ("cpu", "cpu")
    assert devices_of_workers("auto", 0) == ()


def test_the_model_of_the_chosen_gpu_is_named_not_that_of_the_first(monkeypatch):
    show(monkeypatch, [H200, A100])
    assert environment(torch.device("cuda:1")).gpu == A100
    assert environment(torch.device("cuda")).gpu == H200
    assert kind_of("cuda:1", "auto") == f"cuda {A100}, bf16"
    assert kind_of("auto", "fp32") == f"cuda {H200}, fp32"
    assert kind_of("cpu", "auto") == "cpu, fp32"


def test_a_workers_gpu_becomes_its_current_one(two_gpus):
    for device in ("cuda:1", "cuda", "cpu"):
        use_device(device)
    assert two_gpus == [1]


@pytest.mark.parametrize("device", ["auto", "cuda:1"])
def test_two_workers_score_on_their_gpus_and_read_ahead_only_what_is_theirs(session, pytester, device):
    result = session([H200, H200], f"--medsam-device={device}", "--medsam-reading=threads")  # they note what they read
    assert result.ret == 0, said(result)
    expected = {"gw0": {"cuda:0"}, "gw1": {"cuda:1"}} if device == "auto" else {"gw0": {"cuda:1"}, "gw1": {"cuda:1"}}
    assert devices(pytester) == expected
    run = read_run(pytester.path / "run")
    assert run.header.device == {"auto": "cuda", "cuda:1": "cuda:1"}[device]
    assert run.header.decided.workers == tuple(one for worker in ("gw0", "gw1") for one in expected[worker])
    assert ("workers: gw0 on cuda:0, gw1 on cuda:1" in said(result)) == (device == "auto")
    kind = f"cuda {H200}, bf16"
    assert identity_of(run).kind == kind, "so it is compared with, and accepted among, the scores of this model"
    assert {one["kind"] for notes in noted(pytester).values() for one in notes.values()} == {kind}
    for notes in noted(pytester).values():
        first, last = (select(notes.values(), key=lambda note: len(note["read"])) for select in (min, max))
        assert len(first["read"]) >= 2, "the second subject was read while the first was scored"
        assert sorted(last["read"]) == sorted(notes), "each of its subjects once, and none of the other worker"


def test_a_session_on_gpus_of_different_models_ends_before_anything_is_scored(session, pytester):
    result = session([H200, A100])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "device: got GPUs of different models for 2 workers" in said(result)
    assert not list(pytester.path.glob("run/*.json*"))


def test_a_worker_that_scores_on_another_model_is_named(tmp_path, make_record):
    recorder = Recorder.__new__(Recorder)
    recorder._writer, recorder._seen = RunWriter(tmp_path / "run", made_header([])), set()
    recorder.header, recorder._kind = recorder._writer.header, f"cuda {H200}, bf16"
    with pytest.raises(
        RunError, match=f"S1/t1ce/WT/box: scored on cuda {A100}, bf16, expected cuda {H200}, bf16 as in"
    ):
        recorder.add(Evaluated(make_record(), (), kind=f"cuda {A100}, bf16"))
    assert recorder._writer.records == {}
    recorder._writer.close()


@pytest.mark.usefixtures("two_gpus")
def test_a_worker_that_replaces_a_dead_one_takes_its_place_and_so_its_gpu(pytestconfig):
    session = MedsamSession(pytestconfig, SimpleNamespace(run_dir="run"))
    first, second, third, fourth = (Node(f"gw{number}") for number in range(4))
    for node in (first, second, third):
        session.pytest_configure_node(node)
    session.pytest_testnodedown(second)
    session.pytest_configure_node(fourth)
    places = [node.workerinput["medsam_worker"] for node in (first, second, third, fourth)]
    assert places == [0, 1, 2, 1]
    assert [device_of_worker("auto", place) for place in places] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


class Node:
    """A worker, as a scheduler knows one: it is sent the numbers of tests."""

    def __init__(self, name):
        self.gateway, self.workerinput, self.shutting_down, self.sent = SimpleNamespace(id=name), {}, False, []

    def send_runtest_some(self, numbers):
        self.sent += numbers

    def shutdown(self):
        self.shutting_down = True


def test_the_last_subjects_are_given_out_one_at_a_time(monkeypatch):
    monkeypatch.setattr("xdist.scheduler.loadscope.parse_tx_spec_config", lambda _: ["a", "b"])
    config = SimpleNamespace(option=SimpleNamespace(loadscopereorder=False))
    log = SimpleNamespace(loadscopesched=lambda *_: None)
    scheduler = SubjectScheduling(config, log, ahead=lambda: True)
    tests = [f"t.py::t[s{n:02}/t1ce/WT/{prompt}]" for n in range(9) for prompt in ("box", "point", "points3")]
    nodes = [Node("gw0"), Node("gw1")]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    assert [sorted({number // 3 for number in node.sent}) for node in nodes] == [[0, 2, 3], [1, 4, 5]]
    assert len(scheduler.workqueue) == 3
    for number in range(3):
        scheduler.mark_test_complete(nodes[0], number)
    assert sorted({number // 3 for number in nodes[0].sent}) == [0, 2, 3, 6], "one more, to hold three again"
    assert len(scheduler.workqueue) == 2
    for number in (6, 7, 8):
        scheduler.mark_test_complete(nodes[0], number)
    assert sorted({number // 3 for number in nodes[0].sent}) == [0, 2, 3, 6], "the last two wait for whoever is free"
    assert HELD == 3
