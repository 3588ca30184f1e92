"""The commit that a run is recorded with."""

import subprocess

import pytest

from medsam_core.plugin.identity import _commit, _dirty, environment


@pytest.fixture
def git(tmp_path, monkeypatch):
    """git(*arguments) runs git in an empty folder, which is the working directory."""
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        done = subprocess.run(("git", *who, *arguments), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return run


@pytest.mark.usefixtures("git")
def test_outside_of_a_repository_there_is_no_commit():
    assert (_commit(), _dirty()) == (None, None)


def test_before_the_first_commit_and_on_an_orphan_branch_there_is_no_commit(git):
    git("init", "-q")
    assert (_commit(), _dirty()) == (None, None)
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert _commit() == git("rev-parse", "HEAD")
    git("checkout", "-q", "--orphan", "other")
    assert (_commit(), _dirty()) == (None, None)


def test_a_bare_repository_has_no_commit_that_ran(git, tmp_path, monkeypatch):
    git("init", "-q", "work")
    git("-C", "work", "commit", "-q", "--allow-empty", "-m", "first")
    git("clone", "-q", "--bare", "work", "bare")
    monkeypatch.chdir(tmp_path / "bare")
    assert (_commit(), _dirty()) == (None, None)


def test_a_changed_file_makes_the_tree_dirty_and_an_untracked_one_does_not(git, tmp_path):
    git("init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "page.html").write_text("a run\n")
    assert environment().dirty is False
    (tmp_path / "code.py").write_text("a = 2\n")
    assert environment().dirty is True
    assert environment().commit == git("rev-parse", "HEAD")


def test_without_git_there_is_no_commit(git, monkeypatch):
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.setenv("PATH", "")
    assert (_commit(), _dirty()) == (None, None)
