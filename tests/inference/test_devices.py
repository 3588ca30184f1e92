"""What `auto` decided and why, in words; how many threads each process gets."""

import pytest
import torch

from medsam_core.inference import devices
from medsam_core.inference.devices import threads_for, why_device, why_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_only_auto_gives_a_reason():
    assert why_device("auto", CPU) == "auto: torch sees no GPU"
    assert why_device("auto", CUDA) == "auto: the first GPU that torch sees"
    assert why_device("cpu", CPU) == why_precision("bf16", CPU) == why_precision("fp32", CPU) == ""
    assert why_precision("auto", CPU).startswith("auto: the CPU is always fp32")


@pytest.mark.parametrize(
    ("capability", "why"),
    [
        ((9, 0), "auto: the GPU has bf16, in which MedSAM2 runs"),
        ((7, 5), "auto: bf16 needs a GPU of compute capability"),
    ],
)
def test_on_a_gpu_the_reason_is_its_capability(capability, why, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert why_precision("auto", CUDA).startswith(why)


@pytest.fixture
def cores(monkeypatch):
    """Eight cores, of which torch takes four by itself, and no variable set."""
    for name in devices.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (0, (4, "4 of 8")),
        (1, (8, "8 of 8 (1 worker)")),
        (2, (4, "4 of 8 (2 workers)")),
        (3, (2, "2 of 8 (3 workers)")),
        (16, (1, "1 of 8 (16 workers)")),
    ],
)
@pytest.mark.usefixtures("cores")
def test_workers_share_the_cores(workers, expected):
    assert threads_for(workers) == expected


@pytest.mark.parametrize("name", devices.THREAD_VARIABLES)
@pytest.mark.usefixtures("cores")
def test_what_the_user_set_overrules(name, monkeypatch):
    monkeypatch.setenv(name, "4")
    assert threads_for(2) == (4, f"4 of 8 ({name})")
    assert threads_for() == (4, f"4 of 8 ({name})")


@pytest.mark.usefixtures("cores")
def test_where_the_system_tells_no_affinity_all_cores_count(monkeypatch):
    monkeypatch.delattr(devices.os, "sched_getaffinity")
    monkeypatch.setattr(devices.os, "cpu_count", lambda: None)
    assert threads_for(2) == (1, "1 of 1 (2 workers)")
