"""Which actor gets which subject, and what becomes of the subjects of one that dies; the actors are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from medsam_core.cases import Case
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.header import Decisions, Environment
from medsam_core.plugin import ray_pool
from medsam_core.plugin.placement import Placement
from medsam_core.plugin.ray_crew import Failure, Hand
from medsam_core.plugin.ray_options import RayOptions
from medsam_core.plugin.streaming import Answer, work_of


class MadeUpCrew:
    """Actors that answer when `script` says so.

    script: what happens next, in order: the number of the actor that speaks, or (number, Failure).
    """

    def __init__(self, count, device, script):
        self.placement = Placement(device, "fp32", Decisions(), Environment())
        self.script, self.notes, self.problem, self.made = list(script), [], "", 0
        self.hands, self.given, self.most = [], [], 0
        self.ray = SimpleNamespace(put=lambda files: ("stored", sorted(path.name for path in files)))
        for _ in range(count):
            self.hire()
            self.hands[-1].ready = True
            self.hands[-1].waiting = None

    def hire(self):
        number, self.made = self.made, self.made + 1
        evaluate = SimpleNamespace(
            options=lambda name: SimpleNamespace(remote=lambda *words: self.call(number, name, words))
        )
        self.hands.append(Hand(SimpleNamespace(evaluate=evaluate, number=number), waiting="start"))

    def call(self, number, name, words):
        following = words[2].subject.id if len(words) > 2 else ""
        self.given.append((number, name, following, words[1]))
        return words[0]

    def next_ready(self, seconds=None):
        self.most = max(self.most, sum((hand.running is not None) + (hand.reserved is not None) for hand in self.hands))
        if not self.script:
            assert seconds is not None, "nothing will ever happen"
            return None
        number = self.script[0][0] if isinstance(self.script[0], tuple) else self.script[0]
        return next(hand for hand in self.hands if hand.actor.number == number)

    def hear(self, hand):
        event = self.script.pop(0)
        failure = event[1] if isinstance(event, tuple) else None
        work, hand.waiting = hand.waiting, None
        if hand.ready is None:
            if failure is None:
                hand.ready = True
            else:
                self.problem = failure.words
                self.hands.remove(hand)
            return None
        if failure is not None and failure.died:
            self.hands.remove(hand)
        return failure or Answer(work)

    def close(self):
        self.hands = []


DEAD = Failure("killed", died=True)


@pytest.fixture
def pool(monkeypatch, tmp_path):
    """pool(names, actors, script, device, ship): a pool with those subjects queued, and its crew."""

    def make(names, actors, script, device="cpu", ship=False):
        crew = MadeUpCrew(actors, device, script)
        monkeypatch.setattr(ray_pool, "Crew", lambda *_: crew)
        made = ray_pool.RayPool(None, RayOptions(ship_data=ship))  # type: ignore[arg-type]
        for name in names:
            path = tmp_path / f"{name}.nii.gz"
            path.write_bytes(name.encode())
            subject = Subject(name, {"t1ce": ImageFile(path)}, None, "x", None)
            made.add(work_of(subject, [Case(name, "t1ce", "WT", "box")], {path: name}))
        return made, crew

    return make


def answers(pool):
    found = []
    while True:
        try:
            answer = next(pool)
        except StopIteration:
            return found
        found.append((answer.work.subject.id, answer.error))


def test_answers_come_in_order_of_completion_and_no_actor_waits(pool):
    made, crew = pool("ABCDE", 2, [1, 1, 0, 1, 0])
    assert [name for name, _ in answers(made)] == ["B", "D", "A", "E", "C"]
    assert [(number, name) for number, name, *_ in crew.given] == [
        (0, "medsam A"),
        (1, "medsam B"),
        (1, "medsam D"),
        (1, "medsam E"),
        (0, "medsam C"),
    ]
    assert crew.most <= 4, "two subjects for each actor"


def test_an_idle_actor_takes_what_waits_for_a_busy_one(pool):
    made, _ = pool("ABC", 2, [1, 1, 0])
    assert [name for name, _ in answers(made)] == ["B", "C", "A"]


def test_on_a_gpu_an_actor_knows_what_comes_next(pool):
    made, crew = pool("ABCDE", 1, [0] * 5, device="cuda")
    assert [name for name, _ in answers(made)] == list("ABCDE")
    assert [(name, following) for _, name, following, _ in crew.given] == [
        ("medsam A", "B"),
        ("medsam B", "C"),
        ("medsam C", "D"),
        ("medsam D", "E"),
        ("medsam E", ""),
    ]


def test_the_subject_under_which_an_actor_died_is_tried_once_more_before_the_others(pool):
    made, _ = pool("ABCD", 2, [(0, DEAD), 1, 1, 1, 1])
    assert answers(made) == [("B", ""), ("D", ""), ("A", ""), ("C", "")], "D was reserved already"
    assert made.notes == ["A: scored at the second try; the Ray actor of the first one died"]


def test_a_subject_under_which_two_actors_died_is_given_up_and_the_others_go_on(pool):
    made, _ = pool("ABC", 2, [(0, DEAD), 1, (1, DEAD), 2, 2, 2, 3])
    found = dict(answers(made))
    assert found["A"] == (
        "A: two Ray actors died while they scored it (killed), expected a result; look into Ray's logs for the cause, "
        "such as too little memory, then continue with --medsam-resume."
    )
    assert (found["B"], found["C"]) == ("", "")


def test_what_an_actor_had_begun_ahead_is_tried_alone_too(pool):
    made, crew = pool("ABCD", 1, [(0, DEAD), 1, 1, 1, 1, 1], device="cuda")
    assert dict(answers(made)) == dict.fromkeys("ABCD", "")
    assert [(name, following) for _, name, following, _ in crew.given] == [
        ("medsam A", "B"),
        ("medsam A", ""),
        ("medsam B", ""),
        ("medsam C", "D"),
        ("medsam D", ""),
    ]
    assert len(made.notes) == 2


def test_a_subject_that_kills_actors_costs_its_neighbours_nothing_but_time(pool):
    """B kills: first beside A, then alone."""
    made, _ = pool("ABC", 1, [(0, DEAD), 1, 1, (1, DEAD), 2, 2], device="cuda")
    found = dict(answers(made))
    assert found["B"].startswith("B: two Ray actors died")
    assert (found["A"], found["C"]) == ("", "")


def test_a_fault_of_the_code_is_the_subjects_own(pool):
    made, _ = pool("AB", 1, [(0, Failure("KeyError ('x')")), 0])
    assert answers(made) == [
        (
            "A",
            "A: scoring failed with KeyError ('x') in a Ray actor, expected a result; score the subject without "
            "--medsam-ray to see where.",
        ),
        ("B", ""),
    ]


def test_without_an_actor_every_subject_that_waits_says_so(pool):
    made, _ = pool("AB", 1, [(0, DEAD), (1, Failure("no room for the model"))])
    assert answers(made) == [
        (
            name,
            f"{name}: no Ray actor is left (no room for the model), expected one; continue with --medsam-resume when "
            "Ray has one.",
        )
        for name in "AB"
    ]


def test_an_actor_that_never_joins_ends_the_waiting(pool):
    made, _ = pool("A", 1, [(0, DEAD)])
    ((_, error),) = answers(made)
    assert "none joined within 600 s" in error


def test_files_are_sent_for_two_subjects_of_an_actor_and_no_more(pool, monkeypatch, tmp_path):
    made, crew = pool("ABCD", 1, [0, 0, 0, 0], ship=True)
    sent = []
    monkeypatch.setattr(crew.ray, "put", lambda files: sent.append(*[path.name for path in files]) or "stored")
    assert next(made).work.subject.id == "A"
    assert sent == ["A.nii.gz", "B.nii.gz", "C.nii.gz"], "A is done, B under way, C reserved"
    (tmp_path / "D.nii.gz").unlink()
    found = answers(made)
    assert [name for name, error in found if not error] == ["B", "C"]
    assert [error for name, error in found if name == "D"] == [
        f"{tmp_path / 'D.nii.gz'}: no such file, expected an image; check the path."
    ]
    assert crew.given[0][3] == "stored"


def test_a_case_that_a_test_waits_for_goes_first(pool):
    made, crew = pool("ABCD", 1, [0] * 5)
    assert next(made).work.subject.id == "A"
    subject = Subject("X", {"t1ce": ImageFile(Path("x"))}, None, "x", None)
    made.add(work_of(subject, [Case("X", "t1ce", "WT", "box")], {Path("x"): "x"}), first=True)
    assert [name for name, _ in answers(made)] == ["B", "C", "X", "D"]
    assert replace(crew.placement).device == "cpu"
