"""A pytest plugin (`-p tests.faults.reversed_memories`) that puts a fault of the catalogue into a session's engine."""

import pytest

FAULT = "memories in reverse order of age"


def pytest_collection_finish():
    from tests.faults.catalogue import FAULTS

    (fault,) = (fault for fault in FAULTS if fault.name == FAULT)
    fault.put(pytest.MonkeyPatch(), None)
