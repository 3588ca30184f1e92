"""Work in several processes comes back in order, and an error stops it."""

from __future__ import annotations

import math

import pytest

from medsam_core.commands.processes import in_processes


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_the_order_is_kept(processes):
    made = in_processes(math.sqrt, [9.0, 4.0, 1.0], processes, worth=2, unit="thing", what="test")
    assert list(made) == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_error_is_raised(processes):
    made = in_processes(math.sqrt, [9.0, -1.0, 1.0], processes, worth=2, unit="thing", what="test")
    assert next(made) == 3.0
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        next(made)


def test_nothing_is_no_work():
    assert list(in_processes(math.sqrt, [], None, worth=2, unit="thing", what="test")) == []
