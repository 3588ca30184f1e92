"""Valid headers with bad voxels or a bad position, a row each: the sentence that refuses them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam_core.cli import main
from medsam_core.data.regions import check_labels
from medsam_core.data.volume import check_same_grid, read_image, read_labels
from medsam_core.errors import MedsamError
from tests.data import test_bad_inputs, test_data_sets, test_npz

PLACED = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
SHAPE = (12, 11, 10)
RAMP = np.arange(1320, dtype=np.int16).reshape(SHAPE)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[3:9, 3:9, 3:8] = 2
LABELS[4:8, 4:8, 4:7] = 1
LABELS[5:7, 5:7, 5] = 4
NESTED = np.stack([LABELS > 0, np.isin(LABELS, (1, 4)), LABELS == 4], -1).astype(np.uint8)
EXCLUSIVE = np.stack([value == LABELS for value in (1, 2, 4)], -1).astype(np.uint8)


def one(voxels: np.ndarray, value: float, dtype: type = np.float32) -> np.ndarray:
    made = voxels.astype(dtype)
    made[5, 5, 5] = value
    return made


def shifted(x: float) -> np.ndarray:
    made = PLACED.copy()
    made[0, 3] += x
    return made


IMAGES: dict[str, tuple[np.ndarray, str]] = {
    "one NaN": (one(RAMP, np.nan), "1 voxel NaN or infinite, expected none"),
    "NaN alone": (np.full(SHAPE, np.nan, np.float32), "1320 voxels NaN or infinite"),
    "infinity": (one(RAMP, np.inf), "1 voxel NaN or infinite"),
    "minus infinity": (one(RAMP, -np.inf), "1 voxel NaN or infinite"),
    "too large for 32 bits": (one(RAMP, 1e300, np.float64), "1 voxel NaN or infinite"),
    "zeros": (np.zeros(SHAPE, np.int16), "every voxel is 0, expected an image"),
    "one value": (np.full(SHAPE, 7, np.uint8), "every voxel is 7, expected an image"),
    "one negative value": (np.full(SHAPE, -1.5, np.float32), "every voxel is -1.5, expected an image"),
    "four channels": (np.stack([RAMP] * 4, -1), "it holds 4 channels: save one of them as a 3-D file"),
    "channels first": (np.stack([RAMP] * 4), "its first axis looks like 4 channels: move it behind the others"),
    "five axes": (np.stack([RAMP] * 3, -1)[..., None, :], "it holds 3 channels"),
}
"""What is read as an image, and words of the refusal."""

TRUTHS: dict[str, tuple[np.ndarray, str]] = {
    "a negative label": (one(LABELS, -1, np.int16), "label -1, expected 0 to 255"),
    "a label of 256": (one(LABELS, 256, np.int16), "label 256, expected 0 to 255"),
    "a label of 40000": (one(LABELS, 40000, np.uint16), "label 40000, expected 0 to 255"),
    "a negative float": (one(LABELS, -1), "label -1, expected 0 to 255"),
    "a float of 300": (one(LABELS, 300), "label 256, expected 0 to 255"),
    "NaN": (one(LABELS, np.nan), "1 of its labels are not whole numbers (such as nan)"),
    "infinity": (one(LABELS, np.inf), "1 of its labels are not whole numbers (such as inf)"),
    "half a label": (one(LABELS, 2.5), "not whole numbers (such as 2.5), expected integers to within 0.001"),
    "labels that were interpolated": (
        (LABELS + np.roll(LABELS, 1, 0)) / np.float32(2), "if they were resampled, use nearest neighbour"
    ),
    "probabilities": (
        (LABELS > 0) * np.float32(0.73),
        "180 of its values lie between 0 and 1 (such as 0.73), expected labels: these are probabilities or partial "
        "volumes; threshold them (> 0.5 leaves 180 voxels)",
    ),
    "nested regions": (NESTED, "it holds 3 masks that overlap, as nested regions do: write them into one label map"),
    "a mask for each label": (EXCLUSIVE, "it holds 3 masks, one per label: write the value of each label into one"),
    "probabilities of each label": (EXCLUSIVE * np.float32(0.8), "it holds 3 probabilities: save their argmax"),
    "scores of each label": (EXCLUSIVE * np.float32(9) - 4, "it holds 3 label maps or scores"),
    "several label maps": (np.stack([LABELS] * 2, -1), "it holds 2 label maps or scores: save one label map"),
    "regions first": (np.moveaxis(NESTED, -1, 0), "its first axis looks like 3 channels: move it behind the others"),
}  # fmt: skip
"""What is read as a label map."""

ON_ANOTHER_GRID: dict[str, tuple[np.ndarray, np.ndarray | None, str]] = {
    "one slice less": (LABELS[..., :-1], PLACED, "shape (12, 11, 9), expected (12, 11, 10) as in image.nii.gz; export"),
    "axes in another order": (LABELS.transpose(2, 1, 0), PLACED, "saved as (z, y, x): transpose it"),
    "another shape without a position": (LABELS[1:], None, "has no position, so it cannot be resampled: export it"),
    "no form": (LABELS, None, "no position in its header, expected that of image.nii.gz, which has the same shape"),
    "the identity": (LABELS, np.eye(4), "no position in its header, expected that of image.nii.gz"),
    "9 mm away": (LABELS, shifted(9), "affine differs from that of image.nii.gz by 9, expected at most 0.001"),
    "a hundredth of a millimetre away": (LABELS, shifted(0.01), "affine differs from that of image.nii.gz by 0.01"),
    "mirrored": (LABELS, PLACED * [[-1], [1], [1], [1]], "affine differs from that of image.nii.gz"),
    "another spacing": (LABELS, PLACED @ np.diag([1, 1, 2, 1.0]), "affine differs from that of image.nii.gz by 1"),
}
"""Truths of an image at PLACED: labels, affine (None for no form at all)."""

OTHER_LABELS: dict[str, tuple[int, str, str]] = {
    "3 in 2019": (3, "brats2019", "unknown label 3, expected the values of convention brats2019"),
    "4 in 2023": (4, "brats2023", "unknown label 4, expected the values of convention brats2023"),
    "5 in 2024": (5, "brats2024", "unknown label 5"),
    "2 in a radiotherapy truth": (2, "brats-men-rt", "unknown label 2"),
    "255 for outside": (255, "msd", "unknown label 255"),
}


def saved(path: Path, voxels: np.ndarray, affine: np.ndarray | None = PLACED) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MedsamError) as caught:
        call()
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_without_sense_is_refused(tmp_path: Path, kind: str) -> None:
    voxels, words = IMAGES[kind]
    path = saved(tmp_path / "a.nii.gz", voxels)
    assert words in refusal(lambda: read_image(path))


@pytest.mark.parametrize("kind", TRUTHS)
def test_a_label_map_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    voxels, words = TRUTHS[kind]
    path = saved(tmp_path / "a.nii.gz", voxels)
    assert words in refusal(lambda: read_labels(path))


@pytest.mark.parametrize("kind", ON_ANOTHER_GRID)
def test_a_truth_on_another_grid_is_refused(tmp_path: Path, kind: str) -> None:
    voxels, affine, words = ON_ANOTHER_GRID[kind]
    image = read_image(saved(tmp_path / "image.nii.gz", RAMP))
    labels = read_labels(saved(tmp_path / "seg.nii.gz", voxels, affine))
    names = {"image_name": "image.nii.gz", "labels_name": "seg.nii.gz"}
    text = refusal(lambda: check_same_grid(image, labels, **names))
    assert text.startswith("seg.nii.gz: ")
    assert words in text


@pytest.mark.parametrize("kind", OTHER_LABELS)
def test_labels_of_another_convention_are_refused(kind: str) -> None:
    value, convention, words = OTHER_LABELS[kind]
    assert words in refusal(lambda: check_labels(np.array([0, 1, value], np.uint8), convention))


def test_at_least_120_kinds_of_bad_input_are_tried() -> None:
    """In tables, each row of which is a test with words of its sentence."""
    tables = (
        IMAGES, TRUTHS, ON_ANOTHER_GRID, OTHER_LABELS, test_bad_inputs.HEADERS, test_bad_inputs.SPECIAL, test_npz.BAD,
        test_data_sets.DESCRIPTIONS, test_data_sets.NEAR_SUBJECTS,
    )  # fmt: skip
    assert sum(len(table) for table in tables) >= 160


def test_a_cohort_in_metres_has_the_scores_of_the_same_cohort_in_millimetres(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = []
    for unit, factor in (("mm", 1.0), ("meter", 1e-3), ("micron", 1e3)):
        for name, voxels in (("truth", LABELS), ("mine", np.roll(LABELS, 3, 0))):
            made = nibabel.Nifti1Image(voxels, np.diag([-factor, -factor, 2 * factor, 1]))
            made.header.set_xyzt_units(unit)
            nibabel.save(made, tmp_path / f"{name}.nii.gz")
        arguments = [str(tmp_path / f"{name}.nii.gz") for name in ("mine", "truth")]
        assert main(["score", *arguments, "--metrics", "hd95,nsd_1mm,volume_ml"]) == 0
        scores.append(capsys.readouterr().out.splitlines()[2:])
    # 3 mm apart; 180 voxels of 2 mm³
    whole, volume = scores[0][0].split()[2], scores[0][0].split()[-1]
    assert (whole, volume) == ("3", "0.36")
    for one_unit, other in itertools.pairwise(scores):
        assert one_unit == other
