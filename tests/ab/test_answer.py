"""The answer: PASS only if every case of both runs is there, finite, and not worse."""

from __future__ import annotations

import json
import math

import pytest

from medsam_core.ab.answer import answer, check_same_rule
from medsam_core.errors import RunError
from medsam_core.gates.comparison import Rule
from medsam_core.outcome import Outcome
from medsam_core.runs import VERDICT


@pytest.fixture
def scored(make_record):
    """scored(*dice): a record of WT/box for each subject."""
    return lambda *dice: [make_record(f"S{place}", dice=one) for place, one in enumerate(dice)]


def test_equal_scores_pass(ask, scored):
    found = answer(ask(scored(0.9, 0.8), scored(0.9, 0.8)))
    assert (found.outcome, found.outcome.exit_code) == (Outcome.PASS, 0)
    assert found.lines()[0] == "PASS: new against old"


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ((0.9, 0.8), (0.9, math.nan), Outcome.FAIL),
        ((0.9, math.nan), (0.9, 0.8), Outcome.INCONCLUSIVE),
        ((math.nan, math.nan), (math.nan, math.nan), Outcome.INCONCLUSIVE),
        ((0.9, 0.8), (0.9,), Outcome.INCONCLUSIVE),
        ((0.9,), (0.9, 0.8), Outcome.INCONCLUSIVE),
        ((), (), Outcome.INCONCLUSIVE),
        ((0.9, 0.8), (), Outcome.INCONCLUSIVE),
    ],
)
def test_what_was_not_scored_or_is_not_a_number_is_no_pass(ask, scored, old, new, outcome):
    plan = [record.id for record in max(scored(*old), scored(*new), key=len)]
    found = answer(ask(scored(*old), scored(*new), plan=plan))
    assert found.outcome is outcome
    assert found.to_json()["exit_code"] == outcome.exit_code


def test_only_absent_regions_are_no_pass(ask, make_record):
    absent = [make_record("S1", slices=())]
    assert answer(ask(absent, absent)).outcome is Outcome.INCONCLUSIVE


def test_gates_that_were_asked_for_need_a_verdict(ask, scored):
    question = ask(scored(0.9), scored(0.9), by_gates=True)
    assert answer(question).outcome is Outcome.INCONCLUSIVE
    (question.directory / "new" / VERDICT).write_text('{"outcome": "PASS"}')
    assert answer(question).outcome is Outcome.PASS
    (question.directory / "new" / VERDICT).write_text('{"outcome": "FAIL", "reasons": ["made up"]}')
    found = answer(question)
    assert found.outcome is Outcome.FAIL
    assert found.lines()[-3:] == ["FAIL: new by no gates", "  INCONCLUSIVE made up", "FAIL: both together"]


def test_the_file_is_strict_json_with_both_sides(ask, scored):
    question = ask(scored(0.9, 0.8), scored(0.7, math.nan))
    answer(question).write(question.directory)
    stored = json.loads((question.directory / "ab.json").read_text(), parse_constant=pytest.fail)
    assert (stored["old"]["given"], stored["new"]["sha256"]) == ("old.pt", "d" * 64)
    pairs = stored["comparison"]["groups"][0]["pairs"]
    assert pairs == {"S0/t1ce/WT/box": [0.9, 0.7], "S1/t1ce/WT/box": [0.8, None]}


def test_an_answer_by_the_same_rule_may_be_written_again_and_by_another_not(ask, scored):
    question = ask(scored(0.9), scored(0.9), case_drop_maximum=None)
    check_same_rule(question.directory, question.rule)
    answer(question).write(question.directory)
    check_same_rule(question.directory, question.rule)
    with pytest.raises(RunError, match=r"ab.json: has an answer with case_drop_maximum None, expected 0.2 as asked"):
        check_same_rule(question.directory, Rule())


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 1, "comparison": {"rule": {"margin": "a"}}}'])
def test_a_damaged_answer_is_a_sentence(ask, scored, text):
    question = ask(scored(0.9), scored(0.9))
    (question.directory / "ab.json").write_text(text)
    with pytest.raises(RunError, match=r"ab.json: .*, expected a comparison; choose another -o"):
        check_same_rule(question.directory, question.rule)
