"""The options of Ray: what each comes to, and which of them contradict each other."""

from __future__ import annotations

import importlib.util

import pytest

from medsam_core.errors import OptionError
from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.ray_options import RayOptions
from medsam_core.plugin.resolving import configuration_from
from tests.plugin.test_plugin import said

pytest_plugins = ["pytester"]


@pytest.fixture
def resolve(pytester):
    """resolve(*options): what the session's configuration says about Ray."""

    def of(*options):
        config = pytester.parseconfig("-p", "medsam_core.plugin.plugin", *options)
        return configuration_from(config).ray

    return of


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), None),
        (("--medsam-ray",), RayOptions("local")),
        (("--medsam-ray=auto",), RayOptions("auto")),
        (("--medsam-ray=10.0.0.1:6379",), RayOptions("10.0.0.1:6379")),
        (
            ("--medsam-ray", "--medsam-ray-actors=3", "--medsam-ray-gpus=0.5", "--medsam-ship-data"),
            RayOptions("local", actors=3, gpus=0.5, ship_data=True),
        ),
        (("--medsam-ray", "--medsam-ray-gpus=0"), RayOptions("local", gpus=0.0)),
    ],
)
def test_what_the_options_come_to(resolve, words, expected):
    assert resolve(*words) == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--medsam-ship-data",), "--medsam-ship-data: got no --medsam-ray, expected both; add --medsam-ray or"),
        (("--medsam-ray-actors=2",), "--medsam-ray-actors: got no --medsam-ray"),
        (("--medsam-ray-gpus=1",), "--medsam-ray-gpus: got no --medsam-ray"),
        (("--medsam-ray", "--medsam-ray-actors=0"), "--medsam-ray-actors: got '0', expected a whole number ≥ 1"),
        (("--medsam-ray", "--medsam-ray-gpus=-1"), "--medsam-ray-gpus: got '-1', expected a number ≥ 0"),
        (("--medsam-ray=ray://head:10001",), "got 'ray://head:10001', expected auto or HOST:PORT because a session"),
        (("--medsam-ray", "."), "got '.', a path, expected an address; write --medsam-ray=local, with an equals sign"),
    ],
)
def test_options_that_cannot_be_followed_end_in_a_sentence(pytester, words, sentence):
    result = pytester.runpytest_inprocess("-p", "medsam_core.plugin.plugin", *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in said(result)


def test_workers_and_actors_together_are_refused(pytester):
    pytest.importorskip("xdist")
    result = pytester.runpytest_inprocess("-p", "medsam_core.plugin.plugin", "-p", "xdist", "-n", "2", "--medsam-ray")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--medsam-ray: got -n 2 too, expected one of them because each spreads the subjects; leave -n out." in said(
        result
    )


@pytest.fixture
def with_ray(monkeypatch):
    """As if ray were installed; nothing imports it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "ray" else found(name))


@pytest.mark.usefixtures("with_ray")
@pytest.mark.parametrize(
    ("choice", "device", "gpus", "sentence"),
    [
        (PredictorChoice(hook=print), "auto", None, "name it with --medsam-predictor=module:factory."),
        (PredictorChoice(), "cuda:1", None, "got --medsam-device=cuda:1, expected auto, cpu or cuda because Ray gives"),
        (PredictorChoice(), "cpu", 0.5, "--medsam-ray-gpus: got 0.5 with --medsam-device=cpu, expected 0"),
    ],
)
def test_what_an_actor_could_not_do_is_refused(choice, device, gpus, sentence):
    with pytest.raises(OptionError) as caught:
        RayOptions(gpus=gpus).check(choice, device)
    assert sentence in str(caught.value)


@pytest.mark.usefixtures("with_ray")
def test_what_an_actor_can_do_is_not_refused():
    RayOptions().check(PredictorChoice("engine", hook=print), "cuda")
    RayOptions(gpus=0.0).check(PredictorChoice("a:b"), "cpu")


def test_a_session_without_ray_installed_names_the_extra(pytester, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))
    result = pytester.runpytest_inprocess("-p", "medsam_core.plugin.plugin", "--medsam-ray")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--medsam-ray: got no package ray, expected it to be installed; pip install 'medsam-core[ray]'" in said(
        result
    )
