"""The lines above and below the tests."""

from medsam_core.cases import Case, CaseRecord
from medsam_core.plugin.terminal import describe, note_lines
from tests.headers import made_header

PLAN = ["A/t1ce/WT/box", "B/t1ce/WT/box"]
HEADER = {
    "device": "cuda",
    "precision": "bf16",
    "environment": {"gpu": "NVIDIA H200", "cpu": "a CPU", "torch": "2.13.0", "sam2": "1.1.0"},
}


def test_what_was_decided_stands_beside_the_decision():
    decided = {"device": "auto: the first GPU that torch sees", "precision": "", "threads": "4 of 16 (4 workers)"}
    lines = describe(made_header(PLAN, **HEADER, decided=decided))
    assert "device: cuda (auto: the first GPU that torch sees): NVIDIA H200, torch 2.13.0, sam2 1.1.0" in lines
    assert "precision bf16, threads 4 of 16 (4 workers)" in lines


def test_the_header_of_an_older_run_is_described_without_reasons():
    assert describe(made_header(PLAN, **HEADER))[2:4] == [
        "device: cuda: NVIDIA H200, torch 2.13.0, sam2 1.1.0",
        "precision bf16, threads not recorded",
    ]


def test_notes_are_told_once_with_their_subjects_and_not_without_end():
    noted = [CaseRecord(Case(f"S{n}", "t1ce", "WT", "box"), {}, (), notes=("odd.", f"note {n}")) for n in range(8)]
    assert note_lines(noted) == [
        "note: odd (S0 and 7 more)",
        *(f"note: note {n} (S{n})" for n in range(4)),
        "note: 4 more in page.html",
    ]
    assert note_lines([]) == []
