"""Actors that join, that differ, and that are replaced; Ray is made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from medsam_core.errors import RunError
from medsam_core.header import Decisions, Environment
from medsam_core.plugin import ray_crew
from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.placement import Placement
from medsam_core.plugin.ray_actor import Ready
from medsam_core.plugin.ray_cluster import Share
from medsam_core.plugin.ray_crew import Crew, Failure
from medsam_core.plugin.ray_options import RayOptions
from medsam_core.predictors.contract import PredictorIdentity


class TaskError(Exception):
    cause = None


class RayError(Exception):
    pass


IDENTITY = PredictorIdentity("engine", "1", "a" * 64)
READY = Ready(
    Placement("cuda", "bf16", Decisions(device="auto"), Environment(gpu="H100")),
    IDENTITY,
    "s",
    "node1",
    Path("/nowhere"),
)


@pytest.fixture
def crew(monkeypatch):
    """crew(said, runs_here=True): a crew whose actors say that when they start, in this order."""

    def make(*said, runs_here=True):
        waiting = list(said)
        log = SimpleNamespace(names=[], killed=[], needs=[])

        def get(reference):
            if isinstance(reference, Exception):
                raise reference
            return reference

        class Kind:
            @staticmethod
            def options(**needs):
                log.needs.append(needs)
                log.names.append(needs["name"])
                call = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: waiting.pop(0)))
                closing = SimpleNamespace(remote=lambda: "closed")
                return SimpleNamespace(remote=lambda: SimpleNamespace(start=call, close=closing))

        ray = SimpleNamespace(
            remote=lambda _: Kind,
            get=get,
            put=lambda value: value,
            kill=log.killed.append,
            wait=lambda references, **_: (references[:1] if references[0] != "never" else [], []),
            exceptions=SimpleNamespace(RayTaskError=TaskError, RayError=RayError),
        )
        shares = Share(len(said), 0.5, 3)
        cluster = SimpleNamespace(ray=ray, share=lambda *_: shares, close=lambda: log.killed.append("cluster"))
        monkeypatch.setattr(ray_crew, "Cluster", lambda _: cluster)
        monkeypatch.setattr(Crew, "_put_order", lambda *_, **__: ())
        adopted = []
        configuration = SimpleNamespace(
            choice=PredictorChoice("engine" if runs_here else "a:b"),
            predictor_identity=IDENTITY,
            predictor_source="s",
            device="auto",
            cohort=(),
            adopt=lambda *what: adopted.append(what),
        )
        log.adopted = adopted
        log.waiting = waiting
        return Crew(configuration, RayOptions()), log  # type: ignore[arg-type]

    return make


def test_every_actor_joins_under_a_name_of_its_own_and_says_where_it_scores(crew):
    made, log = crew(READY, READY)
    assert [hand.ready for hand in made.hands] == [READY, READY]
    assert log.names == ["medsam actor 1", "medsam actor 2"]
    assert all(needs["num_gpus"] == 0.5 and needs["num_cpus"] == 1 for needs in log.needs)
    assert made.placement.decided == Decisions(device="auto", threads="3 in each of 2 Ray actors, 0.5 GPU each")
    assert log.adopted == [(IDENTITY, "s")]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (
            "Ray node n: got torch 1, expected 2 as in the session; install the same environment on every node.",
            "got torch",
        ),
        (replace(READY, identity=PredictorIdentity("engine", "1", "b" * 64)), "got the predictor engine 1 (bbbb"),
        (replace(READY, source="t"), "got the source of the predictor t, expected s as in the session"),
        (
            replace(READY, placement=replace(READY.placement, device="cpu")),
            "got the device cpu, expected cuda as on node1",
        ),
        (replace(READY, placement=replace(READY.placement, precision="fp32")), "got the precision fp32, expected bf16"),
        (
            replace(READY, placement=replace(READY.placement, environment=Environment(gpu="A10"))),
            "got the GPU A10, expected H100 as on node1; use nodes of one kind with the same files.",
        ),
        (RayError("The actor died.\n  It ran out of memory. Some common causes include: …"), "It ran out of memory"),
        (TaskError("no module"), "an actor could not be made (TaskError (no module)), expected one"),
    ],
)
def test_an_actor_that_differs_ends_the_start_of_the_session(crew, second, words):
    with pytest.raises(RunError) as caught:
        crew(READY, second)
    assert words in str(caught.value)


def test_actors_of_a_foreign_predictor_are_compared_with_the_first(crew):
    other = replace(READY, identity=PredictorIdentity("mine", "1", "c" * 64), source="x")
    made, log = crew(other, other, runs_here=False)
    assert log.adopted == [(other.identity, "x")]
    assert len(made.hands) == 2
    with pytest.raises(RunError, match="got the predictor engine"):
        crew(other, READY, runs_here=False)


def test_a_late_actor_that_differs_is_left_out_and_noted(crew):
    made, log = crew(READY)
    log.waiting.append("Ray node n: another code.")
    made.hire()
    late = made.hands[-1]
    made.hear(late)
    assert late not in made.hands
    assert late.actor in log.killed
    assert made.notes == ["a Ray actor was not used: Ray node n: another code."]


def test_without_an_actor_the_session_does_not_begin(crew):
    with pytest.raises(RunError, match=r"got no actor with 1 CPU and 0\.5 GPU within 600 s, expected one; free some"):
        crew("never")


def test_the_session_begins_without_an_actor_that_takes_long(crew):
    made, _ = crew(READY, "never")
    assert [hand.ready for hand in made.hands] == [READY, None]


def test_an_actor_that_dies_is_gone_and_one_that_fails_stays(crew):
    made, _ = crew(READY, READY)
    first, second = made.hands
    first.waiting, second.waiting = RayError("gone"), TaskError("a fault")
    assert made.hear(first) == Failure("gone", died=True)
    assert made.hear(second) == Failure("TaskError (a fault)")
    assert made.hands == [second]


def test_the_end_kills_every_actor_and_leaves_the_cluster(crew):
    made, log = crew(READY, READY)
    actors = [hand.actor for hand in made.hands]
    made.close()
    assert log.killed == [*actors, "cluster"]
    assert made.hands == []
