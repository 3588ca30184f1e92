"""MetaImage (.mha) and NRRD (.nrrd) files, read through SimpleITK where the extra `[formats]` is installed."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from medsam_core.data.grid import Array, Grid, is_identity
from medsam_core.data.nifti import LARGEST_FILE
from medsam_core.data.nifti_header import LARGEST_SPACING_MM, LARGEST_VOLUME, SMALLEST_SPACING_MM
from medsam_core.errors import DataError
from medsam_core.files import opened

ENDINGS = (".mha", ".nrrd")
_SIZES = re.compile(rb"^(?:DimSize\s*=|sizes:)\s*(.+?)\s*$", re.MULTILINE)
_ELSEWHERE = re.compile(
    rb"^(?:ElementDataFile\s*=(?!\s*LOCAL\b)|data ?file:)\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE
)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_other(path: Path) -> tuple[Array, Grid]:
    """The voxels (x, y, z) in the file's own dtype, and their grid; a mask is written as NIfTI on it.

    Raises DataError if SimpleITK is not installed, and for a file that is missing, too large, damaged, not 3-D, whose
    voxels are in another file, or whose spacing is absurd.
    """
    try:
        import SimpleITK
    except ImportError:
        raise DataError(
            f"{path.name}: a {path.suffix} file, expected NIfTI, as SimpleITK is not installed; convert it to .nii.gz, "
            "or install medsam-core[formats]."
        ) from None
    _check_header(path)
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError:
        raise DataError(f"{path.name}: damaged, or no {path.suffix} file; copy or download it again.") from None
    shape, components = image.GetSize(), image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 3 or components != 1:
        raise DataError(
            f"{path.name}: shape {shape} with {components} values in a voxel, expected three axes (x, y, z) and one; "
            "export a 3-D volume."
        )
    spacing = image.GetSpacing()
    if not all(SMALLEST_SPACING_MM <= one <= LARGEST_SPACING_MM for one in spacing):
        raise DataError(
            f"{path.name}: a spacing of {' × '.join(f'{one:.5g}' for one in spacing)} mm, expected "
            f"{SMALLEST_SPACING_MM:g} to {LARGEST_SPACING_MM:g}; repair the header from the scan."
        )
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(spacing)
    affine[:3, 3] = image.GetOrigin()
    raw = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return raw, _grid(raw.shape, _LPS_TO_RAS @ affine)


def _grid(shape: tuple[int, ...], affine: Array) -> Grid:
    import nibabel

    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.uint8), affine).header
    header.set_xyzt_units("mm")
    orientation = "".join(map(str, nibabel.aff2axcodes(affine)))
    return Grid(shape, affine, orientation, header, positioned=not is_identity(affine))


def _check_header(path: Path) -> None:
    """Refuse what SimpleITK would fill the memory with, or read from another file."""
    with opened(path, largest=LARGEST_FILE, what=f"a {path.suffix} file", error=DataError) as file:
        head = file.read(2**16)
    elsewhere = _ELSEWHERE.search(head)
    if elsewhere is not None:
        raise DataError(f"{path.name}: its voxels are in another file, expected them in it; convert it to .nii.gz.")
    sizes = _SIZES.search(head)
    lengths = [int(one) for one in sizes[1].split() if one.isdigit()] if sizes else []
    if not lengths:
        raise DataError(f"{path.name}: no {path.suffix} header, expected one; copy or download it again.")
    if math.prod(lengths) > LARGEST_VOLUME:
        asked = " × ".join(map(str, lengths))
        raise DataError(
            f"{path.name}: its header asks for {asked} voxels, expected at most {LARGEST_VOLUME:,}; crop or resample "
            "it, or repair its header."
        )
