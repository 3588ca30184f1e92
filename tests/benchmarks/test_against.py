"""`--latency-against`: which side is meant, and a worktree that never stays behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import against
from benchmarks.against import Side, other_side
from medsam_core.errors import OptionError

ROOT = Path(__file__).parents[2]


def git(root, *command):
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(root), *identity, *command], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def this(tmp_path):
    """A repository of two commits, of which only the second has the suite."""
    root = tmp_path / "repository"
    (root / "medsam_core").mkdir(parents=True)
    (root / "medsam_core" / "__init__.py").write_text("")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "test_latency.py").write_text("")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "two")
    (root / "medsam_core" / "new.py").write_text("")  # not committed, so not in any worktree
    return Side("this code", root, tmp_path / "weights.safetensors")


def worktrees(side):
    return git(side.root, "worktree", "list").splitlines()


def folders(root):
    """Where the worktrees are; not what is checked out in them, which may change meanwhile."""
    lines = git(root, "worktree", "list", "--porcelain").splitlines()
    return [line for line in lines if line.startswith("worktree ")]


def test_a_revision_is_its_own_code_with_these_weights_and_is_gone_afterwards(this, tmp_path):
    with other_side("HEAD", this, tmp_path) as side:
        assert side.name == f"HEAD ({git(this.root, 'rev-parse', 'HEAD')[:9]})"
        assert side.checkpoint == this.checkpoint
        assert side.root != this.root
        assert (side.root / "benchmarks" / "test_latency.py").is_file()
        assert not (side.root / "medsam_core" / "new.py").exists()
        assert len(worktrees(this)) == 2
        (side.root / "left.json").write_text("what a round left behind")
    assert not side.root.exists()
    assert len(worktrees(this)) == 1


def test_the_worktree_is_gone_after_an_error_too(this, tmp_path):
    with pytest.raises(KeyboardInterrupt), other_side("HEAD", this, tmp_path) as side:
        raise KeyboardInterrupt
    assert not side.root.exists()
    assert len(worktrees(this)) == 1


def test_a_revision_without_the_suite_is_refused_and_its_worktree_removed(this, tmp_path):
    message = r"'HEAD~1' has no benchmarks/test_latency\.py, expected it; choose a later"
    with pytest.raises(OptionError, match=message), other_side("HEAD~1", this, tmp_path):
        pass
    assert len(worktrees(this)) == 1


@pytest.mark.parametrize("text", ["HEAD~7", "no-such-branch", "--force", "missing.pt"])
def test_what_is_neither_is_one_sentence(this, tmp_path, text):
    with pytest.raises(OptionError) as caught, other_side(text, this, tmp_path):
        pass
    assert str(caught.value) == (
        f"--latency-against: got {text!r}, expected a checkpoint's file or name (medsam2-latest, sam2.1-tiny …) or a "
        f"git revision of {this.root}; mend it."
    )


def test_a_file_or_name_is_other_weights_under_the_same_code(this, tmp_path, small_checkpoint):
    for text in (str(small_checkpoint), "embedded"):
        with other_side(text, this, tmp_path) as side:
            assert side.root == this.root
            assert side.name == text
            assert side.checkpoint.is_file()


def test_a_round_that_fails_says_what_it_said(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "conftest.py").write_text("")
    (tmp_path / "benchmarks" / "test_latency.py").write_text("")
    side = Side("other (123)", tmp_path, tmp_path / "weights.pt")
    with pytest.raises(OptionError, match=r"other \(123\) ended with exit code 4 \(ERROR: .*weights\.pt: got no such"):
        against._round(side, [], tmp_path / "1.json")


@pytest.mark.slow
def test_both_sides_are_timed_in_turn_and_the_exit_code_is_the_verdicts():
    command = [sys.executable, "-m", "pytest", "benchmarks/test_latency.py", "-m", "latency", "-k", "load or prompt"]
    command += ["--medsam-phantom-size=16,64,64", "--medsam-prompts=box", "--latency-against=HEAD", "--latency-pairs=3"]
    before = folders(ROOT)
    done = subprocess.run(
        [*command, "--latency-factor=1000"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 rounds, ABBAAB, A is HEAD (" in done.stdout
    assert done.stdout.count("round ") == 6
    assert "PASS: latency against HEAD (" in done.stdout
    assert all(f"  {stage}: " in done.stdout for stage in ("load", "prompt"))
    assert folders(ROOT) == before
