"""Reading and scoring while the device works: the same results, errors per part, at most three parts alive."""

import gc
import threading
import weakref

import pytest

from medsam_core.errors import DataError
from medsam_core.evaluation.pipeline import Lookahead


class Arrays:
    """What a stage passes on; it can be referenced weakly."""

    def __init__(self, part):
        self.part = part


class Line:
    """Three stages that note what ran in which thread, and which parts are alive while the device works."""

    def __init__(self, *, ahead, broken=()):
        self.events, self.alive, self.most = [], weakref.WeakSet(), 0
        self.broken = dict(broken)
        self.line = Lookahead(self.read, self.segment, self.score, ahead=ahead)

    def _stage(self, name, part):
        self.events.append((name, part, threading.current_thread() is threading.main_thread()))
        if self.broken.get(part) == name:
            raise DataError(f"{part}: broken when {name}")

    def read(self, part):
        self._stage("read", part)
        arrays = Arrays(part)
        self.alive.add(arrays)
        return arrays

    def segment(self, arrays):
        self._stage("segmented", arrays.part)
        self.most = max(self.most, len(self.alive))
        return arrays

    def score(self, arrays):
        self._stage("scored", arrays.part)
        return f"scores of {arrays.part}"

    def run(self, parts):
        found = []
        for place, part in enumerate(parts):
            try:
                found.append(self.line.take(part, parts[place + 1 :]))
            except DataError as error:
                found.append(str(error))
        self.line.close()
        return found

    def parts(self, stage):
        return [part for name, part, _ in self.events if name == stage]


PARTS = list("abcdef")


@pytest.mark.parametrize("ahead", [False, True])
def test_every_part_goes_once_through_every_stage_in_order(ahead):
    line = Line(ahead=ahead)
    assert line.run(PARTS) == [f"scores of {part}" for part in PARTS]
    for stage in ("read", "segmented", "scored"):
        assert line.parts(stage) == PARTS


def test_only_the_calling_thread_uses_the_device():
    line = Line(ahead=True)
    line.run(PARTS)
    assert {(name, main) for name, _, main in line.events} == {("read", False), ("segmented", True), ("scored", False)}
    alone = Line(ahead=False)
    alone.run(PARTS)
    assert all(main for _, _, main in alone.events)


def test_a_part_is_read_and_another_scored_while_the_device_works():
    """b leaves the device only when c was read and a was scored: one stage after the other would wait for ever."""
    read, scored = threading.Event(), threading.Event()
    seen = []

    def segment(part):
        if part == "b":
            seen.append((read.wait(20), scored.wait(20)))
        return part

    line = Lookahead(
        lambda part: (part, read.set() if part == "c" else None)[0],
        segment,
        lambda part: (part, scored.set() if part == "a" else None)[0],
        ahead=True,
    )
    assert line.take("a", ["b", "c", "d"]) == "a"
    assert seen == [(True, True)]
    line.close()


def test_at_most_three_parts_are_alive_and_none_at_the_end():
    line = Line(ahead=True)
    line.run(PARTS)
    assert 1 <= line.most <= 3
    gc.collect()
    assert len(line.alive) == 0


def test_only_the_next_two_parts_are_started():
    line = Line(ahead=True)
    assert line.line.take("a", ["b", "c", "d", "e"]) == "scores of a"
    line.line.close()
    assert line.parts("segmented") == ["a", "b"]
    assert line.parts("read") in (["a", "b"], ["a", "b", "c"])  # closing may come before c was taken up


@pytest.mark.parametrize("stage", ["read", "segmented", "scored"])
@pytest.mark.parametrize("part", ["a", "b", "f"])
def test_an_error_affects_only_its_own_part(stage, part):
    line = Line(ahead=True, broken={part: stage})
    expected = [f"{p}: broken when {stage}" if p == part else f"scores of {p}" for p in PARTS]
    assert line.run(PARTS) == expected == Line(ahead=False, broken={part: stage}).run(PARTS)
    assert line.parts("read") == PARTS


@pytest.mark.parametrize("stage", ["read", "segmented", "scored"])
def test_an_error_keeps_no_arrays(stage):
    line = Line(ahead=True, broken={"b": stage})
    gc.disable()
    try:
        line.run(PARTS)
        assert len(line.alive) == 0
    finally:
        gc.enable()


def test_a_part_that_was_not_announced_is_started_from_scratch():
    line = Line(ahead=True)
    assert line.line.take("a", ["b", "c"]) == "scores of a"
    assert line.line.take("e", ["f"]) == "scores of e"
    assert line.line.take("a") == "scores of a"
    line.line.close()
    assert line.parts("segmented") == ["a", "b", "e", "f", "a"]
