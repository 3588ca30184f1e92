"""The CVPR25 challenge's .npz files: `imgs`, `gts` (or `segs`) and `spacing` are read; nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.data.grid import Array, Grid
from medsam_core.data.nifti import LARGEST_FILE
from medsam_core.data.nifti_header import LARGEST_SPACING_MM, LARGEST_VOLUME, SMALLEST_SPACING_MM
from medsam_core.errors import DataError
from medsam_core.files import opened
from medsam_core.text import size_of

IMAGES, LABELS = ("imgs",), ("gts", "segs")
"""Names of the arrays that hold an image, and a label map: the truth's, and a prediction's."""
_WHAT = "an .npz file"


def read_npz(path: Path, names: tuple[str, ...]) -> tuple[Array, Grid]:
    """The first of the named arrays as (x, y, z), and its grid: LPS with the file's spacing and origin 0.

    Arrays are (D, H, W); `spacing` is (x, y, z) in mm. Only these are read: the boxes are pickled objects.
    Raises DataError for a file that is damaged, too large, or without such an array or a spacing.
    """
    import nibabel

    with opened(path, largest=LARGEST_FILE, what=_WHAT, error=DataError) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                held = {name.removesuffix(".npy"): name for name in archive.namelist()}
                name = next((name for name in names if name in held), None)
                if name is None or "spacing" not in held:
                    lacking = "spacing" if name else " or ".join(names)
                    raise _bad(path, f"no array {lacking} among {', '.join(sorted(held)) or 'none'}")
                voxels = _array(path, archive, held[name], axes=3)
                spacing = _array(path, archive, held["spacing"], axes=1).astype(np.float64)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as problem:
            raise DataError(f"{path.name}: a damaged .npz file ({problem}); copy or download it again.") from None
    fits = spacing.shape == (3,) and ((spacing >= SMALLEST_SPACING_MM) & (spacing <= LARGEST_SPACING_MM)).all()
    if not fits:
        raise _bad(
            path,
            f"spacing {spacing.tolist()}, which is not three lengths of {SMALLEST_SPACING_MM:g} to "
            f"{LARGEST_SPACING_MM:g} mm",
        )
    raw = np.asfortranarray(voxels.transpose(2, 1, 0))
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    image = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.uint8), affine)
    image.header.set_xyzt_units("mm")
    return raw, Grid(raw.shape, affine, "LPS", image.header, positioned=True)


def _array(path: Path, archive: zipfile.ZipFile, name: str, *, axes: int) -> Array:
    """One array of the archive, checked by its header before any of it is unpacked."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        label = Path(name).stem
        if dtype.kind not in "iufb":
            raise _bad(path, f"{label} of {dtype}, not of numbers")
        if len(shape) != axes or min(shape) < 1:
            raise _bad(path, f"{label} of shape {shape}, not {'(D, H, W)' if axes == 3 else '(3,)'}")
        size = math.prod(shape) * dtype.itemsize
        if math.prod(shape) > LARGEST_VOLUME or size > LARGEST_FILE:
            raise _bad(path, f"{label} of shape {shape} ({size_of(size)}), more than {LARGEST_VOLUME:,} voxels")
        content = bytearray(member.read(size + 1))
        if len(content) != size:
            raise _bad(path, f"{label} of {len(content)} bytes where its shape {shape} of {dtype} has {size}")
        order: Any = "F" if fortran else "C"
        array = np.frombuffer(content, dtype).reshape(shape, order=order)
        return array.astype(np.uint8) if dtype.kind == "b" else array


def _bad(path: Path, got: str) -> DataError:
    return DataError(
        f"{path.name}: got {got}, expected imgs and gts (D, H, W) with spacing (x, y, z) in mm as in the CVPR25 "
        "challenge; save it like that."
    )
