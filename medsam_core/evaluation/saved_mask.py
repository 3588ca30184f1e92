"""A saved mask is read back: it must be the mask that was scored, at the same place in the world."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.cases import CaseRecord
from medsam_core.data.volume import Volume
from medsam_core.errors import MedsamError, RunError

NIFTI = (".nii", ".nii.gz")


def check_saved_mask(path: Path, prediction: np.ndarray, image: Volume, source: Path) -> None:
    """Raise RunError if the file is not the mask that was scored.

    It is read and turned by nibabel alone, so that a fault in this package's own writing cannot undo itself in reading.
    prediction: (D, H, W) bool in LPS. source: the file of the image; if it is NIfTI the affines of both files must be
    equal, otherwise that of the mask must be the one that `image` was read with.
    """
    import nibabel

    if path.suffix == ".npz":
        with np.load(path) as content:
            _check_voxels(path, content["segs"], prediction)
        return
    saved: Any = nibabel.load(path)
    same_kind = source.name.lower().endswith(NIFTI)
    original: Any = nibabel.load(source) if same_kind else image.grid
    affine = original.affine
    if not np.allclose(saved.affine, affine, rtol=1e-5, atol=1e-4):
        raise _refusal(path, "has another affine than its image")
    ras = np.asanyarray(nibabel.as_closest_canonical(saved).dataobj)
    _check_voxels(path, ras.reshape(ras.shape[:3])[::-1, ::-1].transpose(2, 1, 0), prediction)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, for `CaseRecord.mask_sha256`. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lost_masks(directory: Path, records: Iterable[CaseRecord]) -> list[str]:
    """The cases of a run directory with a saved mask that is gone or is not the one that was scored, sorted by id.

    Of a record without `mask_sha256`, only whether the file is there is known.
    """
    return sorted(record.id for record in records if record.mask and not _is_kept(directory / record.mask, record))


def _is_kept(path: Path, record: CaseRecord) -> bool:
    return path.is_file() and record.mask_sha256 in (None, digest(path))


def _check_voxels(path: Path, saved: np.ndarray, prediction: np.ndarray) -> None:
    if saved.shape != prediction.shape:
        raise _refusal(path, f"has the shape {saved.shape}, expected {prediction.shape}")
    wrong = int(np.count_nonzero((saved != 0) != prediction))
    if wrong:
        raise _refusal(path, f"differs from the scored mask in {wrong:,} voxels")


def _refusal(path: Path, got: str) -> MedsamError:
    return RunError(f"{path}: read back, it {got}, expected the mask that was scored; correct how masks are written.")
