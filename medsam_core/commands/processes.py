"""The same work on many things, in several processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from medsam_core.errors import OptionError
from medsam_core.progress import progress_bar

Given = TypeVar("Given")
Made = TypeVar("Made")


def check_processes(count: int | None) -> None:
    """Raise OptionError for a number of processes below 1; None is for all."""
    if count is not None and count < 1:
        raise OptionError(f"--processes: got {count}, expected at least 1; leave it out for all.")


def in_processes(
    work: Callable[[Given], Made],
    things: Sequence[Given],
    processes: int | None,
    *,
    worth: int,
    unit: str,
    what: str,
) -> Iterator[Made]:
    """`work` of each thing, in order.

    work: can be pickled: a function of a module, or a `functools.partial` of one.
    processes: how many; None for one for each processor, but no more than one for every `worth` things.
    worth: so many things take longer than the start of a process, which takes a second.
    unit, what: for the progress bar on stderr, which only a terminal shows.
    The first exception of `work` is raised, and nothing more is started.
    """
    wanted = processes or min(len(os.sched_getaffinity(0)), len(things) // worth)
    with progress_bar(what, unit=unit) as progress:
        if wanted <= 1:
            for done, thing in enumerate(things, start=1):
                yield work(thing)
                progress(done, len(things))
            return
        # spawned, not forked: a fork copies locks that the libraries' threads may hold
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(wanted, mp_context=context, initializer=_one_thread) as pool:
            jobs = [pool.submit(work, thing) for thing in things]
            try:
                for done, job in enumerate(jobs, start=1):
                    yield job.result()
                    progress(done, len(jobs))
            finally:  # after an error nothing more is started
                for job in jobs:
                    job.cancel()


def _one_thread() -> None:
    """A worker does not start threads that would compete with the other workers."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops them
