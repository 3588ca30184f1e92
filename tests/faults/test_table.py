"""The table of faults: how a line is written, and that the committed one has every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.table import HEAD, cell, row

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            "FAIL gate 1 (Dice; WT; box) case_minimum: worst Dice 0.280 < 0.471 over 3 cases, broken by A/t1ce/WT/box",
            "WT: worst Dice 0.280 < 0.471",
        ),
        ("FAIL gate 1 (Dice; WT; box) case_minimum: Dice is NaN in 3 cases: A/t1ce/WT/box", "WT: Dice is NaN"),
        (
            "FAIL gate 1 (Dice) case_change_maximum: largest change of Dice 0.012 > 0.000 over 9 cases against healthy",
            "largest change of Dice 0.012 > 0.000",
        ),
        ("WT/box Dice −0.118 over 3 subjects: FAIL (margin 0.010; 1 case fell)", "WT/box Dice −0.118, FAIL"),
        ("INCONCLUSIVE other prompts in 7 cases: A/t1ce/WT/box and 6 more", "other prompts in 7 cases"),
        ("KeyError: Case(subject='A')", "KeyError"),
    ],
)
def test_a_reason_is_cut_down_to_what_was_found(reason, expected):
    assert cell([reason, "another"]) == expected


def test_a_judge_that_let_the_fault_pass_has_a_dash():
    assert row("a fault", "FAIL", [], [], ["KeyError: 'x'"]) == "| a fault | FAIL | – | – | KeyError |"


def test_the_committed_table_has_every_fault_once_and_in_order():
    table = PAGE.read_text(encoding="utf-8").split(HEAD[HEAD.index("| fault |") :])[1]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()] == [one.name for one in FAULTS]


def test_no_fault_of_the_committed_table_passed():
    table = PAGE.read_text(encoding="utf-8").split(HEAD[HEAD.index("| fault |") :])[1]
    assert {line.split(" | ")[1] for line in table.splitlines()} <= {"FAIL", "INCONCLUSIVE"}
