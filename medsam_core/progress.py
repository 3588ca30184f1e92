"""How far work is, how fast, and how long it will take: as a bar on a terminal, or in lines."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Called as progress(done, total) after each thing."""
DELAY = 1.0
"""Seconds before a bar is shown: what ends sooner needs none."""
_LAST = 20
"""Things that the rate is measured on: of a resumed run the first ones take no time."""
_FIRST_LINE, _BETWEEN_LINES, _MOST_LINES = 2.0, 10.0, 50
"""Seconds before the first line and between two, and about how many lines there are at most."""


@contextmanager
def progress_bar(what: str, *, unit: str) -> Iterator[Progress]:
    """A bar on stderr while the block works, with things done, rate and time left; nothing if that is no terminal.

    The bar is removed at the end of the block.
    """
    from tqdm import tqdm

    with tqdm(desc=what, unit=unit, disable=None, leave=False, delay=DELAY) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


class ProgressLines:
    """The same in single lines, now and then, for what cannot be written over: a log, or the output of other tools."""

    def __init__(self, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """what: the things in the plural. clock: seconds, of any origin."""
        self.what = what
        self._clock = clock
        self._begun = clock()
        self._written: float | None = None
        self._times = deque([self._begun], maxlen=_LAST + 1)
        self._counted = 0

    def line(self, done: int, total: int) -> str | None:
        """`12 of 36 subjects, 4.1 s each, 01:38 left`; None if it is not time for a line, or nothing is left."""
        now = self._clock()
        for _ in range(done - self._counted):
            self._times.append(now)
        self._counted = done
        each = (now - self._times[0]) / max(1, len(self._times) - 1)
        left = each * (total - done)
        pause = max(_BETWEEN_LINES, (now - self._begun + left) / _MOST_LINES)
        due = self._begun + _FIRST_LINE if self._written is None else self._written + pause
        if not 0 < done < total or now < due:
            return None
        from tqdm import tqdm

        self._written = now
        return f"{done} of {total} {self.what}, {each:.1f} s each, {tqdm.format_interval(left)} left"
