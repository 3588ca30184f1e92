"""Three stages of an evaluation in a pipeline, so that the device waits neither for files nor for metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

Part = TypeVar("Part")
Scored = TypeVar("Scored")


class Lookahead(Generic[Part, Scored]):
    """Reads, segments and scores parts of the work, one `take(part)` after the other.

        reader thread    read b    read c    read d
        calling thread   segment a segment b segment c
        scorer thread              score a   score b

    With `ahead`, a thread reads the next part and another scores the previous one while the device works, so the
    arrays of at most three parts are alive at once. Without it, the three stages of one part run in turn.

    `segment` always runs in the thread that calls `take`, because captured CUDA graphs belong to a thread. An error in
    any stage of a part is raised when that part is taken, and affects no other part.
    """

    def __init__(
        self,
        read: Callable[[Part], Any],
        segment: Callable[[Any], Any],
        score: Callable[[Any], Scored],
        *,
        ahead: bool,
    ) -> None:
        """read: part -> what the device needs. segment: that -> masks, on the device. score: masks -> the result.

        read and score do not use the device. ahead: whether they run in threads meanwhile.
        """
        self.read, self.segment, self.score, self.ahead = read, segment, score, ahead
        self._reader = ThreadPoolExecutor(1, "medsam-read")
        self._scorer = ThreadPoolExecutor(1, "medsam-score")
        self._reading: tuple[Part, Future[Any]] | None = None
        self._scoring: tuple[Part, Future[Scored]] | None = None

    def take(self, part: Part, following: Sequence[Part] = ()) -> Scored:
        """The part's result. following: the parts to be taken next, in this order; only the first two matter."""
        if not self.ahead:
            return self.score(self.segment(self.read(part)))
        begun, self._scoring = self._scoring, None
        own = begun[1] if begun and begun[0] == part else self._begin(part, following[:1])
        if following:
            self._scoring = following[0], self._begin(following[0], following[1:2])
        try:
            return own.result()
        finally:
            del own, begun  # a future holds its error, and the error's traceback this frame: arrays would live on

    def close(self) -> None:
        """Start nothing more, and wait for what the threads are doing."""
        self._reading = self._scoring = None
        for pool in (self._reader, self._scorer):
            pool.shutdown(cancel_futures=True)

    def _begin(self, part: Part, following: Sequence[Part]) -> Future[Scored]:
        """Read a part unless that was done, segment it, and start its scoring in a thread."""
        begun, self._reading = self._reading, None
        reading = begun[1] if begun and begun[0] == part else self._reader.submit(self.read, part)
        wait([reading])  # the next part must not be read before this one goes to the device
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
