"""Values handed to another process of this machine, their arrays through memory that both processes see.

The memory has no name (`memfd_create`): nothing is left of it when the last process that uses it ends, in whatever way.
A descriptor of it travels through the connection, which must be a Unix socket.
"""

from __future__ import annotations

import mmap
import os
import pickle
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

ALIGNMENT = 64
"""Every array begins at a multiple of this many bytes."""


@dataclass(frozen=True)
class _Layout:
    """What is sent through the connection; the arrays' bytes are in the memory."""

    pickled: bytes
    places: tuple[tuple[int, int, bool], ...]
    """(first byte, number of bytes, whether it may be written) of each array."""
    size: int
    """Bytes of the memory; 0 where there is none."""

    def value(self, descriptor: int) -> Any:
        """The value, its arrays in the memory. descriptor: of the memory, which the arrays keep."""
        memory = memoryview(mmap.mmap(descriptor, self.size) if self.size else b"")
        parts = [memory[start : start + length] for start, length, _ in self.places]
        writable = [place[2] for place in self.places]
        return pickle.loads(
            self.pickled,
            buffers=[part if may else part.toreadonly() for part, may in zip(parts, writable, strict=True)],
        )


def send(connection: Connection, value: Any) -> Any:
    """Send a value that can be pickled, and return it with its arrays in the memory that the receiver sees.

    Whoever keeps what was returned and drops `value` has each array once. Raises OSError if the other process is gone.
    """
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    places, size = [], 0
    for array in arrays:
        with array.raw() as raw:
            places.append((size, raw.nbytes, not raw.readonly))
            size += -(-raw.nbytes // ALIGNMENT) * ALIGNMENT
    layout = _Layout(pickled, tuple(places), size)
    if not size:
        connection.send(layout)
        return value
    descriptor = os.memfd_create("medsam-arrays", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        with mmap.mmap(descriptor, size) as memory:
            for array, (start, length, _) in zip(arrays, places, strict=True):
                with array.raw() as raw:
                    memory[start : start + length] = raw
        connection.send(layout)
        reduction.send_handle(connection, descriptor, None)
        return layout.value(descriptor)
    finally:
        os.close(descriptor)


def receive(connection: Connection) -> Any:
    """The value that `send` sent at the other end. Raises EOFError or OSError if the other process is gone."""
    layout = connection.recv()
    if not layout.size:
        return layout.value(-1)
    descriptor = reduction.recv_handle(connection)
    try:
        return layout.value(descriptor)
    finally:
        os.close(descriptor)
