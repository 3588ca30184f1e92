"""How pytest-xdist spreads the tests: the cases of a subject on one worker, so that its slices are encoded once."""

from __future__ import annotations

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling


class SubjectScheduling(LoadScopeScheduling):
    """The cases of a subject stay together; any other test is alone."""

    def _split_scope(self, nodeid: str) -> str:
        return subject_of(nodeid)

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
