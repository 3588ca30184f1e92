"""`medsam-core score` on small files."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medsam_core.cli import main
from medsam_core.commands.score_pairs import Pair, pairs_of
from medsam_core.commands.score_tables import summary
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
    # two values a and b: the sample's standard deviation is |a − b| / √2
    assert lines[11][:4] == ["sd", "WT", f"{5 / 6 / math.sqrt(2):.4f}", f"{373 / math.sqrt(2):.4f}"]
    assert lines[14][:4] == ["median", "WT", "0.4167", "187.5"]
    assert len(lines) == 17
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
    lines = [line.split() for line in out.splitlines()[2:]]
    assert [line[2] for line in lines[:-1]] == ["1"] * 3 + ["nan"] * 12 + ["1"] * 3
    assert [line[0] for line in lines[6:-1:3]] == ["mean", "sd", "median", "undefined"]
    assert out.splitlines()[-1] == "absent from the truth: WT in 1, TC in 1, ET in 1 of 2 cases"
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
        "truth; add them, an empty label map where nothing was found, or give --missing zero."
    )


def test_a_prediction_without_a_truth_is_reported_and_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mine/b.nii", "mine/a.nii", "mine/c.nii", "truth/b.nii.gz", "truth/a.nii.gz"):
        save(tmp_path / name, TRUTH)
    found = pairs_of(tmp_path / "mine", tmp_path / "truth")
    assert [pair.case for pair in found] == ["a", "b"]
    assert found[0] == Pair("a", tmp_path / "mine" / "a.nii", tmp_path / "truth" / "a.nii.gz")
    assert capsys.readouterr().err == f"{tmp_path / 'mine'}: ignored 1 prediction without a truth: c\n"


def test_files_without_seg_in_a_folder_of_segmentations_are_reported_and_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [f"A_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair")]
    for name in ("A_seg.nii.gz", "B.nii.gz", "C.NII.GZ", *images):
        save(tmp_path / "truth" / name, TRUTH)
    save(tmp_path / "mine" / "A.nii.gz", TRUTH)
    assert [pair.case for pair in pairs_of(tmp_path / "mine", tmp_path / "truth")] == ["A"]
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
    scores: Any = {"a": {"WT": {"p/dice": 1.0}}, "b": {"WT": {"p/dice": 0.5}}, "c": {"WT": {"p/dice": math.nan}}}
    found = summary(scores, of_defined=False)
    assert [math.isnan(found[name]["WT"]["p/dice"]) for name in ("mean", "sd", "median")] == [True] * 3
    assert found["undefined"] == {"WT": {"p/dice": 1}}
    found = summary(scores, of_defined=True)
    assert found["mean"] == found["median"] == {"WT": {"p/dice": 0.75}}
    assert found["sd"]["WT"]["p/dice"] == pytest.approx(0.5 / math.sqrt(2))
    del scores["b"]
    assert math.isnan(summary(scores, of_defined=True)["sd"]["WT"]["p/dice"])
    infinite: Any = {name: {"ET": {"p/lesion_hd95": math.inf}} for name in "ab"}
    assert summary(infinite, of_defined=True)["mean"] == {"ET": {"p/lesion_hd95": math.inf}}


def saved(folder: Path, subject: str, region: str, labels: np.ndarray, how: str = "box") -> None:
    values = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}[region]
    save(folder / f"{subject}__t1ce__{region}__{how}.nii.gz", np.isin(labels, values).astype(np.uint8))


def test_a_folder_of_masks_that_a_gate_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for subject in ("Brats18_a_1", "Brats18_b__1"):
        save(tmp_path / "truth" / subject / f"{subject}_seg.nii.gz", TRUTH)
        save(tmp_path / "truth" / subject / f"{subject}_flair.nii.gz", TRUTH)
        for region in ("TC", "WT"):
            saved(tmp_path / "masks", subject, region, SHIFTED)
            saved(tmp_path / "masks", subject, region, TRUTH, "point__forward")
    saved(tmp_path / "masks", "Brats18_c_1", "WT", TRUTH)
    table = tmp_path / "t.csv"
    code, out, err = score(capsys, tmp_path / "masks", tmp_path / "truth", "--metrics", "dice", "--csv", table)
    assert (code, err.splitlines()[-1]) == (
        0,
        f"{tmp_path / 'masks'}: ignored 1 prediction without a truth: Brats18_c_1__t1ce__WT__box",
    )
    rows = [tuple(row.values()) for row in csv.DictReader(table.read_text().splitlines())]
    wanted = []
    for subject in ("Brats18_a_1", "Brats18_b__1"):
        wanted += [(f"{subject}/t1ce/box", "WT", 5 / 6), (f"{subject}/t1ce/box", "TC", 0.75)]
        wanted += [(f"{subject}/t1ce/point/forward", "WT", 1.0), (f"{subject}/t1ce/point/forward", "TC", 1.0)]
    assert [(case, region, pytest.approx(float(value))) for case, region, value in rows] == wanted
    code, out, _ = score(capsys, tmp_path / "masks", tmp_path / "truth", "--metrics", "dice", "--region", "TC")
    assert (code, {line.split()[1] for line in out.splitlines()[2:]}) == (0, {"TC"})


def test_a_saved_mask_that_is_missing_is_named(tmp_path: Path) -> None:
    for subject in "ab":
        save(tmp_path / "truth" / f"{subject}_seg.nii", TRUTH)
        saved(tmp_path / "masks", subject, "WT", TRUTH)
    saved(tmp_path / "masks", "a", "ET", TRUTH)
    with pytest.raises(DataError, match=r"no prediction for 1 of 4 cases \(b/t1ce/box ET\), expected one "):
        pairs_of(tmp_path / "masks", tmp_path / "truth")
    found = pairs_of(tmp_path / "masks", tmp_path / "truth", may_miss=True)
    assert [pair.case for pair in found] == ["a/t1ce/box", "a/t1ce/box", "b/t1ce/box", "b/t1ce/box"]
    assert [(pair.region, pair.prediction is None) for pair in found] == [
        ("WT", False), ("ET", False), ("WT", False), ("ET", True)
    ]  # fmt: skip


def test_one_saved_mask_is_of_the_region_in_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = save(tmp_path / "case_seg.nii.gz", TRUTH)
    saved(tmp_path, "case", "TC", SHIFTED)
    mask = tmp_path / "case__t1ce__TC__box.nii.gz"
    assert score(capsys, mask, truth, "--metrics", "dice")[1].splitlines()[2:] == ["case  TC      0.75"]
    code, _, err = score(capsys, mask, truth, "--binary")
    assert (code, "--binary: got masks whose names say their regions" in err) == (2, True)
    code, _, err = score(capsys, mask, truth, "--region", "RC")
    assert (code, "region RC: not among the labels of brats2019 (" in err) == (2, True)
    code, _, err = score(capsys, mask, truth, "--region", "tc")
    assert (code, "unknown region 'tc': expected one of WT, TC, ET, NETC, " in err) == (2, True)


def test_a_prediction_named_otherwise_than_its_neighbours_is_found(tmp_path: Path) -> None:
    for name in ("mine/a_seg.nii", "mine/b.nii", "mine/b_t1.nii", "truth/a_seg.nii", "truth/b_seg.nii"):
        save(tmp_path / name, TRUTH)
    found = pairs_of(tmp_path / "mine", tmp_path / "truth")
    assert [pair.prediction.name for pair in found if pair.prediction] == ["a_seg.nii", "b.nii"]


@pytest.mark.parametrize(
    ("profile", "wanted"),
    [("brats2025-seg", ["0", "373", "0"]), ("brats2023", ["0", "374", "0"]), ("monai", ["0", "nan", "0"]),
     ("brats2024-met", ["0", f"{12 * math.sqrt(3):.4f}", "0"])],
)  # fmt: skip
def test_a_missing_prediction_scores_nothing_if_it_may(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: str, wanted: list[str]
) -> None:
    labels = np.where(TRUTH == 4, 3, TRUTH).astype(np.uint8)
    save(tmp_path / "truth" / "a_seg.nii", labels)
    save(tmp_path / "truth" / "b_seg.nii", np.where(labels == 3, 0, labels).astype(np.uint8))
    save(tmp_path / "mine" / "a.nii", labels)
    options = ("--missing", "zero", "--profile", profile, "--labels", "brats2023", "--metrics", "dice,hd95,nsd_1mm")
    tree = tmp_path / "scores.json"
    code, out, _ = score(capsys, tmp_path / "mine", tmp_path / "truth", *options, "--json", tree)
    assert code == 0
    # the region that b does not have is 0 too, as on the platform
    assert {line.split()[1]: line.split()[2:] for line in out.splitlines() if line.startswith("b ")}["ET"] == wanted
    content = json.loads(tree.read_text())
    assert (content["missing"], content["absent"]["ET"]) == (["b"], 1)


def test_a_missing_prediction_leaves_volumes_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "truth" / "a.nii", TRUTH)
    save(tmp_path / "truth" / "b.nii", TRUTH)
    save(tmp_path / "mine" / "a.nii", TRUTH)
    options = ("--missing", "zero", "--metrics", "truth_volume_ml,volume_ml,absolute_volume_difference_ml")
    out = score(capsys, tmp_path / "mine", tmp_path / "truth", *options)[1]
    assert out.splitlines()[5].split() == ["b", "WT", "0.216", "0", "0.216"]


def test_a_prediction_with_the_single_label_1_is_questioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = save(tmp_path / "mask.nii", (TRUTH > 0).astype(np.uint8))
    truth = save(tmp_path / "case_seg.nii", TRUTH)
    _, _, err = score(capsys, mask, truth)
    assert err == (
        "warning: 1 prediction (case) with the single label 1, read as the tissue of that label; if they are masks of "
        "one region, name it with --region.\n"
    )
    assert score(capsys, mask, truth, "--region", "WT")[2] == ""
    assert score(capsys, mask, truth, "--binary")[2] == ""
    assert score(capsys, mask, save(tmp_path / "core.nii", (TRUTH == 1).astype(np.uint8)))[2] == ""


def test_the_truth_scored_against_itself_is_questioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "truth" / "a_seg.nii", TRUTH)
    (tmp_path / "link").symlink_to(tmp_path / "truth")
    code, _, err = score(capsys, tmp_path / "link", tmp_path / "truth")
    assert (code, err) == (
        0,
        "warning: 1 prediction (a) and the truth are the same file: such a score says nothing about a model.\n",
    )


def test_the_metrics_and_regions_are_those_of_the_official_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.where(TRUTH == 4, 3, TRUTH).astype(np.uint8)
    labels[9:11, 9:11, 9:11] = 4
    truth = save(tmp_path / "t.nii", labels)
    prediction = save(tmp_path / "p.nii", np.roll(labels, 1, axis=0))
    heads = {}
    for profile in ("brats2024-gli", "brats2024-met", "brats2025-seg", "brats2025-mets"):
        lines = [line.split() for line in score(capsys, prediction, truth, "--profile", profile)[1].splitlines()]
        heads[profile] = ([line[1] for line in lines[2:]], [word for word in lines[1][2:] if word != "[mm]"])
    gli, mets = ["WT", "TC", "ET", "NETC", "SNFH", "RC"], ["WT", "TC", "ET", "RC"]
    assert {profile: regions for profile, (regions, _) in heads.items()} == {
        "brats2024-gli": gli, "brats2024-met": mets, "brats2025-seg": gli, "brats2025-mets": mets
    }  # fmt: skip
    assert heads["brats2024-met"][1][-4:] == ["nsd_0.5mm", "nsd_1mm", "lesion_nsd_0.5mm", "lesion_nsd_1mm"]
    assert heads["brats2025-mets"][1][-7:-5] == ["lesion_f1", "large_lesion_precision"]
    code, _, err = score(capsys, prediction, truth, "--profile", "brats2024-men-rt", "--labels", "brats2024")
    assert (code, "expected its regions GTV; name the convention of the files with --labels.\n" in err) == (
        2, True
    )  # fmt: skip


def test_several_processes_score_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(3):
        save(tmp_path / "truth" / f"{index}_seg.nii", TRUTH)
        save(tmp_path / "mine" / f"{index}.nii", np.roll(TRUTH, index, axis=1))
    options = (tmp_path / "mine", tmp_path / "truth", "--metrics", "dice,hd95,components")
    one, two = (score(capsys, *options, "--processes", count) for count in (1, 2))
    assert one == two
    assert one[0] == 0
    save(tmp_path / "mine" / "1.nii", TRUTH[..., :5])
    code, out, err = score(capsys, *options, "--processes", 2)
    assert (code, out) == (2, "")
    assert err.startswith("medsam-core score: 1.nii: shape (12, 12, 12), expected") or "as in truth 1_seg.nii" in err
    code, _, err = score(capsys, *options, "--processes", 0)
    assert (code, err) == (
        2,
        "medsam-core score: --processes: got 0, expected at least 1; leave it out for all.\n",
    )


def test_a_saved_mask_of_an_image_of_three_sequences_is_of_its_region(tmp_path: Path) -> None:
    truth = save(tmp_path / "truth" / "S_seg.nii.gz", TRUTH)
    mask = save(tmp_path / "masks" / "S__t1ce+t2+flair__TC__box-to-mask.nii.gz", TRUTH)
    assert pairs_of(tmp_path / "masks", tmp_path / "truth") == [Pair("S/t1ce+t2+flair/box-to-mask", mask, truth, "TC")]
