"""A synthetic cohort in BraTS layout: what the gate runs on if nothing was downloaded.

Phantoms show whether the model still segments with another checkpoint, device or code; they say nothing about patients.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from medsam_core.errors import DataError, OptionError
from medsam_core.modalities import MODALITIES
from medsam_core.phantoms.anatomy import FULL_SIZE, check_size
from medsam_core.phantoms.contrast import Phantom, synthesise

# stored in every header; raise the number if the same seed gives other voxels, so that cohorts on disk are rewritten
GENERATOR = "medsam-core phantom 1"
FILES = (*MODALITIES, "seg")
_FAMILY = 0x5048414E  # keeps the seeds of cohorts apart from the plain ints that training uses


def generator_mark() -> str:
    """8 hex digits of this generator's sources: other sources may draw other voxels from the same seed."""
    digest = hashlib.blake2b(digest_size=4)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def subject(seed: int, index: int, size: Sequence[int] = FULL_SIZE) -> Phantom:
    """Subject `index` (from 0) of the cohort `seed`, as `write_cohort` writes it, whatever the number of subjects.

    Of every six subjects, the third has two or three foci and the fifth does not enhance, so a small cohort has both.
    Raises OptionError for an unusable seed or size.
    """
    foci = 2 + index // 6 % 2 if index % 6 == 2 else None
    kind = "no-et" if index % 6 == 4 else ("ring", "patchy")[index // 6 % 2] if index % 6 == 2 else None
    return synthesise((_FAMILY, seed, index), size, kind=kind, foci=foci)


def write_cohort(
    root: str | os.PathLike[str],
    *,
    subjects: int,
    size: Sequence[int] = FULL_SIZE,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[str, ...]:
    """Write `subjects` phantoms as <root>/<id>/<id>_{t1ce,t1,t2,flair,seg}.nii.gz and return their ids, in order.

    Images are int16 with background 0, segmentations uint8 in 0/1/2/4, in LPS with BraTS's origin. Seed, index and size
    determine the voxels and the bytes. A subject appears whole or not at all; a complete one is not written again.
    subjects: at least 1.
    size: (D, H, W), each at least 16; the field of view is always 155 × 240 × 240 mm.
    seed: ≥ 0.
    progress: called as progress(done, subjects, id) after each subject.
    Raises OptionError for unusable options, DataError if root cannot be written or holds this cohort at another size.
    """
    shape = check_size(size)
    for what, got, least in (("subjects", subjects, 1), ("seed", seed, 0)):
        if isinstance(got, bool) or not isinstance(got, int) or got < least:
            raise OptionError(f"phantom {what}: got {got!r}, expected a whole number ≥ {least}; choose e.g. 6.")
    folder = Path(root)
    ids = tuple(f"Phantom_s{seed}_{index:04d}" for index in range(subjects))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(ids):
            if not _is_whole(folder / name, shape):
                _write_subject(folder, name, subject(seed, index, shape))
            if progress is not None:
                progress(index + 1, subjects, name)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"phantom root {folder}: cannot be written ({reason}); choose another folder.") from error
    return ids


def _is_whole(folder: Path, shape: tuple[int, int, int]) -> bool:
    """Whether the folder is complete and of this generator. Raises DataError if the subject has another size."""
    if not all((folder / f"{folder.name}_{part}.nii.gz").is_file() for part in FILES):
        return False
    try:
        header = nib.Nifti1Image.from_filename(folder / f"{folder.name}_seg.nii.gz").header
    except (nib.filebasedimages.ImageFileError, EOFError, OSError):
        return False
    found = tuple(int(n) for n in header.get_data_shape()[::-1])
    if found != shape:
        raise DataError(f"{folder}: a phantom of {found} voxels, expected {shape}; choose another folder or that size.")
    return bytes(header["descrip"]).rstrip(b"\0").decode("latin-1") == GENERATOR


def _write_subject(root: Path, name: str, phantom: Phantom) -> None:
    partial = root / f".{name}.{secrets.token_hex(4)}.partial"
    partial.mkdir()
    try:
        for part in FILES:
            voxels = phantom.labels if part == "seg" else phantom.images[part]
            (partial / f"{name}_{part}.nii.gz").write_bytes(nifti_bytes(voxels, phantom.anatomy.spacing_mm))
        if (root / name).is_dir():  # of an older generator or damaged: replace its files, keep others
            for file in sorted(partial.iterdir()):
                file.replace(root / name / file.name)
        else:
            partial.rename(root / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def nifti_bytes(voxels: npt.NDArray[np.generic], spacing_mm: tuple[float, float, float]) -> bytes:
    """The bytes of a .nii.gz in BraTS's orientation and origin; always the same for the same voxels.

    voxels: (D, H, W), LPS. spacing_mm: (dz, dy, dx).
    """
    dz, dy, dx = spacing_mm
    affine = np.diag((-dx, -dy, dz, 1.0))
    affine[1, 3] = (voxels.shape[1] - 1) * dy
    image = nib.Nifti1Image(voxels.transpose(2, 1, 0), affine)
    image.header["descrip"] = GENERATOR
    image.header.set_xyzt_units("mm")
    # without file name and time in gzip's header, the bytes depend on the voxels alone
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=4, mtime=0) as stream:
        stream.write(image.to_bytes())
    return out.getvalue()
