"""Three stages of an evaluation, so arranged that the device need not wait for files or for metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

Part = TypeVar("Part")
Scored = TypeVar("Scored")


class Lookahead(Generic[Part, Scored]):
    """`take(part)` reads, segments and scores a part of the work; with `ahead`, those that follow are begun meanwhile.

    read: part -> what the device needs, without work for it. segment: that -> masks, on the device.
    score: masks -> the result, without the device.
    ahead: while the device works on a part, a thread reads the next one and another scores the one before, so that
        the arrays of at most three parts are alive at once. Without it everything happens in turn, for one part.

    `segment` is always called by the thread that calls `take`: captured CUDA graphs belong to a thread. What goes
    wrong with a part, at whatever stage, is raised when that part is asked for, and touches no other.
    """

    def __init__(
        self,
        read: Callable[[Part], Any],
        segment: Callable[[Any], Any],
        score: Callable[[Any], Scored],
        *,
        ahead: bool,
    ) -> None:
        self.read, self.segment, self.score, self.ahead = read, segment, score, ahead
        self._reader = ThreadPoolExecutor(1, "medsam-read")
        self._scorer = ThreadPoolExecutor(1, "medsam-score")
        self._reading: tuple[Part, Future[Any]] | None = None
        self._scoring: tuple[Part, Future[Scored]] | None = None

    def take(self, part: Part, following: Sequence[Part] = ()) -> Scored:
        """The part's result. following: what will be asked for next, in this order; only the first two matter."""
        if not self.ahead:
            return self.score(self.segment(self.read(part)))
        begun, self._scoring = self._scoring, None
        own = begun[1] if begun and begun[0] == part else self._begin(part, following[:1])
        if following:
            self._scoring = following[0], self._begin(following[0], following[1:2])
        try:
            return own.result()
        finally:
            del own, begun  # an error's traceback holds this frame, and a future the error: arrays would live on

    def close(self) -> None:
        """Begin nothing more; what a thread is at is waited for."""
        self._reading = self._scoring = None
        for pool in (self._reader, self._scorer):
            pool.shutdown(cancel_futures=True)

    def _begin(self, part: Part, following: Sequence[Part]) -> Future[Scored]:
        """Read a part, unless that was done, and segment it; its scoring, begun in a thread."""
        begun, self._reading = self._reading, None
        reading = begun[1] if begun and begun[0] == part else self._reader.submit(self.read, part)
        wait([reading])  # so that the one after is not read before this one goes to the device
        for one in following:
            self._reading = one, self._reader.submit(self.read, one)
        try:
            return self._scorer.submit(self.score, self.segment(reading.result()))
        except Exception as error:
            return _failed(error)
        finally:
            del reading, begun  # as above


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
