"""A cohort with a possibly lost subject is refused; what is no subject is ignored with a note."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from medsam_core.cli import main
from medsam_core.data import find_subjects
from medsam_core.errors import DataError

KINDS = ("t1", "t1ce", "t2", "flair", "seg")


def subject(folder: Path, kinds: Sequence[str] = KINDS, *, ending: str = ".nii.gz") -> Path:
    """A subject of empty files: finding may look at their names only."""
    folder.mkdir(parents=True)
    for kind in kinds:
        (folder / f"{folder.name}_{kind}{ending}").touch()
    return folder


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        find_subjects(root)
    return str(caught.value)


def notes(root: Path) -> dict[str, tuple[str, ...]]:
    return {found.id: found.notes for found in find_subjects(root)}


def empty(folder: Path) -> None:
    folder.mkdir(parents=True)


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "annex" / "gone")


@pytest.mark.parametrize(
    ("lose", "beginning"),
    [
        (lambda root: subject(root / "B", ("seg",)), "B/B_seg.nii.gz (a segmentation alone)"),
        (lambda root: empty(root / "B"), "B (an empty folder)"),
        (lambda root: empty(root / "HGG" / "B"), "HGG/B (an empty folder)"),
        (lambda root: empty(root / "HGG"), "HGG (an empty folder)"),
        (lambda root: empty(root / "B" / "B_t1ce.nii"), "B (an empty folder)"),
        (lambda root: (empty(root / "B"), (root / "B" / ".DS_Store").touch()), "B (an empty folder)"),
        (
            lambda root: subject(root / "B", ending=".nii.gz.part"),
            "B/B_flair.nii.gz.part (a download that did not end)",
        ),
        (
            lambda root: subject(root / "HGG" / "B", ending=".nii.gz.crdownload"),
            "HGG/B/B_flair.nii.gz.crdownload (a download that did not end)",
        ),
        (
            lambda root: (subject(root / "B", ("seg",)), (root / "B" / "B_t1ce.nii.gz.part").touch()),
            "B/B_seg.nii.gz (a segmentation alone)",
        ),
        (
            lambda root: subject(root / "B", ("a", "b", "c", "d"), ending=".dcm"),
            "B (a folder with B_a.dcm, B_b.dcm, B_c.dcm and 1 more)",
        ),
        (lambda root: subject(root / "B", ending=".nii.gz.dvc"), "B (a folder with B_flair.nii.gz.dvc, "),
        (
            lambda root: (empty(root / "BraTS2021_00001"), (root / "BraTS2021_00001" / "index.html").touch()),
            "BraTS2021_00001 (a folder with index.html)",
        ),
        (lambda root: dangling(root / "B"), "B (a link to nothing)"),
    ],
)
def test_a_cohort_with_a_possibly_lost_subject_is_refused(
    tmp_path: Path, lose: Callable[[Path], object], beginning: str
) -> None:
    subject(tmp_path / "A")
    lose(tmp_path)
    text = refusal(tmp_path)
    assert text.startswith(beginning)
    fix = "convert its series to .nii.gz, e.g. with dcm2niix" if ".dcm" in text else "complete the download"
    assert text.endswith(
        f": no image in 1 place next to 1 subject of {tmp_path}, expected images wherever a subject should be; "
        f"{fix}, or move everything that is no subject out of the root."
    )


def test_several_places_are_counted_and_the_first_few_named(tmp_path: Path) -> None:
    for name in "ABCDE":
        empty(tmp_path / name)
    subject(tmp_path / "F")
    subject(tmp_path / "G", ("seg",))
    subject(tmp_path / "H")
    assert refusal(tmp_path).startswith(
        "A (an empty folder), B (an empty folder), C (an empty folder) and 3 more: no image in 6 places next to "
        f"2 subjects of {tmp_path}, "
    )


def test_a_segmentation_alone_among_subjects_side_by_side(tmp_path: Path) -> None:
    for name in ("case1_t1ce", "case1_seg", "case10_seg", "case11_t1ce.nii.gz.part"):
        (tmp_path / (name if "." in name else f"{name}.nii.gz")).touch()
    assert refusal(tmp_path).startswith(
        "case10_seg.nii.gz (a segmentation alone), case11_t1ce.nii.gz.part (a download that did not end): "
        "no image in 2 places next to 1 subject"
    )


@pytest.mark.parametrize("start", ["", "Task01_BrainTumour", "Task01_BrainTumour/imagesTr"])
def test_labels_of_the_decathlon_without_an_image(tmp_path: Path, start: str) -> None:
    task = tmp_path / "Task01_BrainTumour"
    for name in ("imagesTr/BRATS_001", "labelsTr/BRATS_001", "labelsTr/BRATS_002", "labelsTr/._BRATS_003"):
        (task / name).parent.mkdir(parents=True, exist_ok=True)
        (task / f"{name}.nii.gz").touch()
    assert "labelsTr/BRATS_002.nii.gz (a segmentation alone): no image in 1 place" in refusal(tmp_path / start)
    (task / "labelsTr" / "BRATS_002.nii.gz").unlink()
    (task / "imagesTr" / "BRATS_004.nii.gz.part").touch()
    assert "BRATS_004.nii.gz.part (a download that did not end): no image in 1 place" in refusal(tmp_path / start)


def test_the_whole_decathlon_as_it_comes(tmp_path: Path) -> None:
    for name in (
        "Task01_BrainTumour/imagesTr/BRATS_001.nii.gz",
        "Task01_BrainTumour/labelsTr/BRATS_001.nii.gz",
        "Task01_BrainTumour/imagesTs/BRATS_485.nii.gz",
        "Task02_Heart/imagesTr/la_003.nii.gz",
        "Task02_Heart/labelsTr/la_003.nii.gz",
        "Task02_Heart/imagesTs/la_001.nii.gz",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "Task01_BrainTumour" / "dataset.json").write_text(
        '{"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}, "labels": {"0": "background", "1": "edema", '
        '"2": "non-enhancing tumor", "3": "enhancing tumour"}}'
    )
    assert notes(tmp_path) == {
        "BRATS_001": (
            "Task01_BrainTumour/imagesTs (1 test image without labels) is ignored.",
            "Task02_Heart/imagesTr (1 image of unknown channels, such as la_003.nii.gz) is ignored.",
            "Task02_Heart/imagesTs (1 test image without labels) is ignored.",
        )
    }


def test_other_files_of_released_archives_are_no_lost_subject(tmp_path: Path) -> None:
    release = tmp_path / "MICCAI_BraTS_2019_Data_Training"
    subject(release / "HGG" / "BraTS19_CBICA_AAB_1")
    subject(release / "LGG" / "BraTS19_TMC_06290_1")
    for name in (
        "survival_data.csv",
        "BraTS-metadata.xlsx",
        "LICENSE",
        "README.md",
        "MICCAI_BraTS_2019_Data_Training.zip",
    ):
        (release / name).touch()
    for name in ("__MACOSX", ".git", ".ipynb_checkpoints", "@eaDir", "lost+found", "$RECYCLE.BIN"):
        subject(tmp_path / name / "x", ("seg",))
        empty(tmp_path / name / "y")
    assert notes(tmp_path) == {
        "BraTS19_CBICA_AAB_1": (
            "MICCAI_BraTS_2019_Data_Training/MICCAI_BraTS_2019_Data_Training.zip (an archive) is ignored.",
        ),
        "BraTS19_TMC_06290_1": (),
    }


def test_a_run_next_to_the_subjects_is_no_lost_subject(tmp_path: Path) -> None:
    subject(tmp_path / "A")
    for name in ("run.json", "cases.jsonl", "masks/A__t1ce__WT__box.nii.gz", "overlays/A__t1ce__WT__box.png"):
        path = tmp_path / "runs" / "20260102" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert notes(tmp_path) == {"A": ()}
    (tmp_path / "run.json").touch()  # written into the cohort's own folder: its subjects are still there
    assert notes(tmp_path) == {"A": ()}


def test_a_folder_of_documents_is_ignored_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("A", "B"):
        subject(tmp_path / name)
    for name in ("docs/paper.pdf", "docs/LICENSE.txt", "tables/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert notes(tmp_path) == {
        "A": (
            "docs (a folder with LICENSE.txt, paper.pdf) is ignored.",
            "tables (a folder with a.csv) is ignored.",
        ),
        "B": (),
    }
    assert main(["list", str(tmp_path)]) == 0
    assert "(tables (a folder with a.csv) is ignored.)" in capsys.readouterr().out.splitlines()[0]


def test_predictions_for_known_subjects_are_ignored_with_a_note(tmp_path: Path) -> None:
    for name in ("A", "B"):
        subject(tmp_path / name)
        (tmp_path / "predictions").mkdir(exist_ok=True)
        (tmp_path / "predictions" / f"{name.lower()}_seg.nii.gz").touch()
    for name in ("A_model", "rater2"):
        (tmp_path / "A" / f"{name}_seg.nii.gz").touch()
    assert notes(tmp_path) == {
        "A": (
            "A/A_model_seg.nii.gz (a segmentation alone) is ignored.",
            "A/rater2_seg.nii.gz (a segmentation alone) is ignored.",
            "predictions/a_seg.nii.gz (a segmentation alone) is ignored.",
        ),
        "B": ("predictions/b_seg.nii.gz (a segmentation alone) is ignored.",),
    }
    assert find_subjects(tmp_path)[0].segmentation == tmp_path / "A" / "A_seg.nii.gz"


def test_the_folder_of_one_subject_may_hold_anything(tmp_path: Path) -> None:
    folder = subject(tmp_path / "A")
    empty(folder / "scratch")
    subject(folder / "masks", ("x",))
    dangling(folder / "link")
    (folder / "A_t1ce_registered.nii.gz").touch()
    assert notes(folder) == {
        "A": (
            "A_t1ce_registered.nii.gz (1 other image: A_t1ce_registered.nii.gz) is ignored.",
            "masks (a folder with 1 image) is ignored.",
        )
    }
    assert [note.startswith("A/") for note in notes(tmp_path)["A"]] == [True, True]


def test_the_list_refuses_as_the_gate_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject(tmp_path / "A")
    empty(tmp_path / "B")
    assert main(["list", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("medsam-core list: B (an empty folder): no image in 1 place")
    shutil.rmtree(tmp_path / "B")
    assert main(["list", str(tmp_path)]) == 0
