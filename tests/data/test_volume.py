"""Reading NIfTI into LPS and writing masks back, with nibabel as the oracle for positions."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam_core.data.volume import check_same_grid, read_image, read_labels, read_placement, write_mask
from medsam_core.errors import DataError, LabelError, MaskError, MedsamError, ShapeMismatch

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AXES = ["".join(code) for order in itertools.permutations(("LR", "PA", "IS")) for code in itertools.product(*order)]
FORMS = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = LPS) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def ramp(shape: tuple[int, ...] = (4, 3, 2), dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def text_of(call: object, *args: object, error: type[MedsamError] = DataError, **options: object) -> str:
    with pytest.raises(error) as caught:
        call(*args, **options)  # type: ignore[operator]
    return str(caught.value)


def test_an_lps_file_becomes_depth_row_column(tmp_path: Path) -> None:
    on_disk = ramp((4, 3, 2))
    volume = read_image(save(tmp_path / "a.nii.gz", on_disk))
    assert volume.shape == (2, 3, 4)
    assert volume.voxels[1, 2, 3] == on_disk[3, 2, 1]
    assert volume.voxels.dtype == np.float32
    assert volume.voxels.flags.c_contiguous


def test_spacing_is_in_the_order_of_the_array(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp(), np.diag([-0.5, -1.0, 3.0, 1.0])))
    assert volume.spacing_mm == (3.0, 1.0, 0.5)
    assert all(type(value) is float for value in volume.spacing_mm)


def test_array_axes_point_up_back_and_left(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp(), np.eye(4)))
    x, y, z = volume.affine[:3, :3].T
    assert x.tolist() == [-1, 0, 0]  # toward the left, in RAS
    assert y.tolist() == [0, -1, 0]
    assert z.tolist() == [0, 0, 1]


def tilted(codes: str, spacing: tuple[float, float, float]) -> np.ndarray:
    """An affine whose axes grow toward `codes`, tilted by some degrees about two axes and shifted."""
    a, b = 0.21, -0.13
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    rotation = rotation @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    for axis, code in enumerate(codes):
        row = next(row for row, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        affine[row, axis] = spacing[axis] * (1 if code in "RAS" else -1)
    affine[:3, :3] = rotation @ affine[:3, :3]
    affine[:3, 3] = (11.5, -7.25, 3.0)
    return affine


def check_round_trip(
    path: Path,
    affine: np.ndarray,
    marked: tuple[int, int, int],
    shape: tuple[int, int, int],
    qform_code: int = 1,
) -> None:
    on_disk = np.zeros(shape, np.int16)
    on_disk[marked] = 9
    source = nibabel.Nifti1Image(on_disk, affine)
    source.set_sform(affine, 3)
    source.set_qform(affine, qform_code, strip_shears=True)
    nibabel.save(source, path / "image.nii")

    volume = read_image(path / "image.nii")
    (z, y, x), *others = np.argwhere(volume.voxels == 9)
    assert not others
    reference = nibabel.load(path / "image.nii")
    expected = reference.affine @ (*marked, 1)
    np.testing.assert_allclose(volume.affine @ (x, y, z, 1), expected, atol=1e-9)
    assert "".join(nibabel.aff2axcodes(volume.affine)) == "LPS"

    write_mask(volume.voxels == 9, volume, path / "mask.nii")
    mask = nibabel.load(path / "mask.nii")
    assert mask.shape == shape
    assert np.argwhere(np.asarray(mask.dataobj)).tolist() == [list(marked)]
    np.testing.assert_array_equal(mask.affine, reference.affine)
    assert (int(mask.header["qform_code"]), int(mask.header["sform_code"])) == (qform_code, 3)
    for name in FORMS:
        np.testing.assert_array_equal(mask.header[name], reference.header[name], err_msg=name)
    np.testing.assert_array_equal(mask.header["pixdim"], reference.header["pixdim"])


@pytest.mark.parametrize("codes", AXES)
def test_every_orientation_comes_back_where_it_was(tmp_path: Path, codes: str) -> None:
    affine = tilted(codes, (0.5, 1.0, 2.0))
    assert "".join(nibabel.aff2axcodes(affine)) == codes
    check_round_trip(tmp_path, affine, (3, 1, 1), (4, 3, 2))


def test_there_are_48_orientations() -> None:
    assert len(set(AXES)) == 48


def _is_clear(linear: np.ndarray) -> bool:
    """Whether one world axis is nearest to each axis, in the rotation that nibabel looks at, whatever their order."""
    left, _, right = np.linalg.svd(linear / np.sqrt((linear**2).sum(axis=0)))
    largest = np.sort(np.abs(left @ right), axis=0)
    affine = np.eye(4)
    affine[:3, :3] = linear
    codes = nibabel.aff2axcodes(affine)
    return bool((largest[-1] - largest[-2] > 1e-3).all()) and all(
        nibabel.aff2axcodes(affine[:, [*order, 3]]) == tuple(codes[axis] for axis in order)
        for order in itertools.permutations(range(3))
    )


@settings(max_examples=40, deadline=None)
@given(
    linear=hnp.arrays(np.float64, (3, 3), elements=st.floats(-3, 3, width=32)),
    shape=st.tuples(*[st.integers(2, 4)] * 3),
    data=st.data(),
)
def test_any_sheared_affine_comes_back_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, linear: np.ndarray, shape: tuple[int, int, int], data: st.DataObject
) -> None:
    spacing = np.linalg.norm(linear, axis=0)
    if abs(np.linalg.det(linear)) < 0.05 or np.linalg.cond(linear) > 50 or (spacing < 0.06).any():
        return  # no scanner's grid
    if not _is_clear(linear):
        return  # halfway between two orientations: rounding decides which one nibabel names
    affine = np.eye(4)
    affine[:3, :3] = linear
    marked = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    # a qform cannot hold a shear, so it would contradict the sform
    check_round_trip(tmp_path_factory.mktemp("sheared"), affine, marked, shape, qform_code=0)


@pytest.mark.parametrize(("qform_code", "sform_code"), [(0, 2), (2, 0), (1, 1), (0, 0)])
def test_a_mask_keeps_the_codes_of_its_image(tmp_path: Path, qform_code: int, sform_code: int) -> None:
    source = nibabel.Nifti1Image(ramp(), LPS)
    source.set_qform(LPS, qform_code)
    source.set_sform(LPS, sform_code)
    nibabel.save(source, tmp_path / "a.nii.gz")
    volume = read_image(tmp_path / "a.nii.gz")
    write_mask(np.ones(volume.shape, bool), volume, tmp_path / "m.nii.gz")
    header = nibabel.load(tmp_path / "m.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (qform_code, sform_code)
    assert header.get_data_dtype() == np.uint8


def test_a_trailing_axis_of_one_is_accepted_and_comes_back(tmp_path: Path) -> None:
    on_disk = ramp((4, 3, 2, 1))
    volume = read_image(save(tmp_path / "a.nii.gz", on_disk))
    assert volume.shape == (2, 3, 4)
    write_mask(volume.voxels > 20, volume, tmp_path / "m.nii.gz")
    mask = nibabel.load(tmp_path / "m.nii.gz")
    assert mask.shape == (4, 3, 2, 1)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), on_disk > 20)


def test_one_channel_of_a_4d_file_and_its_3d_mask(tmp_path: Path) -> None:
    on_disk = ramp((4, 3, 2, 4))
    volume = read_image(save(tmp_path / "a.nii.gz", on_disk), channel=2)
    np.testing.assert_array_equal(volume.voxels, on_disk[..., 2].transpose(2, 1, 0))
    write_mask(volume.voxels > 20, volume, tmp_path / "m.nii.gz")
    assert nibabel.load(tmp_path / "m.nii.gz").shape == (4, 3, 2)


def test_a_nifti2_image_gets_a_nifti2_mask(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(ramp(), LPS), tmp_path / "a.nii")
    volume = read_image(tmp_path / "a.nii")
    write_mask(volume.voxels > 3, volume, tmp_path / "m.nii")
    assert isinstance(nibabel.load(tmp_path / "m.nii"), nibabel.Nifti2Image)


def test_a_scaled_image_is_read_in_its_own_units(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ramp(), LPS)
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "a.nii")
    on_disk = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").voxels, on_disk.transpose(2, 1, 0))


def test_negative_background_is_fine(tmp_path: Path) -> None:
    on_disk = np.full((4, 3, 2), -3.5, np.float32)
    on_disk[1, 1, 1] = 9.25
    assert read_image(save(tmp_path / "a.nii.gz", on_disk)).voxels.min() == np.float32(-3.5)


def test_a_volume_outlives_its_uncompressed_file(tmp_path: Path) -> None:
    on_disk = ramp(dtype=np.float32)
    volume = read_image(save(tmp_path / "a.nii", on_disk))
    save(tmp_path / "a.nii", np.zeros_like(on_disk))
    assert volume.voxels.max() == 23
    volume.voxels[0, 0, 0] = 1  # writable


def test_gzip_is_recognised_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    packed = save(tmp_path / "a.nii.gz", ramp())
    packed.rename(tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").voxels.max() == 23


def test_a_mask_does_not_carry_the_free_text_of_its_image(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ramp(), LPS)
    image.header["descrip"] = b"DOE^JANE"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"born 1970"))
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_image(tmp_path / "a.nii")
    write_mask(volume.voxels > 3, volume, tmp_path / "m.nii")
    written = (tmp_path / "m.nii").read_bytes()
    assert b"DOE" not in written
    assert b"1970" not in written


# labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_labels_of_any_type_become_uint8(tmp_path: Path, dtype: type) -> None:
    on_disk = np.array([0, 1, 2, 4], dtype).reshape(4, 1, 1)
    volume = read_labels(save(tmp_path / "s.nii.gz", on_disk))
    assert volume.voxels.dtype == np.uint8
    assert volume.voxels.ravel().tolist() == [0, 1, 2, 4]


def test_nearly_whole_labels_are_rounded(tmp_path: Path) -> None:
    on_disk = np.array([-4e-4, 0.99999997, 2.0009, 3.9991], np.float64).reshape(4, 1, 1)
    assert read_labels(save(tmp_path / "s.nii", on_disk)).voxels.ravel().tolist() == [0, 1, 2, 4]


def test_a_map_without_tumour_is_valid(tmp_path: Path) -> None:
    assert not read_labels(save(tmp_path / "s.nii", np.zeros((4, 3, 2), np.uint8))).voxels.any()


@pytest.mark.parametrize(("value", "shown"), [(1.002, "1.002"), (np.nan, "nan"), (np.inf, "inf")])
def test_labels_beyond_the_tolerance_are_refused(tmp_path: Path, value: float, shown: str) -> None:
    on_disk = np.zeros((4, 3, 2), np.float64)
    on_disk[1, 2, 1] = value
    assert text_of(read_labels, save(tmp_path / "s.nii", on_disk), error=LabelError) == (
        f"s.nii: 1 of its labels are not whole numbers (such as {shown}), expected integers to within 0.001; "
        "if they were resampled, use nearest neighbour, or take the argmax of scores."
    )


@pytest.mark.parametrize("value", [-1, 300])
def test_labels_outside_a_byte_are_refused(tmp_path: Path, value: int) -> None:
    on_disk = np.zeros((4, 3, 2), np.int16)
    on_disk[0, 0, 0] = value
    assert text_of(read_labels, save(tmp_path / "s.nii", on_disk), error=LabelError) == (
        f"s.nii: label {value}, expected 0 to 255; check that this is the segmentation."
    )


# files that cannot be used


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    assert text_of(read_image, path) == (
        f"{path}: no such file, expected a NIfTI file (.nii or .nii.gz); check the path."
    )


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    assert text_of(read_image, tmp_path) == (
        f"{tmp_path}: a folder, expected a NIfTI file (.nii or .nii.gz); give the file inside it."
    )


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("kept", [0.9, 0.5])
def test_truncated_gzip(tmp_path: Path, read: object, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 16), np.uint8)
    path = save(tmp_path / "a.nii.gz", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert text_of(read, path) == (
        "a.nii.gz: truncated or damaged, expected as many voxels as its header says; copy or download it again."
    )


def test_gzip_truncated_within_the_header(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", ramp((8, 8, 8)))
    path.write_bytes(path.read_bytes()[:30])
    assert text_of(read_image, path).startswith("a.nii.gz: ")


def test_truncated_uncompressed_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", ramp((8, 8, 8)))
    path.write_bytes(path.read_bytes()[:-100])
    assert "truncated or damaged" in text_of(read_image, path)


def test_one_channel_of_a_truncated_4d_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 16, 4), np.uint8)
    path = save(tmp_path / "a.nii.gz", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated or damaged" in text_of(read_image, path, channel=3)


def test_a_gzip_whose_checksum_fails(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 255, (32, 32, 16), np.uint8))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 64] = bytes(range(64))  # still unpacks, to other voxels
    path.write_bytes(bytes(damaged))
    assert "truncated or damaged" in text_of(read_image, path)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file, expected NIfTI content (.nii or .nii.gz); copy or download it again."),
        (b"<html>404</html>", "a web page or XML, expected NIfTI content (.nii or .nii.gz); download it again: its "),
        (gzip.compress(b"no image " * 100, mtime=0), "not a NIfTI image, expected NIfTI content (.nii or .nii.gz); "),
    ],
    ids=["empty", "html", "other"],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_not_nifti(tmp_path: Path, name: str, content: bytes, got: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert text_of(read_image, path).startswith(f"{name}: {got}")


@settings(max_examples=100, deadline=None)
@given(changes=st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=6))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, on absurd scales and forms
def test_a_damaged_header_is_read_or_refused_as_bad_data(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[int, int]
) -> None:
    content = bytearray(nibabel.Nifti1Image(ramp(), LPS).to_bytes())
    for place, value in changes.items():
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.nii"
    path.write_bytes(bytes(content))
    for read in (read_image, read_labels):
        with contextlib.suppress(MedsamError):
            read(path)


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (70, 9999, "its header has datatype 9999, expected a data type of NIfTI"),  # datatype
        (42, -5, "shape (-5, 3, 2), expected three axes"),  # dim[1]
        (42, 30_000, "truncated or damaged"),
    ],
)
def test_header_fields_that_make_no_sense(tmp_path: Path, place: int, value: int, text: str) -> None:
    content = bytearray(nibabel.Nifti1Image(ramp(), LPS).to_bytes())
    content[place : place + 2] = value.to_bytes(2, "little", signed=True)
    (tmp_path / "a.nii").write_bytes(bytes(content))
    assert text in text_of(read_image, tmp_path / "a.nii")


def test_another_medical_format(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(ramp(dtype=np.float32), LPS), tmp_path / "a.mgz")
    assert "a FreeSurfer image (.mgz), expected NIfTI content" in text_of(read_image, tmp_path / "a.mgz")


def test_4d_where_3d_is_expected(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", ramp((4, 3, 2, 4)))
    assert text_of(read_image, path) == (
        "a.nii.gz: shape (4, 3, 2, 4), expected three axes (x, y, z); it holds 4 channels: save one of them "
        "as a 3-D file, or in Python read it with read_image(path, channel=0 … 3)."
    )


def test_2d_where_3d_is_expected(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", ramp((4, 3)))
    assert text_of(read_image, path) == ("a.nii.gz: shape (4, 3), expected three axes (x, y, z); export a 3-D volume.")


@pytest.mark.parametrize(("shape", "channel"), [((4, 3, 2), 0), ((4, 3, 2, 4), 4), ((4, 3, 2, 4), -1)])
def test_a_channel_that_is_not_there(tmp_path: Path, shape: tuple[int, ...], channel: int) -> None:
    path = save(tmp_path / "a.nii.gz", ramp(shape))
    assert text_of(read_image, path, channel=channel) == (
        f"a.nii.gz: got channel {channel} for shape {shape}, expected 4 axes and that channel; check both."
    )


def test_colour_voxels(tmp_path: Path) -> None:
    colour = np.zeros((4, 3, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    assert "expected numbers; export grey values." in text_of(read_image, save(tmp_path / "a.nii", colour))


def test_an_affine_that_is_singular(tmp_path: Path) -> None:
    content = bytearray(nibabel.Nifti1Image(ramp(), LPS).to_bytes())
    content[254:256] = (2).to_bytes(2, "little")  # sform_code
    content[312:328] = bytes(16)  # srow_z
    (tmp_path / "a.nii").write_bytes(bytes(content))
    assert text_of(read_image, tmp_path / "a.nii") == (
        "a.nii: its affine is singular or not finite, expected an invertible one; repair its qform or sform."
    )


@pytest.mark.parametrize(("values", "count"), [([np.nan], "1 voxel"), ([np.inf, -np.inf, np.nan], "3 voxels")])
def test_voxels_that_are_not_finite(tmp_path: Path, values: list[float], count: str) -> None:
    on_disk = ramp(dtype=np.float32)
    on_disk.ravel()[: len(values)] = values
    assert text_of(read_image, save(tmp_path / "a.nii", on_disk)) == (
        f"a.nii: {count} NaN or infinite, expected none; replace them or leave it out."
    )


def test_float64_beyond_float32_is_not_finite(tmp_path: Path) -> None:
    on_disk = ramp(dtype=np.float64)
    on_disk[0, 0, 0] = 1e300
    assert "1 voxel NaN or infinite" in text_of(read_image, save(tmp_path / "a.nii", on_disk))


def test_constant_image(tmp_path: Path) -> None:
    assert text_of(read_image, save(tmp_path / "a.nii", np.full((4, 3, 2), 7, np.int16))) == (
        "a.nii: every voxel is 7, expected an image; export it again from the scan."
    )


def test_unreadable_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", ramp())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert text_of(read_image, path) == (
        f"{path}: not readable by this user, expected a NIfTI file; check its permissions."
    )


# two files, one grid


def test_one_grid_in_two_orientations_agrees(tmp_path: Path) -> None:
    on_disk = ramp()
    ras = nibabel.as_closest_canonical(nibabel.Nifti1Image(on_disk, LPS))
    nibabel.save(ras, tmp_path / "ras.nii")
    image, labels = read_image(save(tmp_path / "lps.nii", on_disk)), read_labels(tmp_path / "ras.nii")
    check_same_grid(image, labels)
    np.testing.assert_array_equal(image.voxels, labels.voxels)


def test_an_affine_that_differs_in_the_sixth_digit_agrees(tmp_path: Path) -> None:
    moved = LPS.copy()
    moved[0, 3], moved[1, 1] = 0.00099, -1.000009
    check_same_grid(read_image(save(tmp_path / "a.nii", ramp())), read_labels(save(tmp_path / "s.nii", ramp(), moved)))


PLACED = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])


def disagreement(tmp_path: Path, affine: np.ndarray | None, shape: tuple[int, ...] = (4, 3, 2)) -> str:
    """The refusal of a segmentation of that affine and shape on an image of 4 x 3 x 2 at PLACED."""
    image = read_image(save(tmp_path / "a.nii", ramp(), PLACED))
    labels = read_labels(save(tmp_path / "s.nii", ramp(shape), affine))
    return text_of(check_same_grid, image, labels, image_name="a.nii", labels_name="s.nii")


def test_an_affine_that_differs_more_is_refused(tmp_path: Path) -> None:
    moved = PLACED.copy()
    moved[0, 3] = 0.0015
    assert disagreement(tmp_path, moved) == (
        "s.nii: affine differs from that of a.nii by 0.0015, expected at most 0.001 in each entry; if it was drawn on "
        "this image, copy the image's header into it, else resample it onto the image's grid with nearest neighbour."
    )


@pytest.mark.parametrize("affine", [np.eye(4), LPS, None])
def test_a_mask_without_a_position_is_not_to_be_resampled(tmp_path: Path, affine: np.ndarray | None) -> None:
    assert disagreement(tmp_path, affine) == (
        "s.nii: no position in its header, expected that of a.nii, which has the same shape; copy the header of a.nii "
        "into it if both have the same voxels, and do not resample."
    )


@pytest.mark.parametrize(
    ("shape", "affine", "fix"),
    [
        ((4, 3, 1), PLACED, "export it again on the image's grid, or resample it with nearest neighbour."),
        (
            (4, 3, 1),
            np.eye(4),
            "its header has no position, so it cannot be resampled: export it ",
        ),
        ((2, 3, 4), PLACED, "its axes have another order, as of an array that was saved as (z, y, x): transpose it."),
    ],
)
def test_a_shape_that_differs_is_refused(tmp_path: Path, shape: tuple[int, ...], affine: np.ndarray, fix: str) -> None:
    expected = f"s.nii: shape {shape}, expected (4, 3, 2) as in a.nii; {fix}"
    assert disagreement(tmp_path, affine, shape).startswith(expected)


# writing


def test_writing_makes_missing_folders_and_leaves_one_file(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    write_mask(volume.voxels > 3, volume, tmp_path / "deep" / "er" / "m.nii.gz")
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["m.nii.gz"]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    for name in ("1.nii.gz", "2.nii.gz"):
        write_mask(volume.voxels > 3, volume, tmp_path / name)
    assert (tmp_path / "1.nii.gz").read_bytes() == (tmp_path / "2.nii.gz").read_bytes()


def test_a_mask_is_replaced_not_overwritten(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    write_mask(volume.voxels > 3, volume, tmp_path / "m.nii")
    before = (tmp_path / "m.nii").read_bytes()
    os.link(tmp_path / "m.nii", tmp_path / "open elsewhere")
    write_mask(volume.voxels > 9, volume, tmp_path / "m.nii")
    assert (tmp_path / "open elsewhere").read_bytes() == before != (tmp_path / "m.nii").read_bytes()


def test_a_big_endian_file(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(ramp(), LPS, header), tmp_path / "a.nii.gz")
    volume = read_image(tmp_path / "a.nii.gz")
    assert volume.voxels[1, 2, 3] == 23
    assert volume.voxels.dtype.isnative
    write_mask(volume.voxels > 20, volume, tmp_path / "m.nii")
    assert read_labels(tmp_path / "m.nii").voxels.sum() == 3


def test_an_empty_and_a_label_mask_are_written(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    for value in (0, 4):
        write_mask(np.full(volume.shape, value, np.uint8), volume, tmp_path / "m.nii")
        assert np.unique(read_labels(tmp_path / "m.nii").voxels).tolist() == [value]


def test_a_mask_of_another_shape(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    assert text_of(write_mask, np.zeros((4, 3, 2), bool), volume, tmp_path / "m.nii", error=ShapeMismatch) == (
        "m.nii: mask of shape (4, 3, 2), expected (2, 3, 4); pass the volume that it was made from."
    )


def test_a_mask_of_another_dtype(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    assert text_of(write_mask, volume.voxels, volume, tmp_path / "m.nii", error=MaskError) == (
        "m.nii: mask of dtype float32, expected bool or uint8; threshold it first."
    )


def test_a_mask_file_of_another_kind(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    path = tmp_path / "m.png"
    assert text_of(write_mask, volume.voxels > 3, volume, path) == (
        f"{path}: unknown ending, expected .nii, .nii.gz or .npz; rename the output file."
    )


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    (tmp_path / "taken").write_text("a file")
    path = tmp_path / "taken" / "sub" / "m.nii"
    assert text_of(write_mask, volume.voxels > 3, volume, path) == (
        f"{path}: cannot be written (Not a directory); choose a folder with free space that this user may write to."
    )


def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    (tmp_path / "shut").mkdir(mode=0o555)
    if os.access(tmp_path / "shut", os.W_OK):
        pytest.skip("this user may write everywhere")
    assert "cannot be written (Permission denied)" in text_of(
        write_mask, volume.voxels > 3, volume, tmp_path / "shut" / "m.nii"
    )


def test_a_write_that_fails_leaves_the_old_mask_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = read_image(save(tmp_path / "a.nii", ramp()))
    write_mask(volume.voxels > 3, volume, tmp_path / "m.nii")
    before = (tmp_path / "m.nii").read_bytes()

    def disk_full(_image: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", disk_full)
    assert "(No space left on device)" in text_of(write_mask, volume.voxels > 9, volume, tmp_path / "m.nii")
    assert (tmp_path / "m.nii").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii", "m.nii"]


@pytest.mark.parametrize("codes", ["LPS", "RAS", "AIL", "SPR"])
@pytest.mark.parametrize("unit", ["mm", "meter"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_header_alone_says_where_the_volume_is(tmp_path: Path, codes: str, unit: str, name: str) -> None:
    affine = tilted(codes, (1.5, 2.0, 3.0))
    affine[:3] *= 0.001 if unit == "meter" else 1
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / name)
    volume, place = read_image(tmp_path / name), read_placement(tmp_path / name)
    assert (place.shape, place.spacing_mm) == (volume.shape, volume.spacing_mm)
    assert place.grid.orientation == codes
    np.testing.assert_array_equal(place.affine, volume.affine)
    check_same_grid(place, volume)


def test_the_header_alone_of_a_channel_of_an_npz_and_of_a_truncated_file(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(3, 4, 5, 2), np.eye(4)), tmp_path / "a.nii")
    assert read_placement(tmp_path / "a.nii", channel=1).shape == (5, 4, 3)
    with pytest.raises(DataError, match=r"a\.nii: shape \(3, 4, 5, 2\), expected three axes"):
        read_placement(tmp_path / "a.nii")
    np.savez(tmp_path / "a.npz", imgs=np.arange(60, dtype=np.uint8).reshape(5, 4, 3), spacing=[1.0, 2.0, 3.0])
    assert read_placement(tmp_path / "a.npz").spacing_mm == (3.0, 2.0, 1.0)
    for length, got in ((100, "an Analyze 7.5 header, or a NIfTI header without its mark"), (0, "an empty file")):
        (tmp_path / "b.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:length])
        with pytest.raises(DataError, match=f"b.nii: {got}"):
            read_placement(tmp_path / "b.nii")
    (tmp_path / "c.nii.gz").write_bytes(b"\x1f\x8b\x08" + b"\xff" * 50)
    with pytest.raises(DataError, match=r"c\.nii\.gz: "):
        read_placement(tmp_path / "c.nii.gz")
