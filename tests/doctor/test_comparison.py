"""What subjects show together."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam_core.data.subject import ImageFile, Subject
from medsam_core.doctor.comparison import compare, leaked
from medsam_core.doctor.examination import TRUTH, Examined, Place
from medsam_core.doctor.findings import LOOK, WRONG, Finding, exit_code, grouped

PLACE = Place((10, 20, 30), (1.0, 1.0, 1.0), "LPS", "mm", True)


def subject(name: str, layout: str = "brats2021") -> Subject:
    return Subject(name, {"t1": ImageFile(Path("t1.nii"))}, Path("seg.nii"), layout, "brats2019")


def examined(name: str, place: Place = PLACE, **changes: object) -> Examined:
    given = {"layout": "brats2021", "convention": "brats2019", "places": {"t1": place, TRUTH: place}}
    return Examined(name, **(given | changes))  # type: ignore[arg-type]


def compared(*rows: Examined) -> list[Finding]:
    return compare([subject(one.id) for one in rows], rows)


def test_subjects_alike_show_nothing():
    assert compared(examined("a"), examined("b")) == []


@pytest.mark.parametrize(
    ("other", "kind", "detail"),
    [
        (Place((9, 20, 30), (1.0, 1.0, 1.0), "LPS", "mm", True), "shape", "9 × 20 × 30 (t1, seg)"),
        (Place((10, 20, 30), (2.5, 1.0, 1.0), "LPS", "mm", True), "spacing", "2.5 × 1 × 1 mm (t1, seg)"),
        (Place((10, 20, 30), (1.0, 1.0, 1.0), "RAS", "mm", True), "orientation", "RAS (t1, seg)"),
        (Place((10, 20, 30), (1.0, 1.0, 1.0), "LPS", "m", True), "unit", "m (t1, seg)"),
        (Place((10, 20, 30), (1.0, 1.0, 1.0), "LPS", "mm", False), "position", "none (t1, seg)"),
    ],
)
def test_another_grid_than_most_files_have_is_something_to_look_at(other, kind, detail):
    (one,) = compared(examined("a"), examined("b", other), examined("c"))
    assert (one.severity, one.kind, one.subject, one.detail) == (LOOK, kind, "b", detail)


def test_no_unit_means_millimetres():
    without = Place((10, 20, 30), (1.0, 1.0, 1.0), "LPS", "unknown unit", True)
    assert compared(examined("a"), examined("b", without), examined("c")) == []


def test_where_every_subject_has_its_own_shape_none_is_odd():
    rows = [examined(str(n), Place((n, 20, 30), (1.0, 1.0, 1.0), "LPS", "mm", True)) for n in range(5, 9)]
    assert compared(*rows) == []


def test_several_layouts_and_conventions_are_a_mixture():
    found = compared(examined("a"), examined("b", layout="unknown", convention="brats2023"), examined("c"))
    assert [(one.severity, one.kind, one.text) for one in found] == [
        (LOOK, "mixture", "subjects of 2 layouts: brats2021 in 2 subjects, unknown in 1 subject"),
        (LOOK, "mixture", "subjects of 2 label conventions: brats2019 in 2 subjects, brats2023 in 1 subject"),
    ]


def test_a_truth_and_an_image_with_one_hash_are_no_copies():
    assert compared(examined("a", hashes={"t1": "0" * 32}), examined("b", hashes={TRUTH: "0" * 32})) == []
    assert leaked([examined("a", hashes={"t1": "0" * 32})], [examined("b", hashes={TRUTH: "0" * 32})], "x") == []


def test_every_subject_of_a_copy_is_named():
    found = compared(*(examined(name, hashes={"t1": "0" * 32}) for name in "abc"))
    assert [(one.severity, one.subject, one.detail) for one in found] == [
        (WRONG, "a", "t1 is b/t1, c/t1"),
        (WRONG, "b", "t1 is a/t1, c/t1"),
        (WRONG, "c", "t1 is a/t1, b/t1"),
    ]


def test_a_copy_under_another_sequence_is_a_leak():
    (one,) = leaked([examined("a", hashes={"t1": "0" * 32})], [examined("b", hashes={"flair": "0" * 32})], "training")
    assert (one.severity, one.kind, one.detail) == (WRONG, "leakage", "t1 is b/flair")


def test_what_is_wrong_comes_first_and_decides_the_exit_code():
    look, wrong = Finding(LOOK, "border", "x", "a"), Finding(WRONG, "grid", "y", "a")
    again = Finding(LOOK, "border", "x", "b")
    assert grouped([look, wrong, again]) == [(wrong,), (look, again)]
    assert [exit_code(one) for one in ([], [look], [look, wrong])] == [0, 10, 1]
