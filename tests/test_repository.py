"""Which binary files the repository may hold: git keeps every one of them for good."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "fixtures/embedded.safetensors"
MIB = 1 << 20
LIMITS = {WEIGHTS: 8 * MIB, "docs/page.png": MIB // 2}
"""Every binary file that may be tracked, and its largest size in bytes."""
LARGEST_TEXT = MIB // 4
LARGE_TEXTS = {
    "medsam_core/page/assets/tabulator.min.js": MIB // 2,
    "medsam_core/viewer/assets/niivue.js": 3 * MIB,
}
"""Every text file that may be larger, and its largest size in bytes."""
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".onnx", ".npz", ".npy")


def faults(files):
    """A sentence for every file that may not be tracked. files: (path, size in bytes, first bytes) of each."""
    found = []
    for path, size, head in files:
        binary = b"\0" in head or path.endswith(WEIGHTS_SUFFIXES)
        if binary and path not in LIMITS:
            found.append(f"{path}: a binary file of {size} bytes; keep it outside of git, or list it here.")
        elif size > (limit := {**LARGE_TEXTS, **LIMITS}.get(path, LARGEST_TEXT)):
            found.append(f"{path}: got {size} bytes, expected at most {limit}; make it smaller.")
    return found


def tracked():
    """(path, size, first bytes) of every tracked file that is there; skips where this is no git checkout."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git checkout: which files are tracked is not known")
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            with path.open("rb") as file:
                yield name, path.stat().st_size, file.read(8192)


def test_the_embedded_checkpoint_is_the_only_weights_file_and_pictures_are_listed():
    files = list(tracked())
    assert faults(files) == []
    assert LIMITS.keys() | LARGE_TEXTS.keys() <= {path for path, _, _ in files}, (
        "a listed file is gone: take it off the list"
    )


@pytest.mark.parametrize(
    ("path", "size", "head", "said"),
    [
        ("candidate.safetensors", 8_000_000, b"\x10\0", "candidate.safetensors: a binary file of 8000000 bytes"),
        ("fixtures/second.pt", 10, b"text", "fixtures/second.pt: a binary file"),
        ("docs/another.png", 900, b"\x89PNG\0", "docs/another.png: a binary file"),
        ("weights", 900, b"PK\0", "weights: a binary file"),
        (WEIGHTS, 8 * MIB + 1, b"\0", "got 8388609 bytes, expected at most 8388608"),
        ("docs/page.png", MIB, b"\x89PNG\0", "expected at most 524288"),
        ("table.csv", MIB, b"a,b", "table.csv: got 1048576 bytes, expected at most 262144"),
    ],
)
def test_a_file_that_may_not_be_tracked_is_named(path, size, head, said):
    (sentence,) = faults([("README.md", 9_000, b"# text"), (path, size, head)])
    assert said in sentence


def test_listed_files_within_their_limits_and_text_are_fine():
    assert faults([(WEIGHTS, 8 * MIB, b"\0"), ("docs/page.png", 1000, b"\0"), ("README.md", 9_000, b"# text")]) == []
