"""`medsam-core ab`: its words become those of the session."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from medsam_core.ab.question import UNFIT
from medsam_core.cli import main
from medsam_core.gates.comparison import Rule
from medsam_core.plugin.options import BY_NAME


@pytest.fixture
def started(monkeypatch):
    """started(*words): the command that `medsam-core ab` becomes."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or 0)

    def run(*words):
        main(["ab", *words])
        return commands.pop()

    return run


def test_both_sides_the_rule_and_the_options_reach_the_session(started):
    command = started("a.pt", "b.pt", "--root=there", "--margin=0.02", "--case-drop-maximum=none", "--compile")
    assert command[:3] == [sys.executable, "-m", "pytest"]
    assert command[3:7] == ["-p", "medsam_core.plugin.plugin", "-p", "medsam_core.ab.session"]
    assert command[7:9] == ["--medsam-ab-old=a.pt", "--medsam-ab-new=b.pt"]
    rule = json.loads(command[9].removeprefix("--medsam-ab-rule="))
    assert rule == {**vars(Rule()), "margin": 0.02, "case_drop_maximum": None}
    assert command[10:] == ["--medsam-root=there", "--medsam-compile"]


def test_the_folder_is_handed_on(started):
    assert "--medsam-ab-output=there" in started("a.pt", "b.pt", "-o", "there")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--metric=dise",), "medsam-core ab: metric 'dise': expected one that can get worse: "),
        (("--scope=slice",), "medsam-core ab: unknown scope 'slice': expected one of volume, region_slices, key_slice"),
        (("--margin=-1",), "medsam-core ab: margin: got -1.0, expected a finite number"),
    ],
)
def test_a_rule_that_means_nothing_is_a_sentence(capsys, words, sentence):
    assert main(["ab", "a.pt", "b.pt", *words]) == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_help_shows_the_options_that_can_be_given_and_no_other(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["ab", "--help"])
    shown = capsys.readouterr().out
    assert "--precision P" in shown
    assert "--case-drop-maximum DROP" in shown
    assert "predictor:http:URL" in shown
    assert [name for name in UNFIT if f"  --{name}" in shown] == []


def test_every_option_that_is_refused_exists():
    assert UNFIT.keys() <= BY_NAME.keys()
