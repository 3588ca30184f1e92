"""A run as a table, and as a pandas.DataFrame."""

from __future__ import annotations

import math
import sys

import pytest

from medsam_core.case_table import Column, case_table
from medsam_core.errors import OptionError
from medsam_core.metrics.overlap import Counts


def table_of(run):
    return case_table("r", run.header, run.records)


def test_there_is_a_row_for_every_planned_case_and_its_status_says_what_became_of_it(make_record, recall):
    records = [make_record("S1"), make_record("S2", slices=()), make_record("S4")]
    table = table_of(recall(records, plan=["S1/t1ce/WT/box", "S2/t1ce/WT/box", "S3/t1ce/WT/box/forward"]))
    assert table.column("case") == ["S1/t1ce/WT/box", "S2/t1ce/WT/box", "S3/t1ce/WT/box/forward", "S4/t1ce/WT/box"]
    assert table.column("status") == ["scored", "absent", "missing", "scored"]
    assert table.column("subject") == ["S1", "S2", "S3", "S4"]
    assert table.column("protocol") == ["bidirectional", "bidirectional", "forward", "bidirectional"]
    assert table.column("dice@volume") == [0.9, 0.9, None, 0.9]


def test_the_parts_of_a_missing_case_are_read_from_its_id(recall):
    table = table_of(recall([], plan=["a/b/t1/ET/point", "what/is/this"]))
    assert table.column("subject") == ["a/b", None]
    assert table.column("modality") == ["t1", None]
    assert table.column("region") == ["ET", None]


def test_an_undefined_score_is_nan_and_one_that_was_not_computed_is_none(make_record, recall):
    records = [make_record("S1", dice=math.nan, scores={"brats2019/hd95@volume": 3.0}), make_record("S2")]
    table = table_of(recall(records))
    assert math.isnan(table.column("dice@volume")[0])
    assert table.column("hd95@volume") == [3.0, None]


def test_units_and_descriptions_are_those_of_the_metrics(make_record, recall):
    record = make_record(scores={"brats2019/hd95@key_slice": 3.0, "monai/dice@volume": 0.5, "x/new@volume": 1.0})
    columns = {one.name: one for one in table_of(recall([record])).columns}
    assert columns["truth_volume_ml@volume"].unit == "ml"
    described = "95th percentile of the Hausdorff distance, over the prompted slices"
    assert columns["hd95@key_slice"] == Column("hd95@key_slice", "number", "mm", described)
    assert columns["monai/dice@volume"].kind == "number"
    assert columns["x/new@volume"] == Column("x/new@volume", "number", "", "new, over the whole volume")


def test_voxel_counts_and_controls_have_columns(make_record, recall):
    counts = {"volume": Counts(1, 2, 3, 4)}
    controls = {"filled_box": {"brats2019/dice@volume": 0.25}}
    table = table_of(recall([make_record("S1", counts=counts, controls=controls), make_record("S2")]))
    assert [table.column(f"{name}_voxels@volume")[0] for name in ("tp", "fp", "fn", "tn")] == [1, 2, 3, 4]
    assert table.column("fp_voxels@volume")[1] is None
    assert table.column("filled_box/dice@volume") == [0.25, None]


def test_a_hostile_name_is_escaped(make_record, recall):
    table = table_of(recall([make_record("S\x1b[31m\u202e")]))
    assert table.column("subject") == ["S\\x1b[31m\\u202e"]


def test_further_columns_are_joined_by_case(make_record, recall):
    table = table_of(recall([make_record("S1"), make_record("S2")]))
    more = table.with_columns([Column("x", "text", "", "")], {"S2/t1ce/WT/box": ("found",)})
    assert more.column("x") == [None, "found"]
    assert len(more.columns) == len(table.columns) + 1


def test_pandas_gets_types_and_units(make_record, recall):
    pandas = pytest.importorskip("pandas")
    records = [make_record("S1", counts={"volume": Counts(1, 2, 3, 4)}, seconds=2.0)]
    frame = recall(records, plan=["S1/t1ce/WT/box", "S2/t1ce/WT/box"]).to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["status"]) == ["scored", "missing"]
    assert frame["dice@volume"].iloc[0] == 0.9
    assert frame["dice@volume"].isna().tolist() == [False, True]
    assert (str(frame["tp_voxels@volume"].dtype), frame["tp_voxels@volume"].iloc[0]) == ("Int64", 1)
    assert frame.groupby("region")["seconds"].mean().to_dict() == {"WT": 2.0}
    assert frame.attrs["seconds"]["unit"] == "s"


def test_without_pandas_the_extra_is_named(recall, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError) as caught:
        recall([]).to_frame()
    assert str(caught.value) == (
        'to_frame: pandas is not installed, expected it to make a table; pip install "medsam-core[frame]".'
    )
