"""The CVPR25 challenge's .npz: read as a subject, refused where it would be read wrongly, and written as `segs`."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medsam_core.data import find_subjects, load
from medsam_core.data.volume import read_image, read_labels, write_mask
from medsam_core.errors import DataError

SHAPE = (3, 4, 5)
WHOLE = {
    "imgs": np.arange(60, dtype=np.uint8).reshape(SHAPE),
    "gts": (np.arange(60) % 4).astype(np.uint8).reshape(SHAPE),
    "spacing": np.array([0.5, 1.0, 2.0]),
    "boxes": np.array([{"z_min": 1}], dtype=object),
}


def saved(path: Path, **arrays: object) -> Path:
    np.savez_compressed(path, **{key: value for key, value in {**WHOLE, **arrays}.items() if value is not None})
    return path


def test_a_case_is_a_subject_of_one_sequence(tmp_path: Path) -> None:
    saved(tmp_path / "MR_BraTS-T1c_bratsgli_0001.npz")
    (found,) = find_subjects(tmp_path)
    assert (found.id, found.layout, found.convention) == ("MR_BraTS-T1c_bratsgli_0001", "npz", None)
    loaded = load(found, "t1ce", convention="brats2023")
    np.testing.assert_array_equal(loaded.image.voxels, WHOLE["imgs"])
    np.testing.assert_array_equal(loaded.labels.voxels, WHOLE["gts"])
    assert loaded.image.spacing_mm == (2.0, 1.0, 0.5)


def test_the_boxes_are_pickled_and_never_read(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path / "a.npz")).shape == SHAPE


def test_a_mask_is_written_as_segs_and_read_again(tmp_path: Path) -> None:
    volume = read_image(saved(tmp_path / "a.npz"))
    write_mask(volume.voxels > 30, volume, tmp_path / "out" / "a.npz")
    with np.load(tmp_path / "out" / "a.npz") as stored:
        assert stored.files == ["segs"]
        assert stored["segs"].dtype == np.uint8
        np.testing.assert_array_equal(stored["segs"], WHOLE["imgs"] > 30)
    saved(tmp_path / "b.npz", gts=None, segs=stored_again(tmp_path / "out" / "a.npz"))
    np.testing.assert_array_equal(read_labels(tmp_path / "b.npz").voxels, WHOLE["imgs"] > 30)
    write_mask(volume.voxels > 30, volume, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii.gz").voxels, WHOLE["imgs"] > 30)


def stored_again(path: Path) -> np.ndarray:
    with np.load(path) as stored:
        return np.asarray(stored["segs"])


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no image": ({"imgs": None}, "no array imgs among boxes, gts, spacing"),
    "no spacing": ({"spacing": None}, "no array spacing among boxes, gts, imgs"),
    "a spacing of 0": ({"spacing": np.array([1.0, 0, 1])}, "spacing [1.0, 0.0, 1.0], which is not three lengths"),
    "a spacing of NaN": ({"spacing": np.array([1.0, np.nan, 1])}, "spacing [1.0, nan, 1.0], which is not"),
    "two spacings": ({"spacing": np.array([1.0, 1.0])}, "spacing [1.0, 1.0], which is not"),
    "colours": ({"imgs": np.zeros((3, 4, 5, 3), np.uint8)}, "imgs of shape (3, 4, 5, 3), not (D, H, W)"),
    "one slice": ({"imgs": np.zeros((4, 5), np.uint8)}, "imgs of shape (4, 5), not (D, H, W)"),
    "objects": ({"imgs": np.array([[[{}]]], dtype=object)}, "imgs of object, not of numbers"),
    "texts": ({"imgs": np.array([[["x"]]])}, "imgs of <U1, not of numbers"),
    "no slices": ({"imgs": np.zeros((0, 4, 5), np.uint8)}, "imgs of shape (0, 4, 5), not (D, H, W)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_archive_that_would_be_read_wrongly_is_refused(tmp_path: Path, kind: str) -> None:
    arrays, words = BAD[kind]
    with pytest.raises(DataError) as caught:
        read_image(saved(tmp_path / "a.npz", **arrays))
    assert str(caught.value).startswith(f"a.npz: got {words}")
    assert str(caught.value).endswith("as in the CVPR25 challenge; save it like that.")


def claiming(path: Path, shape: tuple[int, ...], content: bytes) -> Path:
    """An archive whose `imgs` has a header of that shape in front of the content."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    spacing = io.BytesIO()
    np.save(spacing, np.ones(3))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("spacing.npy", spacing.getvalue())
        archive.writestr("imgs.npy", header.getvalue() + content)
    return path


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((30_000, 30_000, 30_000), "imgs of shape (30000, 30000, 30000) (24.6 TiB), more than 134,217,728 voxels"),
        ((2, 2, 2), "imgs of 9 bytes where its shape (2, 2, 2) of uint8 has 8"),
        ((2**10, 2**10, 2**6), "imgs of 50000000 bytes where its shape (1024, 1024, 64) of uint8 has 67108864"),
    ],
)
def test_an_archive_is_unpacked_no_further_than_its_header_asks(
    tmp_path: Path, shape: tuple[int, ...], words: str
) -> None:
    path = claiming(tmp_path / "a.npz", shape, bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [slice(0, 0), slice(5, 100), slice(0, -30), slice(0, 200)],
    ids=["empty", "no zip", "no end", "the start"],
)
def test_a_damaged_archive(tmp_path: Path, damage: slice) -> None:
    whole = saved(tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[damage])
    with pytest.raises(DataError, match=r"a\.npz: a damaged \.npz file \(.*\); copy or download it again\."):
        read_image(tmp_path / "a.npz")


def test_a_changed_byte_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{key: value for key, value in WHOLE.items() if key != "boxes"})
    content = bytearray(path.read_bytes())
    content[content.index(bytes(range(20, 40)))] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a damaged \.npz file \(Bad CRC-32"):
        read_image(path)
