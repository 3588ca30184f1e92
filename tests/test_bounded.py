"""Every input is a regular file of a bounded size, whichever command reads it: one function refuses all others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medsam_core.data import find_subjects
from medsam_core.errors import DataError, MedsamError, OptionError
from medsam_core.files import LARGEST_TEXT, check_input, read_input
from medsam_core.gates.baseline_file import read_baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.inference.checkpoints import resolve as resolve_checkpoint
from medsam_core.latency.measurement import read_measurement
from medsam_core.plugin.identity import cohort_identity, sha256_of
from medsam_core.prompts.manifest import read_manifest
from medsam_core.runs import read_run
from medsam_core.text import shown, size_of

SECONDS = 2.0


def table(path: Path) -> object:
    (path.parent / "A").mkdir()
    (path.parent / "A" / "A_t1.nii.gz").touch()
    return find_subjects(path.parent)


def fingerprint(path: Path) -> object:
    (path.parent / "A").mkdir()
    path.rename(path.parent / "A" / "A_t1.nii.gz")
    return cohort_identity("x", find_subjects(path.parent / "A"), None)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "gates": ("g.toml", load_gates),
    "baseline": ("b.json", read_baseline),
    "prompts": ("prompts.json", read_manifest),
    "run header": ("run.json", lambda path: read_run(path.parent)),
    "latency": ("new.json", lambda path: read_measurement(path)),
    "checkpoint": ("w.pt", resolve_checkpoint),
    "description": ("dataset.json", table),
    "table": ("name_mapping.csv", table),
    "fingerprint": ("x", fingerprint),
    "any file of a run": ("x", sha256_of),
}


def named_pipe(path: Path) -> None:
    os.mkfifo(path)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a named pipe": (named_pipe, "a named pipe"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "a file without an end": (huge, "of at most "),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_or_fills_the_memory(tmp_path: Path, reader: str, kind: str) -> None:
    name, read = READERS[reader]
    make, words = KINDS[kind]
    make(tmp_path / name)
    started = time.perf_counter()
    with pytest.raises(MedsamError) as caught:
        read(tmp_path / name)
    assert time.perf_counter() - started < SECONDS
    assert words in str(caught.value)


def test_a_file_at_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_input(path, largest=5, what="five bytes", error=DataError) == b"12345"
    with pytest.raises(OptionError) as caught:
        check_input(path, largest=4, what="four bytes", error=OptionError)
    assert str(caught.value) == (
        f"{path}: a file of 5 bytes, expected four bytes of at most 4 bytes; check that it is the right file."
    )


def test_a_file_that_says_it_is_empty_is_bounded_too() -> None:
    path = Path("/proc/self/maps")  # its size is 0, its content is not
    if not path.exists():
        pytest.skip("no /proc")
    with pytest.raises(DataError, match="expected little of at most 10 bytes"):
        read_input(path, largest=10, what="little", error=DataError)


def test_json_of_more_than_64_mib_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "b.json").open("wb") as file:
        file.truncate(LARGEST_TEXT + 1)
    with pytest.raises(MedsamError, match=r"a file of 64 MiB, expected .* of at most 64 MiB"):
        read_baseline(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a b-ü×.nii", "a b-ü×.nii"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\u202egz.exe\u2066", r"\u202egz.exe\u2066"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_foreign_name_is_safe_to_print(name: str, safe: str) -> None:
    assert shown(name) == safe
    assert str(DataError(f"{name}: no such file")) == f"{safe}: no such file"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2**42, "4 TiB")],
)
def test_a_size_is_in_its_largest_unit(count: int, text: str) -> None:
    assert size_of(count) == text


def listed(root: Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medsam_core", "list", str(root)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_a_full_output_ends_in_a_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "BraTS2021_00000_t1.nii.gz").touch()
    with Path("/dev/full").open("w") as full:
        done = listed(tmp_path, stdout=full)
    assert done.returncode == 2
    assert done.stderr == (
        "medsam-core list: the output: cannot be used (No space left on device); check the path and the space on the "
        "disk.\n"
    )


def test_an_ascii_terminal_shows_other_letters_escaped(tmp_path: Path) -> None:
    (tmp_path / "köln_t1.nii.gz").touch()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = listed(tmp_path, stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(r"k\xf6ln  unknown  t1")
