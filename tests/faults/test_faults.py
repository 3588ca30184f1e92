"""Faults put into the pipeline one at a time: the gate is red or INCONCLUSIVE, with a reason, for every one.

pytest tests/faults -m faults                       or  tox -e faults
pytest tests/faults -m faults --faults-table=docs/faults.md
"""

from __future__ import annotations

import pytest

from medsam_core.outcome import Outcome
from tests.faults.catalogue import FAULTS

pytestmark = pytest.mark.faults


def short(lines: list[str]) -> str:
    """The first reason in a table's cell, and how many more there are."""
    if not lines:
        return "–"
    first = lines[0] if len(lines[0]) <= 160 else lines[0][:159] + "…"
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return f"{first}{more}".replace("|", "\\|")


def test_the_healthy_run_passes(bench):
    assert bench.healthy.outcome is Outcome.PASS, "\n".join(bench.healthy.reasons)


def test_the_healthy_run_passes_again_against_itself(bench):
    again = bench.run("again", "masks")
    assert again.outcome is Outcome.PASS, "\n".join(again.reasons)


def test_there_are_as_many_faults_as_promised():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 25


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_does_not_pass(bench, add_row, fault, monkeypatch):
    judged = bench.judged(fault, monkeypatch)
    cells = [short(reasons) for reasons in (judged.gate_reasons, judged.comparison_reasons, judged.pin_reasons)]
    add_row(f"| {' | '.join([fault.name, judged.outcome.value, *cells])} |")
    assert bench.baseline is not None, "the healthy run does not pass, so that nothing can be said of a fault"
    assert judged.outcome is not Outcome.PASS, f"{fault.name}: caught by nothing"
    assert judged.reasons


def test_the_bench_is_healthy_again_after_all_faults(bench):
    """That no fault was left in: everything is computed anew."""
    bench.predictor = type(bench.predictor)(bench.model, bench.store, "nothing")
    after = bench.run("after", "nothing")
    assert {r.id: r.scores for r in after.run.records} == {r.id: r.scores for r in bench.healthy.run.records}
