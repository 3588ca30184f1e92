"""`medsam-core doctor`, as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medsam_core.cli import main


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    code = main(["doctor", *map(str, arguments)])
    streams = capsys.readouterr()
    return code, streams.out.splitlines(), streams.err


def saved(path: Path, voxels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1, 2, 1])), path)
    return path


def head(seed: int, *, channels: int | None = None) -> np.ndarray:
    """12 × 12 × 10 random grey values with a margin of background."""
    shape = (12, 12, 10) if channels is None else (12, 12, 10, channels)
    voxels = np.random.default_rng(seed).integers(1, 30000, shape).astype(np.int16)
    voxels[[0, -1]] = voxels[:, [0, -1]] = voxels[:, :, [0, -1]] = 0
    return voxels


def tumour() -> np.ndarray:
    """Of 6 × 6 × 5 voxels: 180, of which 100 are core and 45 enhance."""
    labels = np.zeros((12, 12, 10), np.uint8)
    labels[3:9, 3:9, 3:8] = 2
    labels[4:8, 4:9, 3:8] = 1
    labels[5:8, 5:8, 3:8] = 4
    return labels


OTHER = tumour()
OTHER[3, 3, 3] = 0
"""Of another outline."""


def subject(root: Path, name: str, seed: int, truth: np.ndarray | None = None) -> Path:
    saved(root / name / f"{name}_t1ce.nii.gz", head(seed))
    saved(root / name / f"{name}_seg.nii.gz", tumour() if truth is None else truth)
    return root / name


def of_kind(path: Path, kind: str) -> list[dict[str, Any]]:
    return [one for one in json.loads(path.read_text())["findings"] if one["kind"] == kind]


def test_the_table_has_the_volumes_and_the_json_the_voxels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject(tmp_path / "in", "BraTS2021_00001", 1)
    code, out, err = doctor(capsys, tmp_path / "in", "--json", tmp_path / "all.json")
    assert (code, err) == (0, "")
    # voxels of 2 mm³
    assert out[1].split() == [
        "BraTS2021_00001", "brats2021", "t1ce", "10", "×", "12", "×", "12", "2", "×", "1", "×", "1", "LPS",
        "unknown", "unit", "0.36", "0.20", "0.09", "nothing",
    ]  # fmt: skip
    (row,) = json.loads((tmp_path / "all.json").read_text())["subjects"]
    assert row["label_voxels"] == {"1": 55, "2": 80, "4": 45}
    assert row["region_voxels"] == {"WT": 180, "TC": 100, "ET": 45, "NETC": 55, "ED": 80}
    assert row["region_ml"]["WT"] == 0.36
    assert row["files"]["seg"]["spacing_mm"] == [2, 1, 1]


def test_an_unclear_convention_is_wrong_until_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject(tmp_path, "case1", 1)
    code, out, _ = doctor(capsys, tmp_path)
    assert code == 1
    assert "wrong: it is unclear what the labels mean: name the convention with --labels" in out[3]
    assert doctor(capsys, tmp_path, "--labels", "brats2019")[0] == 0


def test_a_cohort_without_truth_is_something_to_look_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "BraTS2021_00001" / "BraTS2021_00001_t1.nii.gz", head(1))
    code, out, _ = doctor(capsys, tmp_path)
    assert (code, out[-2]) == (10, "look: no subject has a segmentation: nothing can be scored")


def test_a_folder_that_the_gate_refuses_is_wrong_and_the_rest_is_examined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject(tmp_path, "BraTS2021_00001", 1)
    (tmp_path / "BraTS2021_00002").mkdir()
    code, out, _ = doctor(capsys, tmp_path)
    assert code == 1
    assert out[1].startswith("BraTS2021_00001")
    assert out[3].startswith("wrong: BraTS2021_00002 (an empty folder): no image in 1 place next to 1 subject")


def test_a_folder_without_any_subject_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = doctor(capsys, tmp_path)
    assert (code, out[-1]) == (1, "0 subjects: 1 wrong, 0 to look at")
    assert "an empty folder" in out[0]


def test_channels_of_one_file_are_examined_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
    }
    saved(tmp_path / "imagesTr" / "BRATS_001.nii.gz", np.stack([head(1)] * 2, -1))
    saved(tmp_path / "labelsTr" / "BRATS_001.nii.gz", np.choose(np.minimum(tumour(), 3), [0, 2, 1, 3]).astype(np.uint8))
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    code, out, _ = doctor(capsys, tmp_path)
    assert code == 1
    assert out[3:6] == [
        "wrong: the same image as two sequences (1 subject)",
        "  BRATS_001: t1 is BRATS_001/flair",
        "  BRATS_001: flair is BRATS_001/t1",
    ]
    assert doctor(capsys, tmp_path, "--headers")[0] == 0


def test_foreign_names_are_shown_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject(tmp_path, "BraTS2021_00001\x1b[31m", 1, np.zeros((12, 12, 10), np.uint8))
    code, out, _ = doctor(capsys, tmp_path)
    assert code == 10
    assert "\x1b" not in "".join(out)


class TestAgainst:
    """`--against`: what two cohorts share."""

    def test_other_subjects_are_no_leak(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        subject(tmp_path / "test", "BraTS2021_00001", 1)
        subject(tmp_path / "train", "BraTS2021_00002", 2, OTHER)
        assert doctor(capsys, tmp_path / "test", "--against", tmp_path / "train")[0] == 0

    def test_an_image_under_another_name_is_a_leak(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        subject(tmp_path / "test", "BraTS2021_00001", 1)
        other = subject(tmp_path / "train", "BraTS2021_00002", 1, OTHER)
        # cut out, as floats
        image = nibabel.load(other / "BraTS2021_00002_t1ce.nii.gz").slicer[1:, 1:, :-1]
        saved(other / "BraTS2021_00002_t1ce.nii.gz", np.asarray(image.dataobj).astype(np.float32))
        saved(other / "BraTS2021_00002_seg.nii.gz", OTHER[1:, 1:, :-1])
        result = tmp_path / "out.json"
        code, out, _ = doctor(capsys, tmp_path / "test", "--against", tmp_path / "train", "--json", result)
        assert code == 1
        assert [one["detail"] for one in of_kind(result, "leakage")] == ["t1ce is BraTS2021_00002/t1ce"]
        assert f"the same voxels are in {tmp_path / 'train'}" in out[3]

    def test_the_same_id_with_other_voxels_is_to_look_at(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        subject(tmp_path / "test", "BraTS2021_00001", 1)
        subject(tmp_path / "train", "BraTS2021_00001", 2, OTHER)
        code, out, _ = doctor(capsys, tmp_path / "test", "--against", tmp_path / "train")
        assert code == 10
        assert "with other voxels (1 subject): BraTS2021_00001" in out[3]

    def test_what_could_not_be_compared_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        subject(tmp_path / "test", "BraTS2021_00001", 1)
        other = subject(tmp_path / "train", "BraTS2021_00002", 2, OTHER)
        (other / "BraTS2021_00002_t1ce.nii.gz").write_bytes(b"hello" * 200)
        (tmp_path / "train" / "BraTS2021_00003").mkdir()
        result = tmp_path / "out.json"
        code, _, _ = doctor(capsys, tmp_path / "test", "--against", tmp_path / "train", "--json", result)
        assert code == 10
        texts = [one["text"] for one in of_kind(result, "leakage")]
        assert "BraTS2021_00003 (an empty folder)" in texts[0]
        assert texts[1] == f"files of {tmp_path / 'train'} that could not be compared"

    def test_a_copy_of_the_whole_cohort_is_found_in_several_processes(
        self, small_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(small_cohort, tmp_path / "train")
        code, out, _ = doctor(capsys, small_cohort, "--against", tmp_path / "train", "--processes", 2)
        assert code == 1
        assert "2 wrong" in out[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["in", "--against", "nowhere"], "nowhere: no such folder"),
        (["in", "--against", "in"], "which shares files with"),
        (["in", "--against", "."], "which shares files with"),
        (["in", "--against", "other", "--headers"], "--headers and --against: got both"),
        (["in", "--labels", "mine"], "label convention 'mine': unknown"),
        (["in", "--segmentation", "mine"], "segmentation 'mine': unknown"),
        (["in", "--processes", "0"], "--processes: got 0, expected at least 1"),
        (["in", "--json", "."], "cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("other").mkdir()
    code, out, err = doctor(capsys, *options)
    assert (code, out) == (2, [])
    assert words in err
    assert err.count("\n") == 1


def test_images_without_a_truth_on_different_grids_are_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, voxels in (("t1", head(1)), ("t2", head(2)), ("flair", head(3)[:, :, 1:])):
        saved(tmp_path / "BraTS2021_00001" / f"BraTS2021_00001_{name}.nii.gz", voxels)
    code, out, _ = doctor(capsys, tmp_path)
    assert code == 10
    assert out[3:5] == [
        "look: images on different grids (1 subject)",
        "  BraTS2021_00001: flair not on that of t1",
    ]


def test_of_a_fault_of_many_subjects_ten_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(12):
        folder = subject(tmp_path, f"BraTS2021_{index:05d}", index)
        (folder / f"{folder.name}_t1ce.nii.gz").write_bytes(b"hello" * 200)
    code, out, _ = doctor(capsys, tmp_path, "--headers")
    assert code == 1
    at = out.index("wrong: files that the gate refuses (12 subjects)")
    assert out[at + 1].startswith("  BraTS2021_00000: BraTS2021_00000_t1ce.nii.gz: not a NIfTI image")
    assert out[at + 11] == "  and 2 more"
