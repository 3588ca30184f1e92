"""Faults planted in a cohort of phantoms, and the real cases: each is found, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medsam_core.cli import main
from medsam_core.phantoms.cohort import write_cohort

IDS = tuple(f"Phantom_s5_000{index}" for index in range(3))
A, B = IDS[0], IDS[1]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms of 20 × 64 × 64."""
    root = tmp_path_factory.mktemp("healthy")
    write_cohort(root, subjects=3, size=(20, 64, 64), seed=5)
    return root


@pytest.fixture
def cohort(healthy: Path, tmp_path: Path) -> Path:
    """A copy to put faults into."""
    return Path(shutil.copytree(healthy, tmp_path / "cohort"))


def file(root: Path, subject: str, kind: str) -> Path:
    return root / subject / f"{subject}_{kind}.nii.gz"


def change(path: Path, voxels: Callable[[np.ndarray], np.ndarray], unit: str = "mm", scale: float = 1.0) -> None:
    """Save the image again with other voxels (x, y, z), and its affine scaled."""
    source = nibabel.load(path)
    made = nibabel.Nifti1Image(voxels(np.asarray(source.dataobj)), np.diag([scale, scale, scale, 1.0]) @ source.affine)
    made.header.set_xyzt_units(unit)
    path.unlink()
    nibabel.save(made, path)


def doctor(*arguments: object, at: Path) -> tuple[int, dict[str, Any]]:
    """The exit code, and the JSON."""
    code = main(["doctor", *map(str, arguments), "--json", str(at / "doctor.json")])
    content = json.loads((at / "doctor.json").read_text(encoding="utf-8"))
    assert content["exit_code"] == code
    return code, content


def found(content: dict[str, Any]) -> set[tuple[str, str, str | None]]:
    return {(one["severity"], one["kind"], one["subject"]) for one in content["findings"]}


def truncated(root: Path) -> None:
    path = file(root, A, "t1")
    path.write_bytes(path.read_bytes()[:5000])


def shifted_affine(root: Path) -> None:
    path = file(root, A, "seg")
    source = nibabel.load(path)
    affine = source.affine.copy()
    affine[0, 3] += 9
    nibabel.save(nibabel.Nifti1Image(np.asarray(source.dataobj), affine), path)


def wrong_label(root: Path) -> None:
    change(file(root, A, "seg"), lambda labels: np.where(labels == 4, 3, labels).astype(np.uint8))


def tiny_enhancing(root: Path) -> None:
    def shrink(labels: np.ndarray) -> np.ndarray:
        enhancing = np.argwhere(labels == 4)
        made = np.where(labels == 4, 1, labels).astype(np.uint8)
        made[tuple(enhancing[0])] = 4
        return made

    for kind in ("t1", "t1ce", "t2", "flair"):
        change(file(root, A, kind), lambda voxels: voxels, scale=0.3)
    change(file(root, A, "seg"), shrink, scale=0.3)


def no_enhancing(root: Path) -> None:
    change(file(root, A, "seg"), lambda labels: np.where(labels == 4, 1, labels).astype(np.uint8))


def empty_truth(root: Path) -> None:
    change(file(root, A, "seg"), np.zeros_like)


def touching(root: Path) -> None:
    def grow(labels: np.ndarray) -> np.ndarray:
        made = labels.copy()
        made[:2, 30, 10] = 2
        return made

    change(file(root, A, "seg"), grow)


def constant(root: Path) -> None:
    change(file(root, A, "t2"), lambda voxels: np.full_like(voxels, 7))


def clipped(root: Path) -> None:
    change(file(root, A, "t2"), lambda voxels: np.minimum(voxels, int(np.percentile(voxels[voxels > 0], 80))))


def label_map_as_image(root: Path) -> None:
    change(file(root, A, "t2"), lambda voxels: (voxels > 100).astype(np.int16))


def copied_sequence(root: Path) -> None:
    shutil.copy(file(root, A, "t1"), file(root, A, "t1ce"))


def copied_subject(root: Path) -> None:
    """As another tool would save it: other axes, floats."""
    for kind in ("t1", "t1ce", "t2", "flair", "seg"):
        image = nibabel.as_closest_canonical(nibabel.load(file(root, A, kind)))
        kept = np.uint8 if kind == "seg" else np.float32
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).astype(kept), image.affine), file(root, B, kind))


def metres(root: Path) -> None:
    for kind in ("t1", "t1ce", "t2", "flair", "seg"):
        change(file(root, A, kind), lambda voxels: voxels, unit="meter", scale=0.001)


def another_spacing(root: Path) -> None:
    for kind in ("t1", "t1ce", "t2", "flair", "seg"):
        change(file(root, A, kind), lambda voxels: voxels, scale=0.9)


def another_shape(root: Path) -> None:
    for kind in ("t1", "t1ce", "t2", "flair", "seg"):
        change(file(root, A, kind), lambda voxels: np.pad(voxels, ((0, 0), (0, 0), (0, 1))))


def truth_off_the_head(root: Path) -> None:
    change(file(root, A, "seg"), lambda labels: np.roll(labels, 26, axis=0))


def empty_folder(root: Path) -> None:
    (root / "Phantom_s5_0009").mkdir()


def second_segmentation(root: Path) -> None:
    shutil.copy(file(root, A, "seg"), root / A / f"{A}_reader2.nii.gz")


def missing_sequence(root: Path) -> None:
    file(root, A, "t2").unlink()


def missing_truth(root: Path) -> None:
    file(root, A, "seg").unlink()


HEADER, VOXELS = True, False
FAULTS: dict[str, tuple[Callable[[Path], None], set[tuple[str, str, str | None]], str, bool]] = {
    "a truncated file": (truncated, {("wrong", "file", A)}, "truncated or damaged", VOXELS),
    "a truth on another grid": (shifted_affine, {("wrong", "grid", A)}, "affine differs", HEADER),
    "a label of another convention": (
        wrong_label, {("wrong", "labels", A), ("look", "region", A)}, "unknown label 3", VOXELS
    ),
    "a tiny region": (
        tiny_enhancing, {("look", "region", A), ("look", "spacing", A)}, "ET is tiny", VOXELS
    ),
    "an empty region": (no_enhancing, {("look", "region", A)}, "ET is empty", VOXELS),
    "an empty truth": (empty_truth, {("look", "region", A)}, "WT is empty", VOXELS),
    "a truth at the border": (touching, {("look", "border", A)}, "touches the border", VOXELS),
    "a constant image": (constant, {("wrong", "file", A)}, "every voxel is 7", VOXELS),
    "a clipped image": (clipped, {("look", "intensities", A)}, "are clipped", VOXELS),
    "a label map as an image": (label_map_as_image, {("wrong", "intensities", A)}, "is it a label map?", VOXELS),
    "one image as two sequences": (copied_sequence, {("wrong", "duplicate", A)}, "as two sequences", VOXELS),
    "one subject under two names": (
        copied_subject,
        {("wrong", "duplicate", A), ("wrong", "duplicate", B), ("look", "orientation", B)},
        "the same truth in two subjects",
        VOXELS,
    ),
    "metres": (metres, {("look", "unit", A)}, "unit other than mm", HEADER),
    "another spacing": (another_spacing, {("look", "spacing", A)}, "spacing other than", HEADER),
    "another shape": (another_shape, {("look", "shape", A)}, "shape other than 20 × 64 × 64", HEADER),
    "a truth off the head": (truth_off_the_head, {("wrong", "off-head", A)}, "on the image's background", VOXELS),
    "an empty folder": (empty_folder, {("wrong", "cohort", None)}, "Phantom_s5_0009 (an empty folder)", HEADER),
    "a second segmentation": (second_segmentation, {("look", "passed-over", A)}, "files passed over", HEADER),
    "a missing sequence": (missing_sequence, {("look", "sequence", A)}, "no t2, which others have", HEADER),
    "a missing segmentation": (missing_truth, {("wrong", "segmentation", A)}, "no segmentation", HEADER),
}  # fmt: skip
"""What is planted; what is found: severity, kind and subject; words of it; whether the headers alone show it."""


def test_a_healthy_cohort_is_clean(healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, content = doctor(healthy, at=tmp_path)
    assert (code, content["findings"]) == (0, [])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == [A, "brats2018", "t1ce+t1+t2+flair"]
    assert lines[-1] == "3 subjects: 0 wrong, 0 to look at"


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant, expected, words, in_header = FAULTS[name]
    plant(cohort)
    code, content = doctor(cohort, at=tmp_path)
    assert code == (1 if any(severity == "wrong" for severity, _, _ in expected) else 10)
    assert found(content) == expected
    assert words in capsys.readouterr().out
    _, content = doctor(cohort, "--headers", at=tmp_path)
    seen = found(content)
    assert seen == expected if in_header else seen < expected


def mirrored(healthy: Path, root: Path) -> None:
    """Twelve subjects of three: each mirrored in three ways, which makes other voxels of it."""
    for index in range(12):
        name, source = f"Phantom_s5_{index:04d}", IDS[index % 3]
        (root / name).mkdir(parents=True)
        for kind in ("t1", "t1ce", "t2", "flair", "seg"):
            shutil.copy(file(healthy, source, kind), file(root, name, kind))
            rows, columns = (1, -1)[index // 3 % 2], (1, -1)[index // 6]
            change(file(root, name, kind), lambda voxels, x=rows, y=columns: voxels[::x, ::y])


def test_ten_faults_at_once_are_all_found(healthy: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    mirrored(healthy, cohort)
    assert doctor(cohort, "--processes", 2, at=tmp_path)[0] == 0
    planted: dict[str, set[tuple[str, str, str | None]]] = {}
    names = [
        "a truncated file", "a truth on another grid", "a label of another convention", "an empty truth",
        "a truth at the border", "a constant image", "a clipped image", "one image as two sequences", "metres",
        "a missing sequence",
    ]  # fmt: skip
    for index, name in enumerate(names):
        plant, expected, _, _ = FAULTS[name]
        subject = f"Phantom_s5_{index:04d}"
        folder = tmp_path / "one" / A
        shutil.copytree(cohort / subject, folder)
        for path in list(folder.iterdir()):
            path.rename(folder / path.name.replace(subject, A))
        plant(folder.parent)
        shutil.rmtree(cohort / subject)
        folder.rename(cohort / subject)
        for path in list((cohort / subject).iterdir()):
            path.rename(cohort / subject / path.name.replace(A, subject))
        planted[name] = {(severity, kind, subject) for severity, kind, _ in expected}
    code, content = doctor(cohort, at=tmp_path)
    seen = found(content)
    assert {name: expected <= seen for name, expected in planted.items()} == dict.fromkeys(names, True)
    assert seen == set().union(*planted.values())
    assert code == 1


def test_the_real_cases_lack_two_sequences_and_nothing_else(real_cases: Path, tmp_path: Path) -> None:
    code, content = doctor(real_cases, at=tmp_path)
    assert code == 10
    assert {(kind, text) for one in content["findings"] for kind, text in [(one["kind"], one["text"])]} == {
        ("sequence", "no t1, which others have"),
        ("sequence", "no t2, which others have"),
    }
    # the numbers in the data's own description
    row = next(one for one in content["subjects"] if one["id"] == "Brats18_2013_21_1")
    assert row["region_voxels"] == {"WT": 120674, "TC": 75471, "ET": 17816, "NETC": 57655, "ED": 45203}
    assert row["files"]["t1ce"]["shape"] == [155, 240, 240]


def test_a_real_case_is_recognised_in_another_data_set(real_cases: Path, tmp_path: Path) -> None:
    """Its intensities were normalised, the margin was cut off, and label 4 became 3."""
    source = real_cases / "HGG" / "Brats18_2013_21_1"
    folder = tmp_path / "training" / "BraTS-GLI-00001-000"
    folder.mkdir(parents=True)
    for kind, name in (("flair", "t2f"), ("seg", "seg")):
        image = nibabel.load(source / f"{source.name}_{kind}.nii.gz").slicer[20:220, 20:230, :150]
        voxels = np.asarray(image.dataobj).astype(np.float32)
        made = np.where(voxels == 4, 3, voxels).astype(np.uint8) if kind == "seg" else (voxels - 100) / 50
        nibabel.save(nibabel.Nifti1Image(made, image.affine), folder / f"{folder.name}-{name}.nii.gz")
    code, content = doctor(source, "--against", folder.parent, at=tmp_path)
    assert code == 1
    (one,) = [one for one in content["findings"] if one["kind"] == "leakage"]
    assert (one["severity"], one["detail"]) == ("wrong", "seg is BraTS-GLI-00001-000/seg")
