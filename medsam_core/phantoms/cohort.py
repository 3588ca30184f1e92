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
from medsam_core.phantoms.anatomy import FULL_SIZE, check_size
from medsam_core.phantoms.contrast import Phantom, synthesise
from medsam_core.phantoms.forms import FILES, Form, forms

# stored in every header; raise the number if the same seed gives other voxels, so that cohorts on disk are rewritten
GENERATOR = "medsam-core phantom 1"
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
    size: Sequence[int] | None = FULL_SIZE,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[str, ...]:
    """Write `subjects` phantoms as <root>/<id>/<id>_{t1ce,t1,t2,flair,seg}.nii.gz and return their ids, in order.

    Images are int16 with background 0, segmentations uint8 in 0/1/2/4, in LPS with BraTS's origin; those of the varied
    cohort differ in grid, axes, background, names and label values (see `forms.VARIED`). Seed, index and size determine
    the voxels and the bytes. A subject appears whole or not at all; a complete one is not written again.
    subjects: at least 1.
    size: (D, H, W), each at least 16; the field of view is always 155 × 240 × 240 mm. None for the varied cohort.
    seed: ≥ 0.
    progress: called as progress(done, subjects, id) after each subject.
    Raises OptionError for unusable options, DataError if root cannot be written or holds this cohort at another size.
    """
    shape = None if size is None else check_size(size)
    for what, got, least in (("subjects", subjects, 1), ("seed", seed, 0)):
        if isinstance(got, bool) or not isinstance(got, int) or got < least:
            raise OptionError(f"phantom {what}: got {got!r}, expected a whole number ≥ {least}; choose e.g. 6.")
    folder = Path(root)
    chosen = forms(subjects, shape)
    ids = tuple(form.subject(seed) for form in chosen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for form, name in zip(chosen, ids, strict=True):
            if not _is_whole(folder / name, form):
                _write_subject(folder, name, subject(seed, form.index, form.size), form)
            if progress is not None:
                progress(ids.index(name) + 1, subjects, name)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"phantom root {folder}: cannot be written ({reason}); choose another folder.") from error
    return ids


def _is_whole(folder: Path, form: Form) -> bool:
    """Whether the folder is complete and of this generator. Raises DataError if the subject has another size."""
    if not all((folder / form.file(folder.name, part)).is_file() for part in FILES):
        return False
    try:
        header = nib.Nifti1Image.from_filename(folder / form.file(folder.name, "seg")).header
    except (nib.filebasedimages.ImageFileError, EOFError, OSError):
        return False
    found = tuple(int(n) for n in header.get_data_shape())
    if not form.fits(found):
        raise DataError(
            f"{folder}: a phantom of {found[::-1]} voxels, expected {form.size}; choose another folder or that size."
        )
    return bytes(header["descrip"]).rstrip(b"\0").decode("latin-1") == GENERATOR


def _write_subject(root: Path, name: str, phantom: Phantom, form: Form) -> None:
    partial = root / f".{name}.{secrets.token_hex(4)}.partial"
    partial.mkdir()
    kept = form.slices(phantom.labels)
    try:
        for part in FILES:
            voxels = form.labels(phantom.labels) if part == "seg" else form.image(phantom.images[part])
            file = nifti_bytes(voxels[kept], phantom.anatomy.spacing_mm, first_slice=kept.start, axes=form.axes)
            (partial / form.file(name, part)).write_bytes(file)
        if (root / name).is_dir():  # of an older generator or damaged: replace its files, keep others
            for made in sorted(partial.iterdir()):
                made.replace(root / name / made.name)
        else:
            partial.rename(root / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def nifti_bytes(
    voxels: npt.NDArray[np.generic],
    spacing_mm: tuple[float, float, float],
    *,
    first_slice: int = 0,
    axes: str = "LPS",
) -> bytes:
    """The bytes of a .nii.gz with BraTS's origin; always the same for the same arguments.

    voxels: (D, H, W), LPS. spacing_mm: (dz, dy, dx).
    first_slice: which slice of the field of view is the first of `voxels`.
    axes: where the axes of the array in the file point; BraTS has LPS.
    """
    dz, dy, dx = spacing_mm
    affine = np.diag((-dx, -dy, dz, 1.0))
    affine[1, 3] = (voxels.shape[1] - 1) * dy
    affine[2, 3] = first_slice * dz
    image = nib.Nifti1Image(voxels.transpose(2, 1, 0), affine)
    if axes != "LPS":
        codes = nib.orientations.axcodes2ornt(tuple(axes))
        image = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), codes))
    image.header["descrip"] = GENERATOR
    image.header.set_xyzt_units("mm")
    # without file name and time in gzip's header, the bytes depend on the voxels alone
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=4, mtime=0) as stream:
        stream.write(image.to_bytes())
    return out.getvalue()
