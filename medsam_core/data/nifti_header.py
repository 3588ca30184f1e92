"""What a NIfTI header says, or why it cannot be believed: no fault is passed over and none is repaired by a guess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsam_core.data.grid import Array, is_identity
from medsam_core.errors import DataError
from medsam_core.text import size_of

LARGEST_VOLUME = 2**27
"""Voxels of the largest volume that is read, 512³: fifteen times BraTS's."""
SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 50.0
NO_UNIT = "unknown unit"
_UNITS = {0: (NO_UNIT, 1.0), 1: ("m", 1000.0), 2: ("mm", 1.0), 3: ("µm", 0.001)}
"""Code in xyzt_units -> name and millimetres. Code 0 means mm by custom: BraTS's own files have it."""
_QUATERNION_SLACK = 1e-4  # of the sum of squares: float32 writers exceed 1 by some 1e-6


@dataclass(frozen=True, eq=False)
class Stored:
    """How the voxels are stored in a file, and where they are in space."""

    shape: tuple[int, ...]
    """All axes on disk, (x, y, z, …)."""
    dtype: Any
    """In the file's byte order."""
    offset: int
    """Bytes before the first voxel."""
    slope: float
    inter: float
    """Intensity = slope * stored + inter."""
    affine: Array
    """(4, 4) float64, voxel indices -> RAS in the header's unit."""
    mm_per_unit: float
    positioned: bool
    """Whether a form says where the image is, and it is not the identity."""
    header: Any
    """nibabel's header."""

    @property
    def end(self) -> int:
        """Bytes up to the end of the last voxel."""
        return self.offset + math.prod(self.shape) * int(self.dtype.itemsize)


def parse_header(name: str, head: bytes, *, largest: int) -> Stored:
    """The header in the first bytes of a file.

    name: the file's, for the errors. head: at least 348 bytes (NIfTI-1) or 540 (NIfTI-2), with a valid magic.
    largest: how many bytes the voxels may take.
    Raises DataError that names the field: shape, data type, size, voxel offset, scale, units, spacing and forms.
    """
    import nibabel

    modern = head[4:8] == b"n+2\0"
    kind, length = (nibabel.Nifti2Header, 540) if modern else (nibabel.Nifti1Header, 348)
    if len(head) < length:
        raise DataError(f"{name}: {len(head)} bytes, expected a header of {length}; copy or download it again.")
    header = kind(head[:length], check=False)
    if int(header["sizeof_hdr"]) != length:
        raise _wrong(name, "sizeof_hdr", header["sizeof_hdr"], f"{length}", "the header is damaged: export it again")
    shape = _shape(name, header)
    dtype = _dtype(name, header)
    offset = _offset(name, header, length + 4)
    bytes_needed = math.prod(shape) * dtype.itemsize
    if math.prod(shape[:3]) > LARGEST_VOLUME or offset + bytes_needed > largest:
        asked = " × ".join(map(str, shape))
        raise DataError(
            f"{name}: its header asks for {asked} voxels of {dtype.name} ({_size(bytes_needed)}), expected at most "
            f"{LARGEST_VOLUME:,} voxels in a volume and {size_of(largest)}; crop or resample it, or repair its header."
        )
    try:
        slope, inter = header.get_slope_inter()
    except nibabel.spatialimages.HeaderDataError:
        raise _wrong(name, "scl_inter", header["scl_inter"], "a finite number", "repair its scale") from None
    mm_per_unit = _unit(name, header)
    affine, positioned = _position(name, header, shape[:3], mm_per_unit)
    slope, inter = 1.0 if slope is None else slope, 0.0 if inter is None else inter
    return Stored(shape, dtype, offset, slope, inter, affine, mm_per_unit, positioned, header)


def _wrong(name: str, field: str, got: Any, wanted: str, fix: str) -> DataError:
    value = f"{float(got):.7g}" if np.ndim(got) == 0 else ", ".join(f"{float(one):.5g}" for one in got)
    return DataError(f"{name}: its header has {field} {value}, expected {wanted}; {fix}.")


def _size(count: int) -> str:
    return size_of(count) if count < 2**60 else f"{float(count):.2g} bytes"


def _shape(name: str, header: Any) -> tuple[int, ...]:
    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise _wrong(name, "dim[0]", axes, "the number of axes, 1 to 7", "the header is damaged: export it again")
    shape = tuple(int(length) for length in header["dim"][1 : axes + 1])
    if len(shape) < 3 or min(shape) < 1:
        raise DataError(f"{name}: shape {shape}, expected three axes (x, y, z); export a 3-D volume.")
    return shape


def _dtype(name: str, header: Any) -> Any:
    import nibabel

    code = int(header["datatype"])
    try:
        dtype: Any = nibabel.nifti1.data_type_codes.dtype[code]
    except KeyError:
        raise _wrong(name, "datatype", code, "a data type of NIfTI", "the header is damaged: export it again") from None
    dtype = np.dtype(dtype)
    if dtype.kind not in "iuf":
        what = {"c": "complex numbers", "V": "colours or bits"}.get(dtype.kind, str(dtype))
        raise DataError(f"{name}: voxels of type {dtype} ({what}), expected numbers; export grey values.")
    return dtype.newbyteorder(header.endianness)


def _offset(name: str, header: Any, smallest: int) -> int:
    offset = float(header["vox_offset"])
    if not offset.is_integer() or offset < smallest:
        raise _wrong(
            name, "vox_offset", offset, f"{smallest} or more: the voxels begin behind the header",
            "save it again with a tool that writes NIfTI",
        )  # fmt: skip
    return int(offset)


def unit_of(header: Any) -> str:
    """The name of a believed header's unit: "mm", "m", "µm" or "unknown unit"."""
    return _UNITS[int(header["xyzt_units"]) & 7][0]


def _unit(name: str, header: Any) -> float:
    code = int(header["xyzt_units"]) & 7
    if code not in _UNITS:
        raise _wrong(name, "spatial unit", code, "0 (unknown), 1 (m), 2 (mm) or 3 (µm) in xyzt_units", "repair it")
    return _UNITS[code][1]


def _position(name: str, header: Any, shape: Sequence[int], mm_per_unit: float) -> tuple[Array, bool]:
    """The affine in the header's unit, sform before qform, and whether the file has a position of its own."""
    unit = unit_of(header)
    forms = {}
    for form in ("sform", "qform"):
        code = int(header[f"{form}_code"])
        if not 0 <= code <= 5:
            raise _wrong(name, f"{form}_code", code, "0 to 5", "repair its forms")
        forms[form] = code
    _check_quaternion(name, header, forms["qform"])
    pixdim = np.asarray(header["pixdim"][1:4], np.float64)
    _check_spacing(name, "pixdim", pixdim, mm_per_unit, unit)
    affine = np.asarray(header.get_best_affine(), np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3] * mm_per_unit)) < 1e-12:
        raise DataError(
            f"{name}: its affine is singular or not finite, expected an invertible one; repair its qform or sform."
        )
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    _check_spacing(name, "sform", spacing, mm_per_unit, unit)
    # without a qform, pixdim alone is the second statement: of how long a side is
    sides = np.abs(spacing - pixdim) * np.maximum(np.asarray(shape) - 1, 1)
    apart = float((sides / spacing).max())
    if forms["sform"] and forms["qform"]:
        apart = max(apart, _apart(affine, np.asarray(header.get_qform(), np.float64), shape) / float(spacing.min()))
    if apart > 1:
        second = "qform" if forms["qform"] else "pixdim"
        raise DataError(
            f"{name}: its sform and {second} disagree by {apart:.3g} voxels, expected less than 1; copy the right one "
            "over the other, in nibabel with set_sform or set_qform."
        )
    return affine, bool(any(forms.values()) and not is_identity(affine * np.array([[mm_per_unit]] * 3 + [[1]])))


def _check_quaternion(name: str, header: Any, code: int) -> None:
    """Refuse a quaternion that is no rotation; one that exceeds length 1 by rounding is shortened in the header."""
    factor = float(header["pixdim"][0])
    if factor not in (-1.0, 1.0):
        if code and factor != 0:
            raise _wrong(name, "pixdim[0]", factor, "1 or -1", "repair its qform")
        header["pixdim"][0] = 1  # as the standard says for 0; without a qform the field means nothing
    fields = ("quatern_b", "quatern_c", "quatern_d")
    vector = np.array([float(header[field]) for field in fields])
    squares = float((vector**2).sum())
    if not code or squares <= 1:
        return
    if not squares <= 1 + _QUATERNION_SLACK:
        raise _wrong(name, "quaternion", vector, "a rotation, with squares that sum to 1 at most", "repair its qform")
    for field, value in zip(fields, vector / math.sqrt(squares), strict=True):
        header[field] = value


def _check_spacing(name: str, field: str, spacing: Array, mm_per_unit: float, unit: str) -> None:
    in_mm = spacing * mm_per_unit
    if not ((in_mm >= SMALLEST_SPACING_MM * (1 - 1e-6)) & (in_mm <= LARGEST_SPACING_MM * (1 + 1e-6))).all():
        got = " × ".join(f"{float(one):.5g}" for one in spacing)
        raise DataError(
            f"{name}: its header has a spacing of {got} {unit} ({field}), expected {SMALLEST_SPACING_MM:g} to "
            f"{LARGEST_SPACING_MM:g} mm; repair the header from the scan."
        )


def _apart(one: Array, other: Array, shape: Sequence[int]) -> float:
    """The largest distance between the places that two affines give to a corner of the image, in their unit."""
    ends = [(0, length - 1) for length in shape]
    corners = np.array([(x, y, z, 1) for x in ends[0] for y in ends[1] for z in ends[2]], np.float64).T
    return float(np.sqrt((((one - other) @ corners)[:3] ** 2).sum(axis=0)).max())
