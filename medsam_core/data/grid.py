"""Voxels with their position: the grid of a file, the volume in LPS, and whether two files are on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from medsam_core.errors import DataError

Array = np.ndarray[Any, Any]

AFFINE_TOLERANCE = 1e-3  # per entry: released files differ in the 6th digit, a real shift is larger


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a file: what `write_mask` needs to put a mask exactly on top of its image."""

    shape: tuple[int, ...]
    """On disk, (x, y, z), with a trailing 1 for each singleton axis of the file; without the channel axis."""
    affine: Array
    """(4, 4) float64, voxel indices on disk -> RAS in the header's unit, sform before qform as in nibabel."""
    orientation: str
    """The direction in which the index of each axis on disk grows, such as "LPS" or "RAS"."""
    header: Any
    """The file's NIfTI header; its qform, sform, their codes and the units are written into the mask."""
    mm_per_unit: float = 1.0
    """Length of the header's spatial unit: 1000 for metres, 0.001 for microns."""
    positioned: bool = True
    """Whether the file states where it is in space; False for no form in the header, or for the identity."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a volume is, known from a header alone."""

    shape: tuple[int, int, int]
    """(D, H, W), turned into LPS."""
    affine: Array
    """(4, 4) float64, as `Volume.affine`."""
    grid: Grid
    """The grid of the file."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """As `Volume.spacing_mm`."""
        return _spacing_of(self.affine)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels in LPS with their position in the scanner."""

    voxels: Array
    """(D, H, W), C-contiguous; float32 for an image, uint8 for labels."""
    affine: Array
    """(4, 4) float64; `affine @ (x, y, z, 1)` is the RAS position in mm of `voxels[z, y, x]`."""
    grid: Grid
    """The grid of the file that was read."""
    channels: tuple[Array, ...] = ()
    """The three sequences that the model sees as red, green and blue, each as `voxels`, which is the first; else ()."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the voxels."""
        depth, height, width = self.voxels.shape
        return depth, height, width

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels, mm, as (dz, dy, dx): in the order of the array's axes."""
        return _spacing_of(self.affine)


def _spacing_of(affine: Array) -> tuple[float, float, float]:
    dx, dy, dz = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(dz), float(dy), float(dx)


def turned(raw: Array, grid: Grid, dtype: Any) -> Volume:
    """The volume of (x, y, z) on disk; for an LPS file of that dtype it shares its memory."""
    import nibabel

    turn = orientation_change(grid.orientation, "LPS")
    voxels = nibabel.apply_orientation(raw, turn).transpose(2, 1, 0)
    return Volume(np.ascontiguousarray(voxels, dtype=dtype), placement(grid).affine, grid)


def placement(grid: Grid) -> Placement:
    """Where the volume of a file is after it was turned into LPS."""
    import nibabel

    turn = orientation_change(grid.orientation, "LPS")
    affine = in_mm(grid.affine, grid.mm_per_unit) @ nibabel.orientations.inv_ornt_aff(turn, grid.shape[:3])
    lengths = dict(zip(turn[:, 0].astype(int).tolist(), grid.shape[:3], strict=True))
    return Placement((lengths[2], lengths[1], lengths[0]), np.asarray(affine), grid)


def in_mm(affine: Array, mm_per_unit: float) -> Array:
    """An affine of the header's unit in mm. 0.001 m is 1 mm, not the 1.00000005 mm that its float32 would give."""
    if mm_per_unit == 1:
        return affine
    converted = affine.copy()
    converted[:3] = np.vectorize(lambda one: float(Decimal(str(np.float32(one))) * Decimal(str(mm_per_unit))))(
        affine[:3]
    )
    return converted


def orientation_change(start: str, end: str) -> Array:
    """nibabel's table of axes and flips from one orientation to another, such as "RAS" to "LPS"."""
    import nibabel

    ornt = nibabel.orientations
    return np.asarray(ornt.ornt_transform(ornt.axcodes2ornt(tuple(start)), ornt.axcodes2ornt(tuple(end))))


def is_identity(affine: Array) -> bool:
    """Whether an affine is what tools write for an array without a position: 1 mm, no turn, origin 0, in RAS or LPS."""
    plain = np.eye(4)
    return bool(np.allclose(np.abs(affine[:3, :3]), plain[:3, :3], atol=1e-6) and not affine[:3, 3].any())


def check_same_grid(
    image: Volume | Placement,
    labels: Volume | Placement,
    *,
    image_name: str = "the image",
    labels_name: str = "the segmentation",
) -> None:
    """Raise DataError, naming both files, if a segmentation is not on its image's grid.

    Both are compared in LPS, so two files on one grid agree whatever their orientations. Affines may differ by 1e-3 in
    each entry. The advice depends on what is known: resampling a mask whose header has no position destroys it.
    """
    if image.shape != labels.shape:
        got, wanted = labels.shape[::-1], image.shape[::-1]
        fix = "export it again on the image's grid, or resample it with nearest neighbour"
        if sorted(got) == sorted(wanted):
            fix = "its axes have another order, as of an array that was saved as (z, y, x): transpose it"
        elif not labels.grid.positioned:
            fix = "its header has no position, so it cannot be resampled: export it again on the image's grid"
        raise DataError(f"{labels_name}: shape {got}, expected {wanted} as in {image_name}; {fix}.")
    if _same_place(labels, image):
        return
    if not labels.grid.positioned or not image.grid.positioned:
        without, other = (labels_name, image_name) if not labels.grid.positioned else (image_name, labels_name)
        raise DataError(
            f"{without}: no position in its header, expected that of {other}, which has the same shape; copy the "
            f"header of {other} into it if both have the same voxels, and do not resample."
        )
    worst = float(np.abs(labels.affine - image.affine).max())
    raise DataError(
        f"{labels_name}: affine differs from that of {image_name} by {worst:.4g}, expected at most "
        f"{AFFINE_TOLERANCE:g} in each entry; if it was drawn on this image, copy the image's header into it, else "
        "resample it onto the image's grid with nearest neighbour."
    )


def check_same_image_grid(first: Volume, other: Volume, first_name: str, other_name: str) -> None:
    """Raise DataError, naming both files, if two sequences of one image are not on one grid, within 1e-3 of an affine.

    Both are compared in LPS.
    """
    fix = f"register {other_name} to {first_name} and resample it onto its grid, or give a single --medsam-modality"
    if first.shape != other.shape:
        raise DataError(
            f"{other_name}: shape {other.shape[::-1]}, expected {first.shape[::-1]} as in {first_name}, because they "
            f"are colours of one image; {fix}."
        )
    if not _same_place(first, other):
        worst = float(np.abs(first.affine - other.affine).max())
        raise DataError(
            f"{other_name}: affine differs from that of {first_name} by {worst:.4g}, expected at most "
            f"{AFFINE_TOLERANCE:g} in each entry, because they are colours of one image; {fix}."
        )


def _same_place(one: Volume | Placement, other: Volume | Placement) -> bool:
    return np.allclose(one.affine, other.affine, rtol=1e-6, atol=AFFINE_TOLERANCE)
