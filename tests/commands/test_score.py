"""`medsam-core score` on small files."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medsam_core.cli import main
from medsam_core.commands.score import mean_scores, pairs_of
from medsam_core.errors import DataError

TRUTH = np.zeros((12, 12, 12), np.uint8)
TRUTH[2:8, 2:8, 2:8] = 2
TRUTH[3:7, 3:7, 3:7] = 1
TRUTH[4:6, 4:6, 4:6] = 4
SHIFTED = np.roll(TRUTH, 1, axis=0)
NONE = np.zeros_like(TRUTH)


def save(path: Path, labels: np.ndarray, spacing: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([-spacing, -spacing, spacing, 1.0])), path)
    return path


def score(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["score", *map(str, arguments)])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def test_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = save(tmp_path / "mine.nii.gz", SHIFTED)
    truth = save(tmp_path / "case_seg.nii.gz", TRUTH, 1.0)
    code, out, _ = score(capsys, prediction, truth, "--metrics", "dice, hd95,dice")
    assert code == 0
    assert out.splitlines() == [
        "profile brats2019: BraTS 2018 to 2022: whole-region scores; a missed region scores the image diagonal.",
        "case  region    dice  hd95 [mm]",
        "case  WT      0.8333          1",
        "case  TC        0.75          1",
        "case  ET         0.5          1",
    ]


def test_folders_tables_and_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case, labels in (("a", SHIFTED), ("b", NONE)):
        save(tmp_path / "mine" / f"{case}.nii.gz", labels)
        save(tmp_path / "truth" / case / f"{case}_seg.nii", TRUTH)
        save(tmp_path / "truth" / case / f"{case}_t1.nii", TRUTH)
    table, tree = tmp_path / "scores.csv", tmp_path / "scores.json"
    options = ("--profile", "brats2023", "--labels", "brats2019", "--csv", table, "--json", tree)
    code, out, err = score(capsys, tmp_path / "mine", tmp_path / "truth", *options)
    assert (code, err) == (
        0,
        f"{tmp_path / 'truth'}: took the 2 files named seg, ignored a_t1.nii, b_t1.nii\n",
    )
    lines = [line.split() for line in out.splitlines()]
    assert lines[2][:3] == ["a", "WT", "0.8333"]
    assert lines[5][:4] == ["b", "WT", "0", "374"]
    assert lines[8][:4] == ["mean", "WT", "0.4167", "187.5"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["case"], row["region"]) for row in rows] == [(c, r) for c in "ab" for r in ("WT", "TC", "ET")]
    assert float(rows[0]["brats2023/dice"]) == pytest.approx(5 / 6)
    assert [key.removeprefix("brats2023/") for key in rows[0]][2:] == [
        "dice", "hd95", "sensitivity", "specificity", "volume_difference_ml",
        "lesion_dice", "lesion_hd95", "lesion_tp", "lesion_fp", "lesion_fn",
    ]  # fmt: skip
    content = json.loads(tree.read_text())
    assert (content["profile"], content["labels"]) == ("brats2023", "brats2019")
    assert content["cases"]["b"]["WT"]["brats2023/lesion_fn"] == 1
    assert content["mean"]["WT"]["brats2023/hd95"] == 187.5


def test_nan_is_printed_kept_in_the_mean_and_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case, labels in (("a", TRUTH), ("b", NONE)):
        save(tmp_path / "mine" / f"{case}.nii", labels)
        save(tmp_path / "truth" / f"{case}-seg.nii", labels)
    tree = tmp_path / "scores.json"
    _, out, _ = score(capsys, tmp_path / "mine", tmp_path / "truth", "--profile", "monai", "--json", tree)
    assert [line.split()[2] for line in out.splitlines()[2:]] == ["1"] * 3 + ["nan"] * 6
    content = json.loads(tree.read_text())
    assert content["cases"]["b"]["ET"]["monai/dice"] is content["mean"]["ET"]["monai/dice"] is None
    assert content["cases"]["a"]["ET"]["monai/dice"] == 1.0


def test_binary_masks_of_any_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prediction, truth = save(tmp_path / "p.nii", SHIFTED * 50), save(tmp_path / "t.nii", TRUTH)
    code, out, _ = score(capsys, prediction, truth, "--binary", "--metrics", "dice")
    assert code == 0
    assert out.splitlines()[-1].split() == ["t", "mask", "0.8333"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nowhere", "t.nii"), "nowhere: no such file or folder, expected a label map; check the path."),
        (("p.nii", "."), "p.nii and .: got a folder and a file, expected two of the same kind; change one."),
        (("p.nii", "t.nii", "--profile", "x"), "profile: got 'x', expected one of brats2019, "),
        (("p.nii", "t.nii", "--metrics", "dise"), "unknown metric 'dise': expected one of dice, iou, "),
        (("p.nii", "t.nii", "--metrics", ","), "metric: got none, expected at least one of dice, iou, "),
        (("p.nii", "t.nii", "--labels", "x"), "label convention 'x': unknown, expected one of "),
        (("p.nii", "five.nii"), "five.nii: unknown label 5, expected the values of convention brats2019 "),
        (("p.nii", "thin.nii"), "p.nii: shape (12, 12, 12), expected (12, 12, 5) as in truth thin.nii; "),
        (("p.nii", "wide.nii"), "p.nii: no position in its header, expected that of truth wide.nii"),
        (("empty", "empty"), "empty: holds no .nii or .nii.gz file, expected label maps; check the path."),
    ],
)
def test_mistakes_are_reported_in_a_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("p.nii"), TRUTH)
    save(Path("t.nii"), TRUTH)
    save(Path("five.nii"), TRUTH + 5 * (TRUTH == 4).astype(np.uint8) - 4 * (TRUTH == 4).astype(np.uint8))
    save(Path("thin.nii"), TRUTH[..., :5])
    save(Path("wide.nii"), TRUTH, 2.0)
    Path("empty").mkdir()
    code, out, err = score(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"medsam-core score: {text}")


@pytest.mark.parametrize("option", ["--csv", "--json"])
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("gone/scores", "No such file or directory"),
        ("p.nii/scores", "Not a directory"),
        (".", "Is a directory"),
    ],
)
def test_a_table_that_cannot_be_written_is_reported_before_anything_is_scored(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    place: str,
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("p.nii"), TRUTH)
    monkeypatch.setattr("medsam_core.commands.score.score_files", lambda *_, **__: pytest.fail("scored"))
    code, out, err = score(capsys, "p.nii", "p.nii", option, place)
    assert (code, out) == (2, "")
    assert err == f"medsam-core score: {place}: cannot be written ({why}); choose another place for {option}.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["p.nii"]


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    if os.access(shut, os.W_OK):
        pytest.skip("this user may write everywhere")
    truth = save(tmp_path / "t.nii", TRUTH)
    code, _, err = score(capsys, truth, truth, "--csv", shut / "scores.csv")
    assert code == 2
    assert err.endswith("scores.csv: cannot be written (Permission denied); choose another place for --csv.\n")


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_a_table_is_written_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    truth, table = save(tmp_path / "in" / "t.nii", TRUTH), tmp_path / "out" / "scores"
    table.parent.mkdir()
    table.write_text("of yesterday")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as small:
        small.setattr(Path, "replace", full)
        code, _, err = score(capsys, truth, truth, option, table)
    assert (code, "scores: cannot be written (No space left on device); " in err) == (2, True)
    assert table.read_text() == "of yesterday"
    assert score(capsys, truth, truth, option, table)[0] == 0
    assert "brats2019/dice" in table.read_text()
    assert list(table.parent.iterdir()) == [table]


def test_a_table_goes_through_a_link_or_into_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, link = save(tmp_path / "t.nii", TRUTH), tmp_path / "link"
    (tmp_path / "real.csv").touch()
    link.symlink_to("real.csv")
    assert score(capsys, truth, truth, "--csv", link)[0] == 0
    assert link.is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("case,region,")
    assert score(capsys, truth, truth, "--csv", "/dev/null", "--json", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_a_mask_of_one_region_as_a_gate_saves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = save(tmp_path / "case_seg.nii.gz", TRUTH)
    mask = save(tmp_path / "case__t1ce__TC__box.nii.gz", np.isin(SHIFTED, (1, 4)).astype(np.uint8))
    code, out, _ = score(capsys, mask, truth, "--region", "TC", "--metrics", "dice,volume_ml,truth_volume_ml")
    assert code == 0
    assert out.splitlines()[2:] == ["case  TC      0.75      0.064            0.064"]
    labels = save(tmp_path / "labels.nii.gz", SHIFTED)
    code, _, err = score(capsys, labels, truth, "--region", "TC")
    assert code == 2
    assert "got the labels 1, 2, 4 with --region TC, expected a mask of one value" in err
    for other in ("--region", "--labels"):
        code, _, err = score(capsys, mask, truth, "--binary", other, "TC" if other == "--region" else "msd")
        assert (code, f"--binary and {other}: got both" in err) == (2, True)


def test_a_missing_prediction_is_an_error(tmp_path: Path) -> None:
    for index in range(7):
        save(tmp_path / "truth" / f"c{index}_seg.nii", TRUTH)
    save(tmp_path / "mine" / "c0.nii", TRUTH)
    with pytest.raises(DataError) as error:
        pairs_of(tmp_path / "mine", tmp_path / "truth")
    assert str(error.value) == (
        f"{tmp_path / 'mine'}: no prediction for 6 of 7 cases (c1, c2, c3, c4, c5 and 1 more), expected one for each "
        "truth; add them, an empty label map where nothing was found."
    )


def test_a_prediction_without_a_truth_is_reported_and_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine/b.nii", "mine/a.nii", "mine/c.nii", "truth/b.nii.gz", "truth/a.nii.gz"):
        save(tmp_path / name, TRUTH)
    found = pairs_of(tmp_path / "mine", tmp_path / "truth")
    assert list(found) == ["a", "b"]
    assert found["a"] == (tmp_path / "mine" / "a.nii", tmp_path / "truth" / "a.nii.gz")
    assert capsys.readouterr().err == f"{tmp_path / 'mine'}: ignored 1 prediction without a truth: c\n"


def test_files_without_seg_in_a_folder_of_segmentations_are_reported_and_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [f"A_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair")]
    for name in ("A_seg.nii.gz", "B.nii.gz", "C.NII.GZ", *images):
        save(tmp_path / "truth" / name, TRUTH)
    save(tmp_path / "mine" / "A.nii.gz", TRUTH)
    assert list(pairs_of(tmp_path / "mine", tmp_path / "truth")) == ["A"]
    # what may be a truth that was meant comes before what is an image by its name
    assert capsys.readouterr().err == (
        f"{tmp_path / 'truth'}: took the 1 file named seg, ignored B.nii.gz, C.NII.GZ, A_flair.nii.gz, A_t1.nii.gz, "
        "A_t1ce.nii.gz and 1 more\n"
    )


def test_endings_in_capitals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("truth/a_SEG.NII.GZ", "mine/a.nii", "truth/b-seg.Nii", "mine/b.NII.GZ"):
        save(tmp_path / name, TRUTH)
    code, out, err = score(capsys, tmp_path / "mine", tmp_path / "truth", "--metrics", "dice")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[2:5]] == [["a", "WT", "1"], ["a", "TC", "1"], ["a", "ET", "1"]]
    assert out.splitlines()[5].split() == ["b", "WT", "1"]


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    for name in ("mine/a.nii", "mine/a.nii.gz", "truth/a.nii"):
        save(tmp_path / name, TRUTH)
    with pytest.raises(DataError, match=r"a\.nii and .*a\.nii\.gz are both a, expected one of each; remove one\.$"):
        pairs_of(tmp_path / "mine", tmp_path / "truth")


def test_means_are_over_all_cases() -> None:
    scores: Any = {"a": {"WT": {"p/dice": 1.0}}, "b": {"WT": {"p/dice": 0.5}}}
    assert mean_scores(scores) == {"WT": {"p/dice": 0.75}}
