"""Values between processes: the same at the other end, their arrays in one memory that leaves nothing behind."""

import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from medsam_core.evaluation.shared_memory import ALIGNMENT, receive, send


@dataclass
class Pair:
    name: str
    arrays: dict


@pytest.fixture
def ends():
    own, other = (Connection(one.detach()) for one in socket.socketpair())
    with own, other:
        yield own, other


def mappings():
    return Path("/proc/self/maps").read_text().count("medsam-arrays")


def files():
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def sent_and_received(ends, value):
    """What the sender keeps, and what the receiver has."""
    return send(ends[0], value), receive(ends[1])


def test_arrays_arrive_with_their_values_types_and_orders(ends):
    rng = np.random.default_rng(3)
    arrays = {
        "image": rng.normal(size=(3, 5, 7)).astype(np.float32),
        "mask": rng.random((4, 9)) > 0.5,
        "columns": np.asfortranarray(rng.integers(0, 9, (5, 6))),
        "strided": np.arange(40)[::3],
        "empty": np.zeros((0, 4), np.uint8),
        "number": np.float64(2.5),
    }
    for found in sent_and_received(ends, Pair("subject", arrays)):
        assert found.name == "subject"
        for name, array in arrays.items():
            assert found.arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays["columns"].flags.f_contiguous


@pytest.mark.parametrize("value", [None, "text", {"a": [1, 2.5]}, np.zeros(0)])
def test_a_value_without_bytes_of_arrays_takes_no_memory(ends, value):
    before = mappings()
    for found in sent_and_received(ends, value):
        assert repr(found) == repr(value)
    assert mappings() == before


def test_both_ends_see_one_memory_and_a_read_only_array_stays_so(ends):
    free, fixed = np.arange(100.0), np.arange(5)
    fixed.flags.writeable = False
    own, other = sent_and_received(ends, [free, fixed])
    assert not free.base
    own[0][7] = -1
    assert other[0][7] == -1
    assert free[7] == 7, "what was sent is not touched"
    assert [array.flags.writeable for array in other] == [True, False]
    assert other[1].ctypes.data % ALIGNMENT == 0


def test_the_memory_goes_with_the_last_array(ends):
    opened, before, listed = files(), mappings(), sorted(Path("/dev/shm").iterdir())
    own, other = sent_and_received(ends, Pair("subject", {"image": np.ones(10_000), "mask": np.ones(10_000, bool)}))
    part = other.arrays["mask"][10:20]
    del own, other
    assert mappings() == before + 1
    assert part.all()
    assert sorted(Path("/dev/shm").iterdir()) == listed
    del part
    assert mappings() == before
    assert files() == opened


def test_a_closed_end_is_an_error_of_the_connection(ends):
    ends[1].close()
    opened, before = files(), mappings()
    with pytest.raises(ConnectionError):
        send(ends[0], np.ones(1000))
    assert (files(), mappings()) == (opened, before)
