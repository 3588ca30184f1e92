"""Sessions in another repository; a module that has them also has `pytest_plugins = ["pytester"]`."""

from __future__ import annotations

import contextlib

import pytest
import torch  # noqa: F401  before pytester takes its snapshot of the modules, so that it stays loaded

from tests.predictors.toys import FLOOR, SUITE, TOY

with contextlib.suppress(ImportError):
    import httpcore  # noqa: F401  likewise; httpx imports it when the first client is made
    import httpx  # noqa: F401


@pytest.fixture
def guest(pytester, small_cohort):
    """guest(*options, gates=TOML) runs a session in another repository, with the module toy, and returns its result."""
    pytester.makepyfile(test_gate=SUITE, toy=TOY)
    pytester.makeini("[pytest]\npythonpath = .\n")

    def run(*options, gates=FLOOR, run_dir="run", root=small_cohort):
        (pytester.path / "gates.toml").write_text(gates)
        chosen = [f"--medsam-root={root}", "--medsam-prompts=box", "--medsam-gates=gates.toml"]
        chosen += [f"--medsam-run-dir={run_dir}"] if run_dir else []
        plugins = ("-p", "medsam_core.plugin.plugin", "-p", "no:hypothesispytest")
        return pytester.runpytest_inprocess(*plugins, *chosen, *options)

    return run
