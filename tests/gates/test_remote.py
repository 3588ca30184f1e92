"""The commands on runs on another machine."""

from __future__ import annotations

import json

import fsspec
import pytest

from medsam_core.errors import RunError
from medsam_core.gates.baseline_file import read_baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.remote import local

GATES = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\n'


@pytest.fixture
def elsewhere(make_record, make_run, tmp_path):
    """`elsewhere("good", 0.9)`: the URL of a run in memory with that Dice, and nothing of it on this disk."""
    remote = fsspec.filesystem("memory")
    path = tmp_path / "gates.toml"
    path.write_text(GATES)

    def make(name, dice):
        records = [make_record(f"S{i}", dice=dice) for i in range(6)]
        run = make_run(records, name=name, gates={"file": "mine.toml", "sha256": load_gates(path).sha256})
        (run.directory / "gates.toml").write_text(GATES)
        (run.directory / "verdict.json").write_text('{"outcome": "PASS"}')
        remote.put(str(run.directory), f"/runs/{name}", recursive=True)
        run.directory.rename(tmp_path / f"gone-{name}")
        return f"memory://runs/{name}"

    yield make
    if remote.exists("/runs"):
        remote.rm("/runs", recursive=True)


def test_a_run_elsewhere_is_judged_accepted_proposed_from_and_compared(elsewhere, tmp_path, command, capsys):
    good, worse = elsewhere("good", 0.9), elsewhere("worse", 0.6)
    folder = tmp_path / "baselines"
    assert command("judge", good) == 0
    assert "PASS: 6 of 6 cases scored, 1 of 1 bound held" in capsys.readouterr().out
    assert command("accept", good, "--as", "main", "--baselines", folder) == 0
    assert len(read_baseline(folder / "main.json").cases) == 6
    assert command("propose", good, "-o", tmp_path / "new.toml") == 0
    assert command("compare", good, good) == 0
    capsys.readouterr()
    assert command("compare", "main", worse, "--baselines", folder, "--format", "json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["current"], found["reference"]) == ("worse", "main")


def test_a_folder_is_taken_as_it_is_and_a_copy_ends_with_the_block(elsewhere, tmp_path):
    with local(tmp_path) as folder:
        assert folder == tmp_path
    with local(elsewhere("good", 0.9)) as folder:
        assert (folder / "run.json").is_file()
        assert folder.name == "good"
    assert not folder.exists()


def test_a_url_without_a_run_is_one_sentence(command):
    with pytest.raises(RunError, match=r"memory://nowhere: has no run, expected a run\.json there or below; correct"):
        command("judge", "memory://nowhere")
