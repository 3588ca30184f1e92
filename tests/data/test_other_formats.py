"""MetaImage and NRRD: read through SimpleITK where it is installed, refused with advice where it is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsam_core.data import find_subjects, load
from medsam_core.data.volume import read_image, read_labels, write_mask
from medsam_core.errors import DataError

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
MHA = b"ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = %s\nElementType = MET_SHORT\nElementDataFile = %s\n"


@pytest.fixture
def sitk() -> Any:
    return pytest.importorskip("SimpleITK", reason="needs the extra [formats]")


def save(sitk: Any, path: Path, voxels: np.ndarray, spacing: tuple[float, ...] = (0.5, 1.0, 2.0)) -> Path:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin((1.0, -2.0, 3.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_an_image_is_read_where_simpleitk_says_it_is(tmp_path: Path, sitk: Any, ending: str) -> None:
    volume = read_image(save(sitk, tmp_path / f"a.{ending}", VOXELS))
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert volume.spacing_mm == (2.0, 1.0, 0.5)
    assert (volume.affine @ (0, 0, 0, 1))[:3].tolist() == [-1, 2, 3]  # RAS
    write_mask(volume.voxels > 30, volume, tmp_path / "m.nii.gz")
    mask = read_labels(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(mask.voxels, VOXELS > 30)
    np.testing.assert_allclose(mask.affine, volume.affine)


def test_a_subject_of_metaimages(tmp_path: Path, sitk: Any) -> None:
    for kind, voxels in (("t1ce", VOXELS), ("seg", (VOXELS % 3).astype(np.uint8))):
        save(sitk, tmp_path / f"BraTS2021_00000_{kind}.mha", voxels)
    (found,) = find_subjects(tmp_path)
    loaded = load(found, "t1ce")
    np.testing.assert_array_equal(loaded.labels.voxels, VOXELS % 3)


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_without_simpleitk_the_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    (tmp_path / f"a.{ending}").write_bytes(MHA % (b"2 2 2", b"LOCAL"))
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / f"a.{ending}")
    assert str(caught.value) == (
        f"a.{ending}: a .{ending} file, expected NIfTI, as SimpleITK is not installed; convert it to .nii.gz, or "
        "install medsam-core[formats]."
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no .mha header, expected one"),
        (b"hello", "no .mha header, expected one"),
        (MHA % (b"30000 30000 30000", b"LOCAL"), "asks for 30000 × 30000 × 30000 voxels, expected at most 134,217,728"),
        (MHA % (b"2 2 2", b"/etc/passwd"), "its voxels are in another file"),
        (MHA % (b"2 2 2", b"a.raw"), "its voxels are in another file"),
        (MHA % (b"2 2 2", b"LIST"), "its voxels are in another file"),
    ],
)
def test_a_metaimage_that_must_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    class Unused:
        """Stands for SimpleITK, which must not see the file."""

    monkeypatch.setitem(sys.modules, "SimpleITK", Unused)  # type: ignore[arg-type]
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a.mha")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("voxels", "spacing", "words"),
    [
        (np.zeros((2, 3, 4, 5), np.uint8), (1.0,) * 4, "expected three axes (x, y, z)"),
        (VOXELS, (100.0, 1.0, 1.0), "a spacing of 100 × 1 × 1 mm, expected 0.05 to 50"),
    ],
)
def test_another_kind_of_image(
    tmp_path: Path, sitk: Any, voxels: np.ndarray, spacing: tuple[float, ...], words: str
) -> None:
    image = sitk.GetImageFromArray(voxels, isVector=False)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a.mha")
    assert words in str(caught.value)


def test_a_cut_off_metaimage(tmp_path: Path, sitk: Any) -> None:
    path = save(sitk, tmp_path / "a.mha", VOXELS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"a\.mha: damaged, or no \.mha file; copy or download it again\."):
        read_image(path)
