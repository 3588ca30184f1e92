"""The run's verdict in the JUnit file that pytest writes (`--junitxml`): one more element, red unless it is a PASS."""

from __future__ import annotations

from typing import Any

import pytest

from medsam_core.outcome import Outcome

NAME = "medsam-core::verdict"


def add_verdict(config: pytest.Config, outcome: Outcome, text: str) -> None:
    """Add the element, if the session writes such a file: a failure for FAIL, an error for INCONCLUSIVE.

    text: the verdict's lines.
    """
    writer: Any = next((one for one in config.pluginmanager.get_plugins() if type(one).__name__ == "LogXML"), None)
    if writer is None:
        return
    passed = outcome is Outcome.PASS
    first = "setup" if outcome is Outcome.INCONCLUSIVE else "call"  # what fails before the call is an error in JUnit
    for when in (first, "teardown"):
        red = when == first and not passed
        report = pytest.TestReport(
            nodeid=NAME,
            location=("medsam-core", 0, "verdict"),
            keywords={},
            outcome="failed" if red else "passed",
            longrepr=text if red else None,
            when=when,  # type: ignore[arg-type]
            sections=[("Captured stdout call", text)] if passed else [],
        )
        writer.pytest_runtest_logreport(report)
