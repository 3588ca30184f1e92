"""What a file is that is no NIfTI: by its first bytes or by its name, and what to do about it."""

from __future__ import annotations

import re

_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with `git lfs pull`"),
    (0, b"/annex/objects/", "a pointer of git-annex", "fetch the file with `git annex get`"),
    (344, b"ni1\0", "the header of a NIfTI pair (.hdr and .img)", "save both as one .nii file"),
    (4, b"ni2\0", "the header of a NIfTI-2 pair (.hdr and .img)", "save both as one .nii file"),
    (0, b"NRRD", "an NRRD image", "convert it to .nii.gz"),
    (0, b"ObjectType", "a MetaImage", "convert it to .nii.gz"),
    (0, b"NDims", "a MetaImage", "convert it to .nii.gz"),
    (0, b"MINC", "a MINC image", "convert it to .nii.gz"),
    (128, b"DICM", "a DICOM file", "convert its series to .nii.gz, e.g. with dcm2niix"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (0, b"PK\x03\x04", "a zip archive", "unpack it, or name it .npz if it is one"),
    (0, b"Rar!", "a rar archive", "unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (0, b"BZh", "a bzip2 file", "unpack it"),
    (0, b"\xfd7zXZ", "an xz file", "unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it"),
    (0, b"\x1f\x8b", "a gzip file within a gzip file", "unpack it once"),
    (0, b"\x89HDF", "an HDF5 file", "convert it to .nii.gz"),
    (0, b"CDF", "a netCDF or MINC file", "convert it to .nii.gz"),
    (0, b"\x93NUMPY", "a NumPy array", "save it as NIfTI with its affine"),
    (0, b"\x89PNG", "a PNG picture", "give the volume"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "give the volume"),
    (0, b"%PDF", "a PDF document", "give the volume"),
    (0, b"\x00\x00\x00\x01\x00\x00", "a FreeSurfer image (.mgz)", "convert it to .nii.gz"),
)
"""Place, bytes, what they are, and what to do."""

_NAMES: tuple[tuple[str, str, str], ...] = (
    (r"\.(zip|tar|tgz|tar\.(gz|bz2|xz|zst)|7z|rar)(\.(part)?\d+)?", "an archive", "unpack it"),
    (r"\.(mha|mhd)", "a MetaImage", "convert it to .nii.gz, or install medsam-core[formats], which reads .mha"),
    (r"\.(nrrd|nhdr)", "an NRRD image", "convert it to .nii.gz, or install medsam-core[formats], which reads .nrrd"),
    (r"\.(dcm|dicom|ima)", "a DICOM file", "convert its series to .nii.gz, e.g. with dcm2niix"),
    (r"\.(hdr|img)(\.gz)?", "half of an Analyze or NIfTI pair", "save both halves as one .nii file"),
    (r"\.(mgz|mgh)", "a FreeSurfer image", "convert it to .nii.gz"),
    (r"\.(mnc|mnc2)", "a MINC image", "convert it to .nii.gz"),
    (r"\.(h5|hdf5|hdf|mat)", "an HDF5 or MATLAB file", "convert it to .nii.gz"),
    (r"\.npy", "a NumPy array", "save it as NIfTI with its affine"),
    (r"\.npz", "a NumPy archive", "give it the arrays imgs, gts and spacing of the CVPR25 challenge"),
    (r"\.(par|rec|v|ecat|bruker|2dseq|nii\.(bz2|xz|zst|zip|7z))", "an image in a format that is not read",
     "convert it to .nii.gz"),
)  # fmt: skip
"""Ending of a name, what such a file is, and what to do."""
_BY_NAME = tuple((re.compile(f".*{ending}", re.IGNORECASE | re.DOTALL), got, fix) for ending, got, fix in _NAMES)

ARCHIVE = _BY_NAME[0][0]


def format_of(head: bytes) -> tuple[str, str]:
    """What a file that is no NIfTI is by its first bytes, and what to do.

    head: its first 348 bytes or more, unpacked; fewer for a shorter file.
    """
    if not head:
        return "an empty file", "copy or download it again"
    if not any(head):
        return "a file of zeros", "copy or download it again"
    for place, magic, got, fix in _MAGIC:
        if head[place : place + len(magic)] == magic:
            return got, fix
    if head.lstrip()[:1] == b"<":
        return "a web page or XML", "download it again: its address may need a login"
    if head.lstrip()[:1] in (b"{", b"["):
        return "JSON", "download it again: its address may have answered with an error"
    if int.from_bytes(head[:4], "little") == 348 or int.from_bytes(head[:4], "big") == 348:
        return "an Analyze 7.5 header, or a NIfTI header without its mark", "convert it to .nii.gz"
    if head[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"):
        return "a NIfTI-2 header without its mark", "convert it to .nii.gz"
    return "not a NIfTI image", "convert or download it again"


def foreign_image(name: str) -> tuple[str, str] | None:
    """What a file is by its name, and what to do, if it may hold an image that is not read; None for other files."""
    return next(((got, fix) for ending, got, fix in _BY_NAME if ending.fullmatch(name)), None)
