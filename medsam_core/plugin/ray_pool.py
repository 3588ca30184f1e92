"""An `Executor` on Ray: actors with a warm predictor take subjects, and each result comes back when it is done.

    queue ─→ actor: one subject under way, the next one reserved ─→ answers, whichever is ready first

At most two subjects per actor are out of the queue. An actor that dies costs the subject that it had under way one more
try by another actor; if that dies too, the subject's cases are not scored and say why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.data.nifti import LARGEST_FILE
from medsam_core.errors import DataError, MedsamError
from medsam_core.files import read_input
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.placement import Placement
from medsam_core.plugin.ray_actor import SubjectActor
from medsam_core.plugin.ray_crew import FIRST_SECONDS, Crew, Failure, Hand
from medsam_core.plugin.ray_options import RayOptions
from medsam_core.plugin.streaming import Answer, Kept, StreamedEvaluator, Work


@dataclass(eq=False)
class _Task:
    """A subject on its way."""

    work: Work
    files: Any = None
    """Reference to the bytes of its files in Ray's object store; None if they are not sent, or not yet."""
    deaths: int = 0
    """How many actors died with it under way."""


class RayPool:
    """Actors of Ray, and the subjects that they score."""

    def __init__(
        self, configuration: Configuration, options: RayOptions, kind: type[SubjectActor] = SubjectActor
    ) -> None:
        """Start the actors. Raises MedsamError if that fails or an actor has another code.

        kind: what runs in the actors.
        """
        self.options = options
        self._queue: deque[_Task] = deque()
        self._done: deque[Answer] = deque()
        self._crew = Crew(configuration, options, kind)
        self._on_gpu = self.placement.device != "cpu"

    @property
    def placement(self) -> Placement:
        """Where the actors score, for the run's header."""
        return self._crew.placement

    @property
    def notes(self) -> list[str]:
        """See `Executor`."""
        return self._crew.notes

    def add(self, work: Work, *, first: bool = False) -> None:
        """See `Executor`."""
        (self._queue.appendleft if first else self._queue.append)(_Task(work))

    def __next__(self) -> Answer:
        """See `Executor`."""
        self._fill()
        while not self._done:
            hands = self._crew.hands
            if not self._queue and not any(hand.running for hand in hands):
                raise StopIteration
            # without a ready actor it is unknown whether there will ever be one
            limit = None if any(hand.ready for hand in hands) else FIRST_SECONDS
            hand = self._crew.next_ready(limit) if hands else None
            if hand is None:
                self._give_up()
            else:
                self._hear(hand)
            self._fill()  # before the answer is looked at: no actor waits for the session
        return self._done.popleft()

    def close(self) -> None:
        """See `Executor`."""
        self._queue.clear()
        self._crew.close()

    def _hear(self, hand: Hand) -> None:
        task, joining = hand.running, hand.ready is None
        said = self._crew.hear(hand)
        if joining:
            return
        subject = task.work.subject.id
        if isinstance(said, Failure) and said.died:
            self._inherit(hand, said)
            return
        hand.running = None
        if isinstance(said, Failure):  # neither the files nor the options are at fault
            said = Answer(
                task.work,
                error=f"{subject}: scoring failed with {said.words} in a Ray actor, expected a result; score the "
                "subject without --medsam-ray to see where.",
            )
        elif task.deaths and not said.error:
            self.notes.append(f"{subject}: scored at the second try; the Ray actor of the first one died")
        self._done.append(said)

    def _inherit(self, hand: Hand, failure: Failure) -> None:
        """An actor died: others get its subjects, and another actor takes its place."""
        under_way = [hand.running]
        if hand.reserved is not None:
            under_way += [hand.reserved] if hand.ahead else []
            self._queue.extendleft([] if hand.ahead else [hand.reserved])
        for task in reversed(under_way):
            task.deaths += 1
            if task.deaths == 1:
                self._queue.appendleft(task)
                continue
            self._done.append(
                Answer(
                    task.work,
                    error=f"{task.work.subject.id}: two Ray actors died while they scored it ({failure.words}), "
                    "expected a result; look into Ray's logs for the cause, such as too little memory, then continue "
                    "with --medsam-resume.",
                )
            )
        self._crew.hire()

    def _fill(self) -> None:
        """Give every idle actor a subject, then reserve the next one for each."""
        ready = [hand for hand in self._crew.hands if hand.ready is not None]
        for hand in ready:
            if hand.running is None:
                task = hand.reserved or self._draw() or self._reserved_elsewhere()
                hand.reserved, hand.ahead = None, False
                if task is not None:
                    self._submit(hand, task)
        for hand in ready:
            if hand.running is not None and hand.reserved is None:
                hand.reserved = self._draw()

    def _submit(self, hand: Hand, task: _Task) -> None:
        """Give an actor a subject; on a GPU also the one after it, which it reads and segments ahead."""
        hand.running = task
        following: tuple[Any, ...] = ()
        # a subject under which an actor died is alone with the next one, so that no other pays for it
        if self._on_gpu and not task.deaths and self._queue and not self._queue[0].deaths:
            hand.reserved = self._draw()
            if hand.reserved is not None:
                hand.ahead, following = True, (hand.reserved.work, hand.reserved.files)
        call = hand.actor.evaluate.options(name=f"medsam {task.work.subject.id}")
        hand.waiting = call.remote(task.work, task.files, *following)

    def _draw(self) -> _Task | None:
        """The next subject of the queue, with its files in the object store if they are sent."""
        while self._queue:
            task = self._queue.popleft()
            if not self.options.ship_data or task.files is not None:
                return task
            try:
                task.files = self._crew.ray.put({path: _content(path) for path in task.work.marks})
            except MedsamError as error:
                self._done.append(Answer(task.work, error=str(error)))
            else:
                return task
        return None

    def _reserved_elsewhere(self) -> _Task | None:
        """A subject that waits for a busy actor which has not begun with it."""
        for hand in self._crew.hands:
            if hand.reserved is not None and not hand.ahead:
                task: _Task = hand.reserved
                hand.reserved = None
                return task
        return None

    def _give_up(self) -> None:
        """No actor is left: every subject that waits says so."""
        problem = self._crew.problem.rstrip(".") or f"none joined within {FIRST_SECONDS:g} s"
        for task in self._queue:
            sentence = (
                f"no Ray actor is left ({problem}), expected one; continue with --medsam-resume when Ray has one."
            )
            self._done.append(Answer(task.work, error=f"{task.work.subject.id}: {sentence}"))
        self._queue.clear()


def evaluator_on_ray(
    configuration: Configuration, options: RayOptions, keep: Callable[[Sequence[Kept]], None]
) -> StreamedEvaluator:
    """What a session uses in place of an `Evaluator`. Raises MedsamError.

    keep: gets the results of a subject when they come.
    """
    return StreamedEvaluator(configuration, RayPool(configuration, options), keep)


def _content(path: Path) -> np.ndarray:
    """(n,) uint8, the bytes of a file. Raises DataError if it cannot be read."""
    return np.frombuffer(read_input(path, largest=LARGEST_FILE, what="an image", error=DataError), np.uint8)
