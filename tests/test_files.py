"""Files are written whole or not at all, and what is shipped is found."""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam_core.cli import main
from medsam_core.errors import RunError
from medsam_core.files import check_writable, shipped, shipped_folders, write_whole, written_whole

STORED = Path(__file__).parent / "stored" / "run-60d6631"


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 64 bytes: the system refuses the write, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_old_file_stays_if_the_new_one_cannot_be_written(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "old", error=RunError, fix="f")
    with full_disk(), pytest.raises(RunError, match=r"a\.txt: cannot be written \(File too large\); make room\.$"):
        write_whole(path, "x" * 1000, error=RunError, fix="make room")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_between_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with written_whole(path, error=RunError, fix="f") as partial:
            partial.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_text_and_line_ends_are_written_as_they_are(tmp_path):
    write_whole(tmp_path / "a", "é\r\n", error=RunError, fix="f")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\r\n"
    write_whole(tmp_path / "a", b"\x00", error=RunError, fix="f")
    assert (tmp_path / "a").read_bytes() == b"\x00"


def test_a_missing_folder_is_made_only_if_asked(tmp_path):
    with pytest.raises(RunError, match="No such file or directory"):
        write_whole(tmp_path / "no" / "a", "", error=RunError, fix="f")
    write_whole(tmp_path / "no" / "a", "", error=RunError, fix="f", make_folder=True)
    assert (tmp_path / "no" / "a").exists()


def test_a_link_a_pipe_and_a_device_are_written_to_and_not_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new", error=RunError, fix="f")
    assert (link.is_symlink(), target.read_text()) == (True, "new")
    write_whole("/dev/null", "new", error=RunError, fix="f")
    assert Path("/dev/null").is_char_device()


def test_what_cannot_be_written_is_known_before(tmp_path):
    check_writable(tmp_path / "a", error=RunError, fix="f")
    assert list(tmp_path.iterdir()) == []
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "no" / "a", "No such file or directory")):
        with pytest.raises(RunError, match=rf"cannot be written \({why}\); f\."):
            check_writable(path, error=RunError, fix="f")


def test_shipped_files_are_found_in_the_checkout_and_in_a_wheel(tmp_path, monkeypatch):
    assert shipped("gates", "phantom.toml").name == "phantom.toml"
    assert shipped("gates", "none.toml") is None
    monkeypatch.setattr("medsam_core.files._PACKAGE", tmp_path / "medsam_core")
    in_wheel, in_checkout = shipped_folders("baselines")
    assert (in_wheel, in_checkout) == (
        tmp_path / "medsam_core" / "baseline_files",
        tmp_path / "benchmarks" / "baselines",
    )
    for folder in (in_checkout, in_wheel):  # the wheel's own goes first
        folder.mkdir(parents=True)
        (folder / "a.json").touch()
        assert shipped("baselines", "a.json") == folder / "a.json"


@pytest.mark.parametrize(
    ("old", "arguments"),
    [
        ("out.md", ("compare", "run", "other", "--format", "markdown", "-o", "out.md")),
        ("gates.toml", ("propose", "run", "-o", "gates.toml", "--force")),
        ("plot.png", ("history", ".", "--plot", "plot.png")),
        ("floor.json", ("calibrate", "run", "other", "-o", "floor.json")),
        ("b/main.json", ("accept", "run", "--as", "main", "--baselines", "b", "--force")),
        ("scores.csv", ("score", "m.nii", "m.nii", "--csv", "scores.csv")),
        ("scores.json", ("score", "m.nii", "m.nii", "--json", "scores.json")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_on_a_full_disk_no_command_destroys_what_it_would_replace(tmp_path, monkeypatch, capsys, old, arguments):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(STORED, "run")
    shutil.copytree(STORED, "other")
    header = Path("other/run.json")
    header.write_text(header.read_text().replace("2026-11-30T02:58:00", "2026-11-30T03:58:00"))
    nibabel.save(nibabel.Nifti1Image(np.eye(9, dtype=np.uint8)[..., None] * 2, np.eye(4)), "m.nii")
    assert main(arguments) in (0, 1, 10)  # so that the whole file is there
    whole = Path(old).read_bytes()
    before = sorted(path for path in tmp_path.rglob("*"))
    capsys.readouterr()
    with full_disk():
        assert main(arguments) == 2
    assert "cannot be written (File too large); " in capsys.readouterr().err
    assert Path(old).read_bytes() == whole
    assert sorted(path for path in tmp_path.rglob("*")) == before
