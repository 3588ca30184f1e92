"""The script for a GPU keeps what each part gave, whatever becomes of the others; all parts run on a CPU too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.on_gpu import covered, main

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
STUB = """#!/usr/bin/env bash
echo "$*"
case "$*" in
  *on_gpu*sam2) echo "no room" >&2; exit 3 ;;
  *on_gpu*cohort) sleep 60 ;;
  *on_gpu*) echo '{"part": "stub", "median_s": 1.5}' ;;
  *) echo "cudnn: ${TORCH_CUDNN_SDPA_DEPRIORITIZED:-}" ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """(words, **variables) -> (exit code, printed text, the folder of results)."""
    stub = tmp_path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)

    def called(*words, python=str(stub), **variables):
        out = tmp_path / "out"
        environment = {**os.environ, "PYTHON": python, "OUT": str(out), **variables}
        done = subprocess.run([SCRIPT, *words], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr, out

    return called


def test_a_part_that_fails_leaves_the_others_alone(run):
    code, printed, out = run(ONLY="environment against-sam2 trace gate")
    assert code == 0
    assert [line.split()[0] for line in printed.splitlines()[:-1]] == ["environment", "against-sam2", "trace", "gate"]
    assert (out / "parts.txt").read_text() in printed
    assert "against-sam2       exit code 3 after" in printed
    assert (out / "against-sam2.txt").read_text().endswith("no room\n")
    assert (out / "gate.txt").read_text().startswith("-m pytest -m gpu --medsam-run-dir=")
    measured = [json.loads(line) for line in (out / "measured.jsonl").read_text().splitlines()]
    assert [one["name"] for one in measured] == ["environment", "trace"]
    assert measured[0] == {"name": "environment", "part": "stub", "median_s": 1.5}


def test_a_part_that_takes_too_long_is_ended_and_the_next_is_not_begun(run):
    _, printed, _ = run(ONLY="environment cohort trace", LIMIT="6")
    ended = dict(line.split(maxsplit=1) for line in printed.splitlines()[:-1])
    assert ended["environment"].startswith("exit code 0")
    assert ended["cohort"].startswith("exit code 124")
    assert ended["trace"] == "not run: no time left"


def test_an_unknown_word_is_refused(run):
    assert run("--fast")[:2] == (
        2,
        "gpu.sh: got --fast, expected --dry-run or nothing; settings are the variables PYTHON, OUT, LIMIT and ONLY.\n",
    )


def test_time_that_several_spans_cover_counts_once():
    assert covered([(5, 7), (0, 2), (1, 3), (6, 6.5)]) == 5
    assert covered([]) == 0


def test_without_a_gpu_it_is_one_sentence(capsys):
    assert main(["environment", "--device", "cuda:99"]) == 2
    assert capsys.readouterr().err.startswith("on_gpu: device: got cuda:99")


def test_the_environment_is_measured_on_a_cpu(capsys):
    assert main(["environment", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "cpu"


@pytest.mark.slow
def test_the_whole_script_on_a_cpu(run):
    code, printed, out = run("--dry-run", python=sys.executable)
    ended = {line.split()[0]: line for line in printed.splitlines()[:-1]}
    del ended["driver"]  # nvidia-smi is on machines with a GPU
    assert "exit code 10" in ended.pop("gate")  # one case: no bound of another is evaluated
    assert code == 0
    assert [line for line in ended.values() if "exit code 0" not in line] == []
    measured = {one["name"]: one for one in map(json.loads, (out / "measured.jsonl").read_text().splitlines())}
    assert set(measured) == set(ended) - {"attention", "latency"}
    assert measured["against-sam2"]["min_dice"] >= 0.995
    assert measured["engine"]["notes"] == []
    assert 0 <= measured["trace"]["idle_share"] < 1
