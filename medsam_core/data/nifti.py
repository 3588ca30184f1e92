"""NIfTI files as files: read with a check of their checksum, damage reported, patients' names left out."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.errors import DataError

# what reading the voxels of a damaged file raises; the last two if its header claims absurd sizes
DAMAGED = (OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError)


def open_nifti(path: Path) -> Any:
    """The file as a nibabel image: .nii, .nii.gz, NIfTI-1 or -2, by its content and not by its name.

    The whole stream is unpacked here, because its checksum is at the end: nibabel stops before it and would return the
    voxels of a damaged file. Raises DataError for a file that is missing, not readable, damaged or not NIfTI.
    """
    import nibabel

    if path.is_dir():
        raise DataError(f"{path}: a folder, expected a NIfTI file (.nii or .nii.gz); give the file inside it.")
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file, expected a NIfTI file (.nii or .nii.gz); check the path.") from error
    except PermissionError as error:
        raise DataError(f"{path}: not readable by this user, expected a NIfTI file; check its permissions.") from error
    except DAMAGED as error:
        raise truncated(path) from error
    if content[344:348] == b"n+1\0":
        kind = nibabel.Nifti1Image
    elif content[4:8] == b"n+2\0":
        kind = nibabel.Nifti2Image
    else:
        raise _not_nifti(path)
    try:
        return kind.from_bytes(content)
    except Exception as error:  # nibabel has no common base for what a broken header raises
        raise _not_nifti(path) from error


def _not_nifti(path: Path) -> DataError:
    return DataError(f"{path.name}: not a NIfTI image, expected .nii or .nii.gz content; convert or download it again.")


def truncated(path: Path) -> DataError:
    """The error for a file that ends too early or whose checksum is wrong."""
    return DataError(
        f"{path.name}: truncated or damaged, expected as many voxels as its header says; copy or download it again."
    )


def mask_header(source: Any) -> Any:
    """The geometry of the source's header; its free text and extensions are dropped, as they may name the patient."""
    header = source.copy()
    header.set_data_dtype(np.uint8)
    for field in ("descrip", "aux_file", "intent_name"):
        header[field] = b""
    for field in ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3"):
        header[field] = 0
    header.extensions.clear()
    return header
