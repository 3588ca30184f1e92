"""The summary: what is counted, what is worst, and how it fits a terminal and a pull request."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import OptionError
from medsam_core.reports.tables import case_lines, control_lines, markdown_table, ranked, rows, shortened, summary_lines

Make = Callable[..., CaseRecord]
NAN = math.nan


@pytest.fixture
def records(make_record: Make) -> list[CaseRecord]:
    return [
        make_record("S1", dice=0.9, key_slice_dice=0.95),
        make_record("S2", dice=0.5, key_slice_dice=0.75),
        make_record("S3", dice=0.8, key_slice_dice=0.85),
        make_record("S1", region="ET", dice=0.6),
        make_record("S2", region="ET", dice=1.0, absent=True),
    ]


def test_a_row_by_hand(records: list[CaseRecord]) -> None:
    titles, whole_tumour, enhancing = rows(records, profile="brats2019")
    assert titles[3:] == ["n", "absent", "mean Dice", "median", "key slice", "worst", "worst case"]
    # (0.9 + 0.5 + 0.8) / 3, (0.95 + 0.75 + 0.85) / 3
    assert whole_tumour[3:] == ["3", "0", "0.733", "0.800", "0.850", "0.500", "S2/t1ce/WT/box"]
    # the absent region has Dice 1 by its profile's rule, which is in no mean
    assert enhancing[3:] == ["2", "1", "0.600", "0.600", "0.600", "0.600", "S1/t1ce/ET/box"]


def test_the_table_of_a_terminal(records: list[CaseRecord]) -> None:
    assert summary_lines(records, profile="brats2019", width=100) == [
        "modality  region  prompt  n  absent  mean Dice  median  key slice  worst  worst case",
        "--------  ------  ------  -  ------  ---------  ------  ---------  -----  --------------",
        "t1ce      WT      box     3       0      0.733   0.800      0.850  0.500  S2/t1ce/WT/box",
        "t1ce      ET      box     2       1      0.600   0.600      0.600  0.600  S1/t1ce/ET/box",
    ]


def test_absent_regions_are_no_score_of_one(make_record: Make) -> None:
    """0.902 was shown where 0.805 is right."""
    some = [make_record("S1", dice=0.805), make_record("S2", dice=1.0, absent=True)]
    assert rows(some, profile="brats2019")[1][3:] == ["2", "1", "0.805", "0.805", "0.805", "0.805", "S1/t1ce/WT/box"]
    assert rows(some[1:], profile="brats2019")[1][3:] == ["1", "1", "–", "–", "–", "–", "–"]


def test_the_table_of_a_pull_request(make_record: Make) -> None:
    assert markdown_table([make_record("a|b", dice=0.5)], profile="brats2019").splitlines() == [
        "| modality | region | prompt | n | absent | mean Dice | median | key slice | worst | worst case |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        "| t1ce | WT | box | 1 | 0 | 0.500 | 0.500 | 0.500 | 0.500 | <code>a&#124;b/t1ce/WT/box</code> |",
    ]


def test_a_run_without_cases_says_so(make_record: Make) -> None:
    assert summary_lines([], profile="brats2019") == ["no case was scored"]
    assert markdown_table([], profile="brats2019") == "No case was scored."
    assert case_lines([], profile="brats2019") == []
    assert case_lines([make_record(absent=True)], profile="brats2019") == []


def test_several_protocols_have_a_column(make_record: Make) -> None:
    records = [make_record(), make_record(protocol="slicewise", dice=0.95)]
    assert "protocol" in summary_lines(records, profile="brats2019")[0]
    assert len(rows(records, profile="brats2019")) == 3


def test_an_undefined_score_is_counted_and_is_the_worst(make_record: Make) -> None:
    records = [make_record("S1", dice=0.1), make_record("S2", dice=NAN)]
    assert rows(records, profile="brats2019")[1][3:] == ["2", "0", "1", *["0.100"] * 3, "–", "S2/t1ce/WT/box"]
    table = summary_lines(records, profile="brats2019")
    assert "undefined" in table[0]
    assert table[2].endswith("–  S2/t1ce/WT/box")


def test_only_undefined_scores_are_dashes_not_an_error(make_record: Make) -> None:
    assert rows([make_record(dice=NAN)], profile="brats2019")[1][5:10] == ["1", *["–"] * 4]


def test_a_score_that_the_key_slice_lacks_is_a_dash() -> None:
    record = CaseRecord(Case("S1", "t1ce", "WT", "box"), {"brats2019/dice@volume": 0.5}, (3,))
    assert rows([record], profile="brats2019")[1][5:9] == ["0.500", "0.500", "–", "0.500"]


def test_equal_scores_are_ranked_by_id(make_record: Make) -> None:
    records = [make_record("b"), make_record("a")]
    assert [r.case.subject for r in ranked(records, profile="brats2019")] == ["a", "b"]


def test_a_narrow_terminal_shortens_the_case_not_the_figures(make_record: Make) -> None:
    records = [make_record("BraTS-GLI-00000-000-with-a-long-name", dice=0.5)]
    wide = summary_lines(records, profile="brats2019", width=200)
    narrow = summary_lines(records, profile="brats2019", width=100)
    assert max(map(len, wide)) > 100
    assert max(map(len, narrow)) <= 100
    assert "…" in narrow[2]
    assert narrow[2].startswith("t1ce      WT      box     1       0      0.500")


def test_the_worst_cases_in_lines(make_record: Make) -> None:
    records = [
        make_record("S1", dice=0.9),
        make_record("S2", dice=0.4, diagnosis="leak: too much", overlay="overlays/S2.png"),
        make_record("S3", dice=0.0, absent=True),
    ]
    assert case_lines(records, profile="brats2019", worst=2) == [
        "Dice 0.400  S2/t1ce/WT/box  (WT, box, key slice 7)  leak: too much  overlays/S2.png",
        "Dice 0.900  S1/t1ce/WT/box  (WT, box, key slice 7)",
    ]
    assert len(case_lines(records, profile="brats2019", worst=1)) == 1


def test_a_metric_that_the_run_lacks_is_an_option_error(make_record: Make) -> None:
    with pytest.raises(OptionError, match="no score 'monai/dice@volume', this run has"):
        rows([make_record()], profile="monai")


@settings(max_examples=40)
@given(st.text(max_size=60), st.integers(3, 70))
def test_shortened_text_fits_and_keeps_both_ends(text: str, room: int) -> None:
    short = shortened(text, room)
    assert len(short) <= room
    assert short == text or (short[0] == text[0] and short[-1] == text[-1] and "…" in short)


def test_cases_in_which_a_control_is_not_beaten_are_named(make_record: Make) -> None:
    controls = {"filled_box": {"brats2019/dice@volume": 0.5}, "otsu_in_box": {"brats2019/dice@volume": 0.6}}
    some = [
        make_record("S2", dice=0.55, controls=controls),
        make_record("S1", dice=0.7, controls=controls),
        make_record("S3", dice=0.1),  # not prompted, or of an older run: no controls
    ]
    assert control_lines(some, profile="brats2019") == [
        "controls: not beaten in Dice in 1 of 2 cases: S2/t1ce/WT/box (otsu_in_box)"
    ]
    assert control_lines(some[1:], profile="brats2019") == ["controls: beaten in Dice in all 1 case"]
    assert control_lines(some[2:], profile="brats2019") == []
