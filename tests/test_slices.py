"""Voxels by slice: what a page draws the curve of."""

import numpy as np

from medsam_core.slices import SLICES, SliceCounts, append_line, count_slices, read_slices


def masks():
    prediction, truth = np.zeros((6, 4, 4), bool), np.zeros((6, 4, 4), bool)
    truth[1, :2], truth[2, :2] = True, True  # 8 voxels each
    prediction[2, 1:3], prediction[4, 0, :2] = True, True  # 8, of which 4 are right, and 2
    return prediction, truth


def test_voxels_are_counted_from_the_first_slice_that_has_some_to_the_last():
    counts = count_slices("S/t1ce/WT/box", *masks())
    assert counts == SliceCounts("S/t1ce/WT/box", 1, both=(0, 4, 0, 0), prediction=(0, 8, 0, 2), truth=(8, 8, 0, 0))
    assert counts.dice == (0.0, 0.5, None, 0.0)


def test_two_empty_masks_have_no_slice():
    empty = np.zeros((3, 2, 2), bool)
    assert count_slices("S", empty, empty) == SliceCounts("S", 0, (), (), ())


def test_the_last_line_of_a_case_counts_and_a_damaged_line_is_left_out(tmp_path):
    first = count_slices("S", *masks())
    second = SliceCounts("S", 0, (1,), (2,), (3,))
    for line in (first.line(), second.line(), '{"id":"T","first":0,"both":[1],"prediction":[],"truth":[]}\n', '{"id"'):
        append_line(tmp_path, line)
    assert read_slices(tmp_path) == {"S": second}


def test_a_run_without_the_file_has_no_counts(tmp_path):
    assert read_slices(tmp_path / "nowhere") == {}
    append_line(tmp_path / "nowhere", "a disk that takes nothing is no error")
    assert not (tmp_path / "nowhere" / SLICES).exists()
