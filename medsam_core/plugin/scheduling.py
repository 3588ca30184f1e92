"""How pytest-xdist spreads the tests: the cases of a subject on one worker, so that its slices are encoded once."""

from __future__ import annotations

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling


class SubjectScheduling(LoadScopeScheduling):
    """Cases go by subject; any other test goes by itself."""

    def _split_scope(self, nodeid: str) -> str:
        return subject_of(nodeid)

    def remove_node(self, node: Any) -> Any:
        """A worker died: its first open test is the one that killed it, and is not tried on the next worker."""
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
        """The replacement of a dead worker would wait for ever with a single test: it gets more, or the end."""
        replaced = self.collection is not None
        super().schedule()
        for node in self.nodes if replaced else ():
            self._reschedule(node)


def subject_of(nodeid: str) -> str:
    """What a test is scheduled with: the file and subject for a case, its own id for any other test."""
    match = re.match(r"(?P<test>[^\[]*)\[(?P<subject>[^/\]]+)/[^/\]]+/[^/\]]+/[^\]]+\]", nodeid)
    return f"{match['test']}[{match['subject']}]" if match else nodeid
