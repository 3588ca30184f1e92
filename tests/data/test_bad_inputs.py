"""Bad inputs, a row each: the sentence that says what is wrong, and what to do. None is read wrongly without a word."""

from __future__ import annotations

import gzip
import os
import resource
import socket
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam_core.data.volume import read_image, read_labels
from medsam_core.errors import MedsamError

PLACED = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
SECONDS = 5.0


def image(affine: np.ndarray = PLACED, *, qform: int = 0, sform: int = 2, unit: str = "mm") -> nibabel.Nifti1Image:
    """An image of 6 x 5 x 4 voxels."""
    made = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(6, 5, 4), affine)
    made.set_qform(affine, qform)
    made.set_sform(affine, sform)
    made.header.set_xyzt_units(unit)
    return made


def changed(*fields: tuple[int, str, object], source: nibabel.Nifti1Image | None = None) -> bytes:
    """The file's bytes with other values at some places: (place, format of struct, value)."""
    content = bytearray((source or image()).to_bytes())
    for place, form, value in fields:
        struct.pack_into(f"<{form}", content, place, value)
    return bytes(content)


def moved(*, x: float) -> bytes:
    """Sform and qform that differ by x mm."""
    made = image(qform=1)
    other = PLACED.copy()
    other[0, 3] += x
    made.set_qform(other, 1)
    return made.to_bytes()


WHOLE = image().to_bytes()
PIXDIM, OFFSET, UNITS, QCODE, SCODE, QUATERN_B = 76, 108, 123, 252, 254, 256
MAGIC = {"pair": b"ni1\0", "no mark": b"\0\0\0\0"}

HEADERS: dict[str, tuple[bytes, str]] = {
    # the whole of it
    "an empty file": (b"", "an empty file, expected NIfTI content"),
    "zeros": (bytes(1000), "a file of zeros"),
    "text": (b"hello " * 100, "not a NIfTI image"),
    "a web page": (b"<!DOCTYPE html><html>login</html>", "a web page or XML"),
    "an answer in JSON": (b'{"error": "not found"}', "JSON, expected NIfTI content"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a pointer of git-annex": (b"/annex/objects/SHA256E-s12--ab.nii.gz\n", "git annex get"),
    "NRRD": (b"NRRD0004\ntype: short\n", "an NRRD image"),
    "MetaImage": (b"ObjectType = Image\nNDims = 3\n", "a MetaImage"),
    "DICOM": (bytes(128) + b"DICM" + b"x" * 300, "a DICOM file"),
    "a zip archive": (b"PK\x03\x04" + bytes(400), "a zip archive"),
    "a tar archive": (b"a.nii".ljust(257, b"\0") + b"ustar" + bytes(300), "a tar archive"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(400), "an HDF5 file"),
    "a NumPy array": (b"\x93NUMPY\x01\x00" + bytes(400), "a NumPy array"),
    "a picture": (b"\x89PNG\r\n" + bytes(400), "a PNG picture"),
    "bzip2": (b"BZh9" + bytes(400), "a bzip2 file"),
    "gzip twice": (gzip.compress(gzip.compress(WHOLE)), "a gzip file within a gzip file"),
    "the header of a pair": (WHOLE[:344] + MAGIC["pair"], "the header of a NIfTI pair (.hdr and .img)"),
    "a header without its mark": (WHOLE[:344] + MAGIC["no mark"] + WHOLE[348:], "an Analyze 7.5 header"),
    "the header alone": (WHOLE[:352], "truncated or damaged"),
    "half a header": (WHOLE[:200], "an Analyze 7.5 header"),
    # the size
    "cut off": (WHOLE[:-1], "truncated or damaged"),
    "cut off, packed": (gzip.compress(WHOLE)[:-20], "truncated or damaged"),
    "cut off in its checksum": (gzip.compress(WHOLE)[:-4], "truncated or damaged"),
    "a wrong checksum": (gzip.compress(WHOLE)[:-8] + bytes(8), "truncated or damaged"),
    "one voxel too many": (WHOLE + bytes(2), "longer than its header says, expected 592 bytes"),
    "one voxel too many, packed": (gzip.compress(WHOLE + bytes(2)), "longer than its header says"),
    "two images in one stream": (gzip.compress(WHOLE) * 2, "longer than its header says"),
    "four volumes, three axes": (changed((40, "h", 3), (42, "h", 3)), "longer than its header says"),
    "a smaller data type": (changed((70, "h", 2), (72, "h", 8)), "longer than its header says"),
    "a larger data type": (changed((70, "h", 64), (72, "h", 64)), "truncated or damaged"),
    "30000 voxels along each axis": (
        changed((42, "h", 30000), (44, "h", 30000), (46, "h", 30000)),
        "asks for 30000 × 30000 × 30000 voxels of int16 (49.1 TiB), expected at most 134,217,728 voxels",
    ),
    "seven axes of 32767": (
        changed((40, "h", 7), *((place, "h", 32767) for place in range(42, 56, 2))),
        "(8.1e+31 bytes), expected at most",
    ),
    # fields
    "sizeof_hdr": (changed((0, "i", 1234)), "sizeof_hdr 1234, expected 348"),
    "no axes": (changed((40, "h", 0)), "expected"),
    "nine axes": (changed((40, "h", 9)), "expected"),
    "two axes": (changed((40, "h", 2)), "shape (6, 5), expected three axes"),
    "a length of 0": (changed((44, "h", 0)), "shape (6, 0, 4), expected three axes"),
    "a negative length": (changed((44, "h", -5)), "shape (6, -5, 4), expected three axes"),
    "an unknown data type": (changed((70, "h", 9999)), "datatype 9999, expected a data type of NIfTI"),
    "bits": (changed((70, "h", 1)), "expected numbers; export grey values"),
    "complex numbers": (changed((70, "h", 32)), "complex numbers"),
    "colours": (changed((70, "h", 128)), "colours or bits"),
    "voxels from 0 on": (changed((OFFSET, "f", 0.0)), "vox_offset 0, expected 352 or more"),
    "voxels from 348 on": (changed((OFFSET, "f", 348.0)), "vox_offset 348, expected 352 or more"),
    "voxels before the file": (changed((OFFSET, "f", -352.0)), "vox_offset -352, expected 352 or more"),
    "voxels from half a byte on": (changed((OFFSET, "f", 352.5)), "vox_offset 352.5, expected 352 or more"),
    "voxels from nowhere on": (changed((OFFSET, "f", np.nan)), "vox_offset nan, expected 352 or more"),
    "voxels from infinity on": (changed((OFFSET, "f", np.inf)), "vox_offset inf, expected 352 or more"),
    "voxels one byte later": (changed((OFFSET, "f", 353.0)), "truncated or damaged"),
    "voxels far behind the end": (changed((OFFSET, "f", 1e9)), "expected at most"),
    "an intercept that is no number": (changed((112, "f", 1.0), (116, "f", np.nan)), "scl_inter nan"),
    "an infinite intercept": (changed((112, "f", 2.0), (116, "f", np.inf)), "scl_inter inf"),
    # units and spacing
    "a unit nobody knows": (changed((UNITS, "B", 5)), "spatial unit 5, expected 0 (unknown), 1 (m), 2 (mm) or 3 (µm)"),
    "1 mm called 1 m": (image(unit="meter").to_bytes(), "a spacing of 1 × 1 × 1 m (pixdim), expected 0.05 to 50 mm"),
    "1 mm called 1 µm": (image(unit="micron").to_bytes(), "a spacing of 1 × 1 × 1 µm (pixdim), expected"),
    "metres without a unit": (
        image(np.diag([-1e-3, -1e-3, 1e-3, 1]), unit="unknown").to_bytes(),
        "a spacing of 0.001 × 0.001 × 0.001 unknown unit (pixdim)",
    ),
    "no spacing": (changed((PIXDIM + 12, "f", 0.0)), "a spacing of 1 × 1 × 0 mm (pixdim)"),
    "no spacing, with a qform": (
        changed((PIXDIM + 4, "f", 0.0), source=image(qform=1, sform=0)),
        "a spacing of 0 × 1 × 1 mm (pixdim)",
    ),
    "no spacing, without a form": (
        changed((PIXDIM + 8, "f", 0.0), source=image(sform=0)),
        "a spacing of 1 × 0 × 1 mm (pixdim)",
    ),
    "a negative spacing": (changed((PIXDIM + 4, "f", -1.0)), "a spacing of -1 × 1 × 1 mm (pixdim)"),
    "a spacing that is no number": (changed((PIXDIM + 4, "f", np.nan)), "a spacing of nan × 1 × 1 mm (pixdim)"),
    "an infinite spacing": (changed((PIXDIM + 4, "f", np.inf)), "a spacing of inf × 1 × 1 mm (pixdim)"),
    "a spacing of 51 mm": (image(np.diag([-51.0, -1, 1, 1])).to_bytes(), "a spacing of 51 × 1 × 1 mm (pixdim)"),
    "a spacing of 0.04 mm": (image(np.diag([-0.04, -1, 1, 1])).to_bytes(), "a spacing of 0.04 × 1 × 1 mm (pixdim)"),
    "a tiny sform": (changed((280, "f", 0.01)), "a spacing of 0.01 × 1 × 1 mm (sform)"),
    # forms
    "sform and pixdim disagree": (
        changed((PIXDIM + 12, "f", 2.0)), "its sform and pixdim disagree by 3 voxels, expected less than 1"
    ),
    "sform and qform disagree": (moved(x=1.1), "its sform and qform disagree by 1.1 voxels, expected less than 1"),
    "sform and qform are far apart": (moved(x=500), "disagree by 500 voxels"),
    "a mirrored qform": (
        changed((PIXDIM, "f", -1.0), source=image(qform=1)), "its sform and qform disagree by 6 voxels"
    ),
    "no qfac": (changed((PIXDIM, "f", 3.0), source=image(qform=1, sform=0)), "pixdim[0] 3, expected 1 or -1"),
    "a long quaternion": (
        changed((QUATERN_B, "f", 2.0), source=image(qform=1, sform=0)),
        "quaternion 2, 0, 1, expected a rotation",
    ),
    "a quaternion that is no number": (
        changed((QUATERN_B, "f", np.nan), source=image(qform=1, sform=0)),
        "quaternion nan, 0, 1, expected a rotation",
    ),
    "a bad quaternion with a sform": (
        changed((QUATERN_B, "f", 2.0), source=image(qform=1)), "quaternion 2, 0, 1, expected a rotation"
    ),
    "an unknown sform code": (changed((SCODE, "h", 20)), "sform_code 20, expected 0 to 5"),
    "an unknown qform code": (changed((QCODE, "h", -1)), "qform_code -1, expected 0 to 5"),
    "a sform of zeros": (changed(*((280 + 4 * place, "f", 0.0) for place in range(12))), "singular or not finite"),
    "a sform that is no number": (changed((280, "f", np.nan)), "singular or not finite"),
    "a sform at infinity": (changed((292, "f", np.inf)), "singular or not finite"),
    "a flat sform": (changed((312, "f", -1.0), (320, "f", 0.0)), "singular or not finite"),
}  # fmt: skip


def refusal(path: Path, read: Callable[[Path], object] = read_image) -> str:
    """The sentence with which a file is refused, in bounded time and memory."""
    started = time.perf_counter()
    with pytest.raises(MedsamError) as caught:
        read(path)
    assert time.perf_counter() - started < SECONDS
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("kind", HEADERS)
def test_a_file_that_would_be_read_wrongly_is_refused(
    tmp_path: Path, kind: str, read: Callable[[Path], object]
) -> None:
    content, words = HEADERS[kind]
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    text = refusal(path, read)
    assert text.startswith("a.nii.gz: ")
    assert words in text


@pytest.mark.parametrize(
    ("content", "spacing"),
    [
        (gzip.compress(WHOLE) + b"\n", 1.0),
        (gzip.compress(WHOLE) + bytes(64), 1.0),
        (gzip.compress(WHOLE) + b"\x1f", 1.0),
        (gzip.compress(WHOLE) + b"\x1f\x8bno member", 1.0),
        (gzip.compress(WHOLE[:400]) + gzip.compress(WHOLE[400:]), 1.0),
        (gzip.compress(WHOLE[:100]) + gzip.compress(WHOLE[100:]) + gzip.compress(b""), 1.0),
        (image(unit="unknown").to_bytes(), 1.0),
        (image(np.diag([-1e-3, -1e-3, 1e-3, 1]), unit="meter").to_bytes(), 1.0),
        (image(np.diag([-5e-4, -5e-4, 5e-4, 1]), qform=1, sform=0, unit="meter").to_bytes(), 0.5),
        (image(np.diag([-1e3, -1e3, 1e3, 1]), unit="micron").to_bytes(), 1.0),
        (moved(x=0.9), 1.0),
        (changed((QUATERN_B + 8, "f", 1 + 1e-6), source=image(qform=1, sform=0)), 1.0),
        (changed((PIXDIM, "f", 0.0)), 1.0),
        (changed((72, "h", 99)), 1.0),
    ],
    ids=[  # else they would be the bytes, which hold the time
        "newline after gzip",
        "zeros after gzip",
        "half a magic after gzip",
        "no member after gzip",
        "two members",
        "bgzip",
        "unknown unit",
        "metres",
        "metres by qform",
        "microns",
        "moved within tolerance",
        "quaternion a little over 1",
        "spacing 0 with sform",
        "unknown code",
    ],
)
def test_what_other_tools_write_and_read_is_read_exactly(tmp_path: Path, content: bytes, spacing: float) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    volume = read_image(path)
    assert sorted(volume.voxels.ravel().tolist()) == list(range(120))
    assert volume.spacing_mm == pytest.approx((spacing,) * 3, rel=1e-6)


def test_a_thousandth_of_a_metre_is_a_millimetre(tmp_path: Path) -> None:
    affine = np.diag([-1e-3, -1e-3, 2e-3, 1])
    affine[1, 3] = 0.239
    (tmp_path / "a.nii").write_bytes(image(affine, unit="meter").to_bytes())
    volume = read_image(tmp_path / "a.nii")
    assert volume.spacing_mm == (2.0, 1.0, 1.0)
    assert volume.affine[:3, 3].tolist() == [0, 239, 0]


# what is no regular file of bounded size


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    listener.bind(path.name)
    os.chdir(here)
    listener.close()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40 * 2**30)


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "no such file, expected a NIfTI file (.nii or .nii.gz); check the path."),
    "a folder": (Path.mkdir, "a folder, expected a NIfTI file (.nii or .nii.gz); give the file inside it."),
    "a named pipe": (fifo, "a named pipe, expected a NIfTI file"),
    "a link to a pipe": (lambda p: (fifo(p.with_name("p")), p.symlink_to("p")), "a named pipe, expected a NIfTI file"),
    "a socket": (unix_socket, "a socket, expected a NIfTI file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a device, expected a NIfTI file"),
    "a link to nothing": (lambda path: path.symlink_to("gone"), "a link to nothing, expected a NIfTI file"),
    "a link to itself": (loop, "a link that leads back to itself, expected a NIfTI file"),
    "40 GiB": (sparse, "a file of 40 GiB, expected a NIfTI file (.nii or .nii.gz) of at most 512 MiB"),
}


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, kind: str, read: Callable[[Path], object]) -> None:
    make, words = SPECIAL[kind]
    path = tmp_path / "a.nii.gz"
    make(path)
    assert f"a.nii.gz: {words}" in refusal(path, read)


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 300, "a path that is too long"), ("a\0b.nii", "not readable (embedded null byte)")],
)
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str, words: str) -> None:
    assert words in refusal(tmp_path / name)


@pytest.mark.parametrize("claim", [(600, 600, 600), (6, 5, 4), (512, 512, 512, 4)])
def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_asks(tmp_path: Path, claim: tuple[int, ...]) -> None:
    made = nibabel.Nifti1Image(np.zeros((1,) * len(claim), np.int16), PLACED)
    header = bytearray(made.to_bytes()[:352])
    struct.pack_into(f"<{len(claim)}h", header, 42, *claim)
    packer = zlib.compressobj(wbits=31)
    piece = bytes(2**20)
    path = tmp_path / "a.nii.gz"
    with path.open("wb") as file:
        file.write(packer.compress(bytes(header)))
        for _ in range(700):
            file.write(packer.compress(piece))
        file.write(packer.flush())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = refusal(path)
    assert "expected at most" in text or "longer than its header says" in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
