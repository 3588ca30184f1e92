"""Processes that read and score while this one uses the device; `reading_worker.py` is what runs in them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections import deque
from multiprocessing.connection import Connection
from typing import Any

from medsam_core.errors import MedsamError
from medsam_core.evaluation.shared_memory import receive, send
from medsam_core.evaluation.subject import Prepared, Segmented
from medsam_core.plugin.finishing import Finished, Finishing
from medsam_core.plugin.reading_worker import Failure, Part, Reading, Request, Scoring

ANSWER_SECONDS = 900.0
"""How long reading or scoring a part may take: a process that takes longer is stuck, and is ended."""
CLOSING_SECONDS = 10.0
"""How long closing waits for what a process is doing, such as a file that it writes."""
ENDING_SECONDS = 5.0
"""How long an idle process may take to end, and a killed one."""
START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # Ctrl-C is for the main process, which closes us
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from medsam_core.plugin.reading_worker import serve; serve(int(sys.argv[1]))"
)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Held:
    """A part that a process has read and keeps until it is scored, or until this is dropped."""

    def __init__(self, process: _Process, number: int, subject: str) -> None:
        self.process, self.number, self.subject = process, number, subject
        weakref.finalize(self, process.dropped.append, number).atexit = False


class ReadingProcesses:
    """Two processes; the one that read a part also scores it.

        process 0   read a  read b           score a  score b  read e …
        process 1                   read c   read d            score c …
        device              a       b        c        d

    Two parts in a row go to one process and the next two to the other, so the part that is scored while the device
    works is never in the process that reads meanwhile. A process that ended is replaced when a part is to be read.
    """

    def __init__(self) -> None:
        self._processes: list[_Process | None] = [None, None]
        self._numbers = itertools.count()
        self._starting = threading.Lock()
        self._closed = False

    def start(self) -> None:
        """Start both, unless that was done: they import what they need while this process does something else."""
        for place in range(len(self._processes)):
            self._process(place, "the first subject")

    def read(self, part: Part) -> tuple[Held, Prepared]:
        """Read a part in a process; image, labels and truths are in shared memory.

        Raises what `read_cases` raises, and MedsamError that names the subject if the process ends or takes too long.
        """
        number, subject = next(self._numbers), part.subject.id
        process = self._process(number // 2 % 2, subject)
        return Held(process, number, subject), process.ask(Reading(number, part), subject)

    def score(self, held: Held, segmented: Segmented, finishing: Finishing) -> list[Finished]:
        """The finished cases of a part, in their order. Raises as `Part.score` and `read` do."""
        found: list[Finished] = held.process.ask(Scoring.of(held.number, segmented, finishing), held.subject)
        return found

    def close(self) -> None:
        """End the processes; what waits for an answer, or asks later, gets an error."""
        with self._starting:
            self._closed = True
        for process in filter(None, self._processes):
            process.close()

    def _process(self, place: int, subject: str) -> _Process:
        with self._starting:  # threads read, and the main thread starts
            process = self._processes[place]
            if process is None or process.ended:
                if self._closed:
                    raise MedsamError(
                        f"{subject}: not read because the session was stopped, expected a result; continue with "
                        "--medsam-resume."
                    )
                process = self._processes[place] = _Process()
            return process


class _Process:
    """One process, asked by one thread at a time."""

    dropped: deque[int]
    """Parts that need not be kept, which the process learns with its next request."""

    def __init__(self) -> None:
        self.dropped = deque()
        self.ended = ""  # how, if it did
        self._lock = threading.Lock()
        own, its = socket.socketpair()
        # no `multiprocessing`: its children import the main module again, a user's script as well
        self._popen = subprocess.Popen(
            [sys.executable, "-c", START, str(its.fileno()), json.dumps([str(place) for place in sys.path])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            env=os.environ | ONE_THREAD,
        )
        its.close()
        self._connection = Connection(own.detach())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def ask(self, what: Reading | Scoring, subject: str) -> Any:
        """The answer to a request."""
        with self._lock:
            if not self.ended:
                dropped = tuple(self.dropped.popleft() for _ in range(len(self.dropped)))
                try:
                    send(self._connection, Request(what, dropped))
                    if self._connection.poll(ANSWER_SECONDS):
                        answer = receive(self._connection)
                    else:
                        self._end(f"no answer in {ANSWER_SECONDS:g} s")
                except (EOFError, ConnectionError):
                    self._end()
                except OSError as problem:
                    self._end(str(problem))
        if self.ended:
            raise MedsamError(
                f"{subject}: the process that reads and scores it ended ({self.ended}), expected a result; see whether "
                "memory ran out, then continue with --medsam-resume."
            )
        if isinstance(answer, Failure):
            raise answer.error
        return answer

    def close(self) -> None:
        """Let it finish what it does, for CLOSING_SECONDS, and end it."""
        if not self._lock.acquire(timeout=CLOSING_SECONDS):
            self._popen.kill()  # the thread that waits for its answer notices
            self._lock.acquire()
        self._end("the session ended")
        self._lock.release()

    def _end(self, why: str = "") -> None:
        """End the process, if it has not ended. why: said instead of its exit code."""
        if self.ended:
            return
        self._connection.close()  # an idle process ends at that
        try:
            self._popen.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # one that a disk holds cannot even be killed
                self._popen.wait(ENDING_SECONDS)
        code = self._popen.returncode or 0
        self.ended = why or (signal.Signals(-code).name if code < 0 else f"exit code {code}")
