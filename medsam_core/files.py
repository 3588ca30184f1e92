"""Files: read only if they are regular and of a bounded size, written whole or not at all, found where they ship."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from medsam_core.errors import MedsamError
from medsam_core.text import size_of

LARGEST_TEXT = 64 * 1024**2
"""Bytes of the largest JSON, TOML or CSV file that is read."""

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
def opened(
    path: Path | str, *, largest: int, what: str, error: type[MedsamError], fix: str = ""
) -> Iterator[BufferedReader]:
    """The file, open for reading bytes, after `check_input`."""
    check_input(path, largest=largest, what=what, error=error, fix=fix)
    try:
        file = Path(path).open("rb")  # noqa: SIM115 -- an error in the block is not an error of opening
    except OSError as problem:
        raise error(_refusal(Path(path), *_fault(Path(path), problem), what, fix)) from None
    with file:
        yield file


def read_input(
    path: Path | str, *, largest: int = LARGEST_TEXT, what: str, error: type[MedsamError], fix: str = ""
) -> bytes:
    """All bytes of a file, after `check_input`. A file that grows meanwhile is refused at the limit, too."""
    with opened(path, largest=largest, what=what, error=error, fix=fix) as file:
        try:
            content = file.read(largest + 1)
        except OSError as problem:
            raise error(_refusal(Path(path), *_fault(Path(path), problem), what, fix)) from None
    if len(content) > largest:
        raise error(_too_large(Path(path), len(content), largest, what, fix))
    return content


def check_input(path: Path | str, *, largest: int, what: str, error: type[MedsamError], fix: str = "") -> int:
    """The size in bytes of a file that may be opened: a regular file, or a link to one, that is not too large.

    Opening a pipe waits for ever, a device has no end, and a file of any size fills the memory, so each is refused
    before it is opened. Whether this user may read the file shows when it is opened.
    largest: bytes. what: what is expected, for the error, e.g. "a gates file (TOML)". fix: what to do, in place of the
    usual advice on what was found.
    Raises `error`: `<path>: <what was found>, expected <what>; <fix>.`
    """
    path = Path(path)
    fault = fault_of(path)
    if fault is not None:
        raise error(_refusal(path, *fault, what, fix))
    size = path.stat().st_size
    if size > largest:
        raise error(_too_large(path, size, largest, what, fix))
    return size


def fault_of(path: Path) -> tuple[str, str] | None:
    """What a path is that is no regular file nor a link to one, and what to do: ("no such file", "check the path").

    None for a regular file, of any size and whoever may read it.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as problem:
        return _fault(path, problem)
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "a folder", "give the file inside it"
    return next((name for is_kind, name in _SPECIAL if is_kind(mode)), "no regular file"), "give a regular file"


_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _fault(path: Path, problem: OSError | ValueError) -> tuple[str, str]:
    """What is wrong with a path that cannot be opened, and what to do."""
    code = problem.errno if isinstance(problem, OSError) else None
    if code in (errno.ENOENT, errno.ENOTDIR):
        if code == errno.ENOENT and path.is_symlink():
            return "a link to nothing", "fetch the file that it stands for, or correct the link"
        return "no such file", "check the path"
    if code == errno.ELOOP:
        return "a link that leads back to itself", "correct the link"
    if code == errno.ENAMETOOLONG:
        return "a path that is too long", "use a shorter one"
    if code in (errno.EACCES, errno.EPERM):
        return "not readable by this user", "check its permissions"
    reason = problem.strerror if isinstance(problem, OSError) else str(problem)
    return f"not readable ({reason})", "check the path and the disk"


def _refusal(path: Path, got: str, usual: str, what: str, fix: str) -> str:
    return f"{path}: {got}, expected {what}; {fix or usual}."


def _too_large(path: Path, size: int, largest: int, what: str, fix: str) -> str:
    got = f"a file of {size_of(size)}" if size < 1024**5 else "a file of absurd size"
    return f"{path}: {got}, expected {what} of at most {size_of(largest)}; {fix or 'check that it is the right file'}."


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
