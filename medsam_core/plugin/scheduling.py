"""How pytest-xdist spreads the tests: the cases of a subject on one worker, so that its slices are encoded once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest

HELD = 3
"""Subjects that a worker has at once where it reads ahead: one is scored, one on the device, one is read."""


class SubjectScheduling(LoadScopeScheduling):
    """The cases of a subject stay together; any other test is alone.

        waiting    s6 s7 s8 …
        gw0        s0 s3 s4      scores s0, and meanwhile segments s3 and reads s4
        gw1        s1 s2 s5

    Near the end, when no more subjects wait than there are workers, each worker gets one at a time, so that none waits
    for another that holds several.
    """

    def __init__(self, config: pytest.Config, log: Any = None, *, ahead: Callable[[], bool] = lambda: False) -> None:
        """ahead: whether workers read ahead, asked when the first tests are given out."""
        super().__init__(config, log)
        self.ahead = ahead

    def _split_scope(self, nodeid: str) -> str:
        return subject_of(nodeid)

    def _reschedule(self, node: Any) -> None:
        super()._reschedule(node)
        while self.ahead() and not node.shutting_down and len(self.workqueue) > len(self.nodes):
            if sum(not all(unit.values()) for unit in self.assigned_work[node].values()) >= HELD:
                return
            self._assign_work_unit(node)

    def remove_node(self, node: Any) -> Any:
        """A worker died. Its first open test killed it and is not run again; the other workers get the rest."""
        workload = self.assigned_work.pop(node)
        pending = [nodeid for unit in workload.values() for nodeid, done in unit.items() if not done]
        for scope, unit in workload.items():
            left = {nodeid: False for nodeid, done in unit.items() if not done and nodeid != pending[0]}
            if left:
                self.workqueue[scope] = left
        if not pending:
            return None
        for other in self.nodes:
            self._reschedule(other)
        return pending[0]

    def schedule(self) -> None:
        """A worker that replaces a dead one would wait for ever with a single test: it gets more, or the end signal."""
        replaced = self.collection is not None
        super().schedule()
        for node in self.nodes if replaced else ():
            self._reschedule(node)


def subject_of(nodeid: str) -> str:
    """The test function and subject of a case, the id of any other test: equal ones run on one worker."""
    match = re.match(r"(?P<test>[^\[]*)\[(?P<subject>[^/\]]+)/[^/\]]+/[^/\]]+/[^\]]+\]", nodeid)
    return f"{match['test']}[{match['subject']}]" if match else nodeid


def waiting_items(session: pytest.Session) -> list[pytest.Item]:
    """The tests that a worker was given and has not begun, in order; [] where pytest-xdist keeps them elsewhere."""
    for plugin in session.config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor" and hasattr(plugin, "torun"):
            with plugin.torun.lock() as queue:
                numbers = [getattr(plugin, "nextitem_index", None), *queue]
            return [session.items[number] for number in numbers if isinstance(number, int)]
    return []
