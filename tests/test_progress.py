"""How far work is: a bar on a terminal, and lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from functools import partialmethod

import pytest
from tqdm import tqdm

from medsam_core.progress import ProgressLines

WORK = """
import time
from medsam_core import progress
progress.DELAY = {delay}
with progress.progress_bar("phantoms", unit="subject") as done:
    for number in range(1, 4):
        time.sleep(0.15)
        done(number, 3)
"""


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_line_has_what_is_done_the_rate_and_the_time_left(clock):
    lines = ProgressLines("subjects", clock=clock)
    clock.now += 8
    assert lines.line(2, 20) == "2 of 20 subjects, 4.0 s each, 01:12 left"


def test_the_first_line_comes_after_two_seconds_and_the_next_after_ten(clock):
    lines = ProgressLines("subjects", clock=clock)
    written = {}
    for done in range(1, 31):
        clock.now += 1
        if line := lines.line(done, 31):
            written[done] = line
    assert list(written) == [2, 12, 22]


def test_a_run_of_hours_has_some_fifty_lines(clock):
    lines = ProgressLines("subjects", clock=clock)
    written = []
    for done in range(1, 2001):
        clock.now += 10
        written.append(lines.line(done, 2000))
    assert 40 <= sum(line is not None for line in written) <= 60


def test_there_is_no_line_before_the_first_and_after_the_last(clock):
    lines = ProgressLines("subjects", clock=clock)
    clock.now += 60
    assert lines.line(0, 2) is None
    assert lines.line(2, 2) is None


def test_the_rate_forgets_subjects_that_took_no_time(clock):
    lines = ProgressLines("subjects", clock=clock)
    lines.line(50, 100)  # of a resumed run
    for done in range(51, 72):
        clock.now += 5
        line = lines.line(done, 100)
    assert line is None or line.startswith("71 of 100 subjects, 5.0 s each, ")
    clock.now += 60
    assert ", 7.8 s each, " in lines.line(72, 100)


def on_a_terminal(code):
    """What the code writes to a terminal of 100 columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    done = subprocess.Popen([sys.executable, "-c", code], stderr=follower)
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side was closed
            break
        if not part:
            break
        written += part
    os.close(leader)
    assert done.wait(60) == 0
    return written.decode()


def test_a_bar_shows_things_rate_and_time_left_and_goes_away():
    written = on_a_terminal(WORK.format(delay=0.1))
    assert "| 3/3 [00:00<00:00, " in written
    assert "subject" in written
    assert written.split("\r")[-2].strip() == ""


def test_what_ends_soon_has_no_bar():
    assert on_a_terminal(WORK.format(delay=60)) == ""


def test_without_a_terminal_there_is_no_bar():
    done = subprocess.run([sys.executable, "-c", WORK.format(delay=0)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_comparing_and_proposing_show_their_steps(monkeypatch, command, make_record, make_run):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("medsam_core.progress.DELAY", 0)
    monkeypatch.setattr("tqdm.tqdm.__init__", partialmethod(tqdm.__init__, mininterval=0))
    first, second = (make_run([make_record(f"S{i}") for i in range(6)], name=name).directory for name in "ab")
    assert command("compare", first, second) == 0
    assert "comparing: " in terminal.getvalue()
    assert "2/3" in terminal.getvalue()
    assert command("propose", first, "--repeat", second) == 0
    assert "2/3" in terminal.getvalue().partition("proposing: ")[2]
