"""Files: written whole or not at all, and found where the wheel or the checkout ships them."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from medsam_core.errors import MedsamError

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = {
    "fixtures": ("fixtures", "fixtures"),
    "gates": ("gate_files", "benchmarks/gates"),
    "baselines": ("baseline_files", "benchmarks/baselines"),
}
"""Folder in the wheel's package and folder in the checkout, by what is in it."""


def shipped_folders(kind: str) -> tuple[Path, Path]:
    """Where files of that kind ("fixtures", "gates" or "baselines") come with this package: in a wheel, in a checkout.

    Only one of the two folders exists.
    """
    in_wheel, in_checkout = _SHIPPED[kind]
    return _PACKAGE / in_wheel, _PACKAGE.parent / in_checkout


def shipped(kind: str, name: str) -> Path | None:
    """The file of that kind and name that comes with this package, None if there is none."""
    return next((path for folder in shipped_folders(kind) if (path := folder / name).is_file()), None)


@contextlib.contextmanager
def written_whole(path: Path | str, *, error: type[MedsamError], fix: str, make_folder: bool = False) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends: readers never see half a file.

    The temporary file is in the same folder and has the same ending. If the block fails, the old file stays and nothing
    else is left. A link, a pipe or a device such as /dev/stdout is written directly, because no file may replace it.
    make_folder: whether a missing folder is made; without, it is an error.
    error, fix: what is raised if the system refuses: `<path>: cannot be written (<reason>); <fix>.`
    """
    path = Path(path)
    partial = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name}") if _is_replaceable(path) else path
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if partial is not path:
            partial.replace(path)
    except OSError as problem:
        raise error(f"{path}: cannot be written ({problem.strerror or type(problem).__name__}); {fix}.") from None
    finally:
        if partial is not path:
            with contextlib.suppress(OSError):  # the folder itself may be out of reach
                partial.unlink(missing_ok=True)


def write_whole(
    path: Path | str, content: str | bytes, *, error: type[MedsamError], fix: str, make_folder: bool = False
) -> None:
    """Write text (as UTF-8, line ends untouched) or bytes, whole or not at all; see `written_whole`."""
    with written_whole(path, error=error, fix=fix, make_folder=make_folder) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def check_writable(path: Path | str, *, error: type[MedsamError], fix: str) -> None:
    """Raise `error` now if a file could not be written there later: before an hour of work, not after it."""
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(21, os.strerror(21))
        if _is_replaceable(path):
            probe = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name}")
            probe.touch()
            probe.unlink()
    except OSError as problem:
        raise error(f"{path}: cannot be written ({problem.strerror or type(problem).__name__}); {fix}.") from None


def _is_replaceable(path: Path) -> bool:
    """False for a link, a pipe or a device: a file put in its place would not reach who waits there."""
    return not path.is_symlink() and (path.is_file() or not path.exists())
