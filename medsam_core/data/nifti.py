"""NIfTI files as files: unpacked no further than their header asks for, checked to their last byte."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medsam_core.data.formats import format_of
from medsam_core.data.nifti_header import Stored, parse_header
from medsam_core.errors import DataError
from medsam_core.files import opened

LARGEST_FILE = 512 * 1024**2
"""Bytes of the largest image that is read, packed and unpacked: four channels of 240 × 240 × 155 float64 are 286 MB."""

_GZIP, _PIECE = b"\x1f\x8b", 2**20
_START = 2**14  # packed bytes that hold the header, unless a long file name or comment is before it
_HEADER = 544  # the header of NIfTI-2 and its four bytes for extensions
_WHAT = "a NIfTI file (.nii or .nii.gz)"


def read_nifti(path: Path) -> tuple[Any, Stored]:
    """The voxels in the file's own axes and dtype, not yet scaled, and its header; NIfTI-1 or -2, by its content.

    The whole stream is unpacked, because its checksum is at the end: nibabel stops before it and would return the
    voxels of a damaged file. Bytes behind a whole gzip stream are ignored, as gunzip does.
    Raises DataError for a file that is missing, not readable, too large, damaged or not NIfTI, and for a header that
    would be read wrongly (see `parse_header`).
    """
    with opened(path, largest=LARGEST_FILE, what=_WHAT, error=DataError) as file:
        start = file.read(2)
        file.seek(0)
        pieces = _unpacked(file) if start == _GZIP else _plain(file)
        try:
            head = _first(pieces, _HEADER)
            stored = _header(path, bytes(head[:_HEADER]))
            content = _whole(pieces, head, stored.end)
        except (OSError, EOFError, zlib.error):
            raise truncated(path) from None
    if len(content) < stored.end:
        raise truncated(path)
    if len(content) > stored.end:
        raise DataError(
            f"{path.name}: longer than its header says, expected {stored.end} bytes for shape {stored.shape} of "
            f"{stored.dtype}; its header may be of another image: export it again."
        )
    count = int(np.prod(stored.shape, dtype=np.int64))
    voxels = np.frombuffer(content, stored.dtype, count, stored.offset).reshape(stored.shape, order="F")
    return np.require(voxels, requirements="A"), stored


def read_stored(path: Path) -> Stored:
    """The header alone, from the first kilobytes of the file: whether the voxels are whole is not seen.

    Raises DataError as `read_nifti` does for the file and its header.
    """
    with opened(path, largest=LARGEST_FILE, what=_WHAT, error=DataError) as file:
        try:
            head = file.read(_START)
            if head[:2] == _GZIP:
                head = zlib.decompressobj(wbits=31).decompress(head, _HEADER)
        except (OSError, zlib.error):
            raise truncated(path) from None
    return _header(path, head[:_HEADER])


def _header(path: Path, head: bytes) -> Stored:
    if head[344:348] != b"n+1\0" and head[4:8] != b"n+2\0":
        raise not_nifti(path, head)
    return parse_header(path.name, head, largest=LARGEST_FILE)


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """The content of a gzip file, piece by piece. Raises EOFError where it ends too early, zlib.error for damage."""
    packed, first = file.read(_PIECE), True
    while packed[:2] == _GZIP:  # a file may have several members, as bgzip writes it
        member, some = zlib.decompressobj(wbits=31), False
        while not member.eof:
            try:
                if not packed and not (packed := file.read(_PIECE)):
                    raise EOFError
                piece = member.decompress(packed, 4 * _PIECE)
            except (EOFError, zlib.error):
                if first or some:
                    raise
                return  # bytes behind the stream that only begin like another member
            packed = member.unconsumed_tail
            if piece:
                some = True
                yield piece
        first = False
        packed = member.unused_data
        packed += file.read(_PIECE) if len(packed) < 2 else b""


def _first(pieces: Iterator[bytes], count: int) -> bytearray:
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) >= count:
            break
    return head


def _whole(pieces: Iterator[bytes], head: bytearray, end: int) -> bytearray:
    """The content up to `end`, or one piece more where there is more."""
    content = head
    for piece in pieces:
        content += piece
        if len(content) > end:
            break
    return content


def not_nifti(path: Path, head: bytes) -> DataError:
    """The error for content of another kind, which is named where it is known."""
    got, fix = format_of(head)
    return DataError(f"{path.name}: {got}, expected NIfTI content (.nii or .nii.gz); {fix}.")


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
