"""How far work is, how fast, and how long it will take: a bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Called as progress(done, total) after each thing."""


@contextmanager
def progress_bar(what: str, *, unit: str) -> Iterator[Progress]:
    """A bar on stderr while the block works, which shows things done, rate and time left; nothing without a terminal.

    The block calls what it is given as progress(done, total), first with done = 0 if it can. The bar is removed at the
    end of the block.
    """
    from tqdm import tqdm

    with tqdm(desc=what, unit=unit, disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            bar.refresh()

        yield progress
