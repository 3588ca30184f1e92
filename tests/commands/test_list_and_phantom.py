"""`medsam-core phantom` and `medsam-core list`, as typed."""

import pytest

from medsam_core.cli import COMMANDS, main


def test_a_written_cohort_is_listed(tmp_path, capsys):
    assert main(["phantom", str(tmp_path), "--subjects", "2", "--size", "16", "32", "32", "--seed", "4"]) == 0
    assert "2 subjects in" in capsys.readouterr().out
    assert main(["list", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["Phantom_s4_0000", "brats2018", "flair+t1+t1ce+t2"]
    assert lines[-1].startswith("2 subjects; labels: brats2019 (1 necrotic and non-enhancing core, 2 oedema")


def test_unclear_label_conventions_are_reported(tmp_path, capsys):
    folder = tmp_path / "BraTS-PED-00001-000"
    folder.mkdir()
    for name in ("t1c", "seg"):
        (folder / f"{folder.name}-{name}.nii.gz").touch()
    assert main(["list", str(tmp_path)]) == 0
    assert "unclear from the names, name it with --medsam-labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["list", "nowhere"], "medsam-core list: "),
        (["phantom", "out", "--subjects", "0"], "medsam-core phantom: "),
        (["phantom", "out", "--size", "4", "4", "4"], "medsam-core phantom: "),
        (["judge", "nowhere"], "medsam-core judge: "),
        (["propose", "nowhere"], "medsam-core propose: "),
    ],
)
def test_a_mistake_is_one_line(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith(sentence)]
    assert len(lines) == 1
    assert "Traceback" not in error


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"medsam-core {command}" in capsys.readouterr().out
