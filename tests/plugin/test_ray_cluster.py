"""How many actors a session asks for, and what each gets; Ray is made up."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from medsam_core.errors import OptionError
from medsam_core.inference.devices import THREAD_VARIABLES, threads_for
from medsam_core.plugin.ray_cluster import NO_STATISTICS, Cluster, Share
from medsam_core.plugin.ray_options import RayOptions


@pytest.fixture
def share(monkeypatch):
    """share(total, free, device, most, **options): what each actor gets of a cluster with those CPUs and GPUs."""
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def of(total, free=None, *, device="auto", most=1000, **options):
        cluster = object.__new__(Cluster)
        cluster.options = RayOptions(**options)
        cluster.ray = SimpleNamespace(cluster_resources=lambda: total, available_resources=lambda: free or total)
        return cluster.share(device, most)

    return of


@pytest.mark.parametrize(
    ("total", "more", "expected"),
    [
        ({"CPU": 4.0}, {}, Share(4, 0.0, 1)),
        ({"CPU": 4.0}, {"actors": 2}, Share(2, 0.0, 2)),
        ({"CPU": 4.0}, {"actors": 9}, Share(9, 0.0, 1)),
        ({"CPU": 4.0}, {"most": 3}, Share(3, 0.0, 1)),
        ({"CPU": 4.0}, {"free": {"CPU": 1.0}}, Share(1, 0.0, 4)),
        ({"CPU": 64.0, "GPU": 8.0}, {}, Share(8, 1.0, 8)),
        ({"CPU": 64.0, "GPU": 8.0}, {"device": "cpu", "most": 64}, Share(64, 0.0, 1)),
        ({"CPU": 64.0, "GPU": 8.0}, {"gpus": 0.5}, Share(16, 0.5, 4)),
        ({"CPU": 64.0, "GPU": 2.0}, {"gpus": 0.4}, Share(4, 0.4, 16)),  # two fit on one GPU, not two and a half
        ({"CPU": 64.0, "GPU": 8.0}, {"gpus": 2.0}, Share(4, 2.0, 16)),
        ({"CPU": 64.0, "GPU": 8.0}, {"gpus": 0.0}, Share(64, 0.0, 1)),
        ({"CPU": 64.0, "GPU": 8.0}, {"free": {"CPU": 60.0, "GPU": 3.0}}, Share(3, 1.0, 21)),
        ({"CPU": 4.0}, {"gpus": 1.0, "actors": 2}, Share(2, 1.0, 2)),  # nodes that are still to come
    ],
)
def test_what_each_actor_gets(share, total, more, expected):
    assert share(total, more.pop("free", None), **more) == expected


def test_the_environment_decides_about_threads(share, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert share({"CPU": 64.0}, actors=2).threads == threads_for()[0]


def test_a_share_of_a_gpu_that_is_not_there_is_refused(share):
    with pytest.raises(OptionError) as caught:
        share({"CPU": 4.0}, gpus=0.5)
    assert str(caught.value) == (
        "--medsam-ray-gpus: got 0.5 where Ray has 0 GPUs, expected no more; ask for less, or give --medsam-ray-actors "
        "to wait for nodes that are still to come."
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:1", "Connection refused"), ("nonsense", "invalid literal"), ("head:x", "invalid literal")],
)
def test_an_address_where_no_cluster_is_ends_in_a_sentence_at_once(monkeypatch, address, reason):
    def never(**_):
        raise AssertionError("Ray itself would wait for minutes")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=never))
    with pytest.raises(OptionError) as caught:
        Cluster(RayOptions(address))
    assert str(caught.value).startswith(f"--medsam-ray={address}: got no connection (")
    assert reason in str(caught.value)
    assert "Ray's own settings for it, or leave the address out" in str(caught.value)


def test_a_connection_that_was_there_before_stays(monkeypatch):
    ended = []
    made_up = SimpleNamespace(is_initialized=lambda: True, shutdown=lambda: ended.append(1))
    monkeypatch.setitem(sys.modules, "ray", made_up)
    Cluster(RayOptions()).close()
    assert ended == []


def test_a_ray_that_was_started_here_reports_nothing_and_ends(monkeypatch):
    seen, ended = {}, []
    made_up = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **words: seen.update(words, statistics=os.environ[NO_STATISTICS]),
        shutdown=lambda: ended.append(1),
    )
    monkeypatch.setitem(sys.modules, "ray", made_up)
    monkeypatch.delenv(NO_STATISTICS, raising=False)
    cluster = Cluster(RayOptions(actors=99))
    assert (seen["address"], seen["num_cpus"], seen["statistics"]) == ("local", 99, "0")
    assert NO_STATISTICS not in os.environ
    cluster.close()
    assert ended == [1]


def test_what_the_user_says_about_statistics_stays(monkeypatch):
    seen = []
    init = lambda **_: seen.append(os.environ[NO_STATISTICS])  # noqa: E731
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    monkeypatch.setenv(NO_STATISTICS, "1")
    Cluster(RayOptions())
    assert seen == ["1"]
    assert os.environ[NO_STATISTICS] == "1"
