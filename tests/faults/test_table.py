"""The table of faults: how a line is written, and that the committed one has every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.table import HEAD, HIDDEN, cell, hidden, row

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
        (
            "INCONCLUSIVE gate 1 (Dice) not_inferior: WT/box change of the mean Dice −0.004, margin 0.01, over 3 cases "
            "against healthy: 3 are too few to tell: add subjects",
            "WT/box change of the mean Dice −0.004, margin 0.01: INCONCLUSIVE",
        ),
        ("INCONCLUSIVE other prompts in 7 cases: A/t1ce/WT/box and 6 more", "other prompts in 7 cases"),
        ("INCONCLUSIVE 9 cases: its saved mask is gone: A/t1ce/WT/box and 8 more", "its saved mask is gone"),
        ("ERROR KeyError: Case(subject='A')", "error: KeyError"),
        (
            "ERROR /a b/run: the run to resume differs in its source; give the same",
            "error: the run to resume differs in its source",
        ),
        (
            "ERROR /a/x.nii.gz: read back, it has another affine, expected the mask",
            "error: read back, it has another affine",
        ),
    ],
)
def test_a_reason_is_cut_down_to_what_was_found(reason, expected):
    assert cell([reason, "another"]) == expected


def test_a_judge_that_let_the_fault_pass_has_a_dash():
    line = row("a fault", "FAIL", [[], [], ["ERROR KeyError: 'x'"]], "PASS", ("WT/box", -0.0042))
    assert line == "| a fault | FAIL | – | – | error: KeyError | **green** | WT/box −0.004 |"


def test_a_reason_is_written_once():
    line = row("a fault", "ERROR", [["ERROR KeyError"]] * 3, "ERROR", None)
    assert line == "| a fault | ERROR | error: KeyError | the same | the same | ERROR | – |"


def test_what_another_checkpoint_hides_is_listed_the_largest_first():
    text = hidden([("a", ("WT/box", 0.001)), ("b", None), ("c", ("TC/box", -0.009))])
    assert text.split("\n\n")[1].splitlines() == ["- c: TC/box −0.009", "- a: WT/box +0.001", "- b: –"]


def committed() -> list[list[str]]:
    """The cells of the committed table."""
    table = PAGE.read_text(encoding="utf-8").split(HEAD[HEAD.index("| fault |") :])[1].split("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def test_the_committed_table_has_every_fault_once_and_in_order():
    assert [cells[0] for cells in committed()] == [one.name for one in FAULTS]


def test_no_fault_of_the_committed_table_passed():
    assert {cells[1] for cells in committed()} <= {"FAIL", "ERROR", "INCONCLUSIVE"}


def test_no_fault_of_the_committed_table_that_moved_a_mean_is_green_as_another_checkpoint():
    listed = PAGE.read_text(encoding="utf-8").split(HIDDEN)[1].split("\n\n")[1].splitlines()
    green = [(cells[0], cells[-1]) for cells in committed() if cells[-2] == "**green**"]
    assert green
    assert sorted(listed) == sorted(f"- {name}: {moved}" for name, moved in green)
    sizes = [abs(number(line.split(": ")[-1])) for line in listed]
    assert sizes == sorted(sizes, reverse=True)
    assert all(abs(number(moved)) < 0.010 for _, moved in green)


def number(moved: str) -> float:
    """Of `WT/box −0.004`; 0 for a dash."""
    return float(moved.split()[-1].replace("−", "-")) if " " in moved else 0.0
