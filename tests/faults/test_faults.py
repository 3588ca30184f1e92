"""Faults put into the pipeline one at a time: the gate is red or INCONCLUSIVE, with a reason, for every one.

pytest tests/faults -m faults                       or  tox -e faults
pytest tests/faults -m faults --faults-table=docs/faults.md
"""

from __future__ import annotations

import pytest

from medsam_core.outcome import Outcome
from tests.faults.catalogue import FAULTS
from tests.faults.table import row

pytestmark = pytest.mark.faults


def test_the_healthy_run_passes(runner):
    assert runner.healthy.outcome is Outcome.PASS, "\n".join(runner.healthy.reasons)


def test_the_healthy_run_passes_again_against_itself(runner):
    again = runner.run("again", "masks")
    assert again.outcome is Outcome.PASS, "\n".join(again.reasons)


def test_there_are_as_many_faults_as_promised():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 25


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_does_not_pass(runner, add_row, fault, monkeypatch):
    judged = runner.judged(fault, monkeypatch)
    reasons = judged.gate_reasons, judged.comparison_reasons, judged.pin_reasons
    add_row(row(fault.name, judged.outcome.value, *reasons))
    assert runner.baseline is not None, "the healthy run does not pass, so no fault can be judged"
    assert judged.outcome is not Outcome.PASS, f"{fault.name}: caught by nothing"
    assert judged.reasons


def test_the_model_is_healthy_again_after_all_faults(runner):
    """No fault was left in: everything is computed again."""
    runner.predictor = type(runner.predictor)(runner.model, runner.store, "nothing")
    after = runner.run("after", "nothing")
    assert {r.id: r.scores for r in after.run.records} == {r.id: r.scores for r in runner.healthy.run.records}
