"""A three-dimensional image or label map, read from NIfTI into one orientation and written back on its own grid.

Inside the package every array is (D, H, W) in LPS, BraTS's own orientation: axis 0 runs from inferior to superior,
axis 1 toward posterior, axis 2 toward the patient's left, so that `voxels[k]` is the axial slice a model sees. A file
in any of the 48 orientations is turned to LPS on reading, and a mask is turned back on writing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.data.nifti import DAMAGED, mask_header, open_nifti, truncated
from medsam_core.errors import DataError, LabelError, MaskError, ShapeMismatch
from medsam_core.files import written_whole
from medsam_core.text import counted

Array = np.ndarray[Any, Any]

AFFINE_TOLERANCE = 1e-3  # per entry: released files differ in the 6th digit, a real shift is larger
LABEL_TOLERANCE = 1e-3  # segmentations saved as float have values such as 0.99999997


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a file: what `write_mask` needs to put a mask exactly on top of its image."""

    shape: tuple[int, ...]
    """On disk, (x, y, z), with a trailing 1 for each singleton axis of the file; without the channel axis."""
    affine: Array
    """(4, 4) float64, voxel indices on disk -> RAS mm, as nibabel chooses it (sform before qform)."""
    orientation: str
    """The direction in which the index of each axis on disk grows, such as "LPS" or "RAS"."""
    header: Any
    """The file's NIfTI header; its qform, sform, their codes and the units are written into the mask."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels in LPS with their position in the scanner."""

    voxels: Array
    """(D, H, W), C-contiguous; float32 for an image, uint8 for labels."""
    affine: Array
    """(4, 4) float64; `affine @ (x, y, z, 1)` is the RAS position in mm of `voxels[z, y, x]`."""
    grid: Grid
    """The grid of the file that was read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the voxels."""
        depth, height, width = self.voxels.shape
        return depth, height, width

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels, mm, as (dz, dy, dx): in the order of the array's axes."""
        dx, dy, dz = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(dz), float(dy), float(dx)


def read_image(path: str | os.PathLike[str], *, channel: int | None = None) -> Volume:
    """The intensities of a NIfTI file as float32, turned into LPS.

    path: .nii or .nii.gz with three axes; trailing axes of length 1 are accepted.
    channel: index on the fourth axis of a 4-D file (Medical Segmentation Decathlon); None for a 3-D file.
    Intensities have the file's scale (slope and intercept applied); background may be negative.
    Raises DataError for a file that is missing, truncated, not NIfTI or of the wrong shape, and for an image with NaN
    or Inf or with the same value in every voxel (nothing can be segmented in it).
    """
    path = Path(path)
    raw, grid = _content(path, channel)
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes Inf and is refused below
        volume = _turned(raw, grid, np.float32)
    voxels = volume.voxels
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite(low + high):  # NaN and Inf reach min or max, so these two check all voxels
        count = int(voxels.size - np.isfinite(voxels).sum())
        raise DataError(
            f"{path.name}: {counted(count, 'voxel')} NaN or infinite, expected none; replace them or leave it out."
        )
    if low == high:
        raise DataError(f"{path.name}: every voxel is {low:g}, expected an image; export it again from the scan.")
    return volume


def read_labels(path: str | os.PathLike[str]) -> Volume:
    """A label map as uint8, turned into LPS.

    path: .nii or .nii.gz with three axes; trailing axes of length 1 are accepted.
    Values within 1e-3 of an integer are rounded (float exports have 0.99999997). A map of zeros is valid: no tumour.
    Whether the values fit a label convention is not checked here (see `regions.check_labels`).
    Raises LabelError for a value that is no integer in 0 … 255, DataError as `read_image` does for the file.
    """
    path = Path(path)
    raw, grid = _content(path)
    if raw.dtype.kind == "f":
        raw = _rounded(path, raw)
    low, high = int(raw.min()), int(raw.max())
    if low < 0 or high > 255:
        raise LabelError(
            f"{path.name}: label {low if low < 0 else high}, expected 0 to 255; check that this is the segmentation."
        )
    return _turned(raw, grid, np.uint8)


def write_mask(mask: Array, like: Volume, path: str | os.PathLike[str]) -> None:
    """Write a mask as NIfTI (uint8) on the grid of the file that `like` was read from.

    mask: (D, H, W) bool or uint8, the shape of `like`; an empty mask is written too.
    path: .nii or .nii.gz; missing parent folders are created.
    Shape, affine, qform, sform and their codes are the source's, so 3D Slicer shows the mask on top of its image. The
    file appears whole or not at all.
    Raises ShapeMismatch, MaskError for another dtype, DataError if the file cannot be written there.
    """
    import nibabel

    path = Path(path)
    if mask.shape != like.shape:
        raise ShapeMismatch(
            f"{path.name}: mask of shape {mask.shape}, expected {like.shape}; pass the volume that it was made from."
        )
    if mask.dtype not in (np.bool_, np.uint8):
        raise MaskError(f"{path.name}: mask of dtype {mask.dtype}, expected bool or uint8; threshold it first.")
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise DataError(f"{path}: unknown ending, expected .nii or .nii.gz; rename the output file.")
    grid = like.grid
    on_disk = np.asfortranarray(
        nibabel.apply_orientation(mask.astype(np.uint8).transpose(2, 1, 0), _ornt_transform("LPS", grid.orientation))
    ).reshape(grid.shape, order="F")
    header = mask_header(grid.header)
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    fix = "choose a folder with free space that this user may write to"
    with written_whole(path, error=DataError, fix=fix, make_folder=True) as partial:
        nibabel.save(kind(on_disk, grid.affine, header), partial)


def check_same_grid(
    image: Volume, labels: Volume, *, image_name: str = "the image", labels_name: str = "the segmentation"
) -> None:
    """Raise DataError, naming both files, if a segmentation is not on its image's grid.

    Both are compared in LPS, so two files on one grid agree whatever their orientations. Affines may differ by 1e-3 in
    each entry.
    """
    if image.shape != labels.shape:
        raise DataError(
            f"{labels_name}: shape {labels.shape[::-1]}, expected {image.shape[::-1]} as in {image_name}; resample it."
        )
    if not np.allclose(labels.affine, image.affine, rtol=1e-6, atol=AFFINE_TOLERANCE):
        worst = float(np.abs(labels.affine - image.affine).max())
        raise DataError(
            f"{labels_name}: affine differs from that of {image_name} by {worst:.4g}, expected at most "
            f"{AFFINE_TOLERANCE:g} in each entry; resample the segmentation onto the image's grid."
        )


def _grid(path: Path, image: Any, channel: int | None) -> Grid:
    """The file's grid, after a check of axes, data type and affine; no voxel is read."""
    import nibabel

    shape = tuple(int(length) for length in image.shape)
    spatial, rest = shape[:3], shape[3:]
    if channel is not None:
        if len(shape) != 4 or not 0 <= channel < shape[3]:
            raise DataError(
                f"{path.name}: got channel {channel} for shape {shape}, expected 4 axes and that channel; check both."
            )
        rest = ()
    if len(spatial) < 3 or min(spatial) < 1 or any(length != 1 for length in rest):
        fix = f"name a channel from 0 to {rest[0] - 1}" if len(rest) == 1 and rest[0] > 1 else "export a 3-D volume"
        raise DataError(f"{path.name}: shape {shape}, expected three axes (x, y, z); {fix}.")
    if image.get_data_dtype().kind not in "iuf":
        raise DataError(f"{path.name}: voxels of type {image.get_data_dtype()}, expected numbers; export grey values.")
    affine = np.asarray(image.affine, dtype=np.float64)
    codes = tuple(map(str, nibabel.aff2axcodes(affine))) if np.isfinite(affine).all() else ("None",)
    if "None" in codes or abs(np.linalg.det(affine[:3, :3])) < 1e-12:  # nibabel finds no direction for an axis
        raise DataError(
            f"{path.name}: its affine is singular or not finite, expected an invertible one; repair its qform or sform."
        )
    return Grid(spatial + rest, affine, "".join(codes), image.header.copy())


def _content(path: Path, channel: int | None = None) -> tuple[Array, Grid]:
    """The file's voxels (x, y, z) in its own orientation, in its own dtype unless they are scaled, and their grid."""
    image = open_nifti(path)
    grid = _grid(path, image, channel)
    try:
        raw = np.asarray(image.dataobj if channel is None else image.dataobj[..., channel])
    except DAMAGED as error:
        raise truncated(path) from error
    return raw.reshape(raw.shape[:3]), grid


def _rounded(path: Path, raw: Array) -> Array:
    nearest = np.rint(raw)
    with np.errstate(invalid="ignore"):  # Inf - Inf
        distance = np.abs(raw - nearest)
    wrong = ~(distance <= LABEL_TOLERANCE)  # negated, so that NaN and Inf are wrong too
    if wrong.any():
        raise LabelError(
            f"{path.name}: {int(wrong.sum()):,} of its labels are not whole numbers (such as {raw[wrong].flat[0]:g}), "
            f"expected integers to within {LABEL_TOLERANCE:g}; resample segmentations with nearest neighbour."
        )
    return np.asarray(nearest)


def _ornt_transform(start: str, end: str) -> Array:
    import nibabel

    ornt = nibabel.orientations
    return np.asarray(ornt.ornt_transform(ornt.axcodes2ornt(tuple(start)), ornt.axcodes2ornt(tuple(end))))


def _turned(raw: Array, grid: Grid, dtype: Any) -> Volume:
    """The volume of (x, y, z) on disk; for an LPS file no more than a cast."""
    import nibabel

    turn = _ornt_transform(grid.orientation, "LPS")
    voxels = nibabel.apply_orientation(raw, turn).transpose(2, 1, 0)
    affine = grid.affine @ nibabel.orientations.inv_ornt_aff(turn, grid.shape[:3])
    return Volume(np.ascontiguousarray(voxels, dtype=dtype), np.asarray(affine), grid)
