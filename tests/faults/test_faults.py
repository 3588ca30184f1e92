"""Faults put into the pipeline one at a time: none passes, and none that moves a mean passes as another checkpoint.

pytest tests/faults -m faults                       or  tox -e faults
pytest tests/faults -m faults --faults-table=docs/faults.md
"""

from __future__ import annotations

import pytest

from tests.faults.catalogue import FAULTS

pytestmark = pytest.mark.faults


def test_the_healthy_run_passes(runner):
    assert runner.healthy.outcome == "PASS", runner.healthy.reasons("floors")


@pytest.mark.parametrize("session", ["whole", "masks saved", "resumed"])
def test_the_healthy_run_passes_again_under_every_judge(runner, session):
    name = f"again, {session}"
    if session == "resumed":
        runner.begin(name)
    again = runner.run(name, "masks", session=session)
    assert (again.outcome, again.other_outcome) == ("PASS", "PASS"), again
    assert again.moved[1] == 0


def test_the_healthy_refined_run_passes_again_under_every_judge(refined_runner):
    again = refined_runner.run("again", "masks")
    assert (again.outcome, again.other_outcome) == ("PASS", "PASS"), again
    assert again.moved[1] == 0
    assert all(any(record.corrections) for record in again.run.records)


def test_there_are_as_many_faults_as_promised():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 143


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_does_not_pass_and_a_large_one_not_even_as_another_checkpoint(request, add_row, fault, monkeypatch):
    runner = request.getfixturevalue("refined_runner" if fault.refined else "runner")
    assert runner.judges is not None, "the healthy run does not pass, so no fault can be judged"
    judged = runner.judged(fault, monkeypatch)
    add_row(fault, judged)
    assert judged.outcome != "PASS", f"{fault.name}: caught by nothing"
    assert not judged.far or judged.other_outcome != "PASS", f"{fault.name}: green, though it moves {judged.moved}"


def test_the_model_is_healthy_again_after_all_faults(runner):
    """No fault was left in: everything is computed again."""
    runner.predictor = type(runner.predictor)(runner.model, runner.store, "nothing")
    after = runner.run("after", "nothing")
    assert {r.id: r.scores for r in after.run.records} == {r.id: r.scores for r in runner.healthy.run.records}
