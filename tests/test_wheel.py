"""The wheel, installed alone in another place, brings plugin, embedded checkpoint and gates."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TEST_FILE = """\
def test_it_segments(medsam_case, medsam_evaluate):
    assert medsam_evaluate(medsam_case).score("dice", "key_slice") > 0.5
"""


def run(*command, cwd, **environment):
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT))
    done = run(*command, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_it_holds_the_embedded_checkpoint_its_gates_its_baseline_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "medsam_core/fixtures/embedded.safetensors" in names
    assert "medsam_core/gate_files/phantom.toml" in names
    assert "medsam_core/baseline_files/phantom.json" in names
    assert "medsam_core/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "medsam_core/fixtures/training", "benchmarks/"))]


def test_a_three_line_test_elsewhere_uses_its_fixtures(wheel, tmp_path):
    site, project = tmp_path / "site", tmp_path / "project"
    project.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (project / "test_mine.py").write_text(TEST_FILE)
    cohort = (
        "--medsam-phantom-subjects",
        "1",
        "--medsam-phantom-size",
        "16,160,160",
        "--medsam-regions",
        "TC",
        "--medsam-prompts",
        "box",
    )
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *cohort, "-v", "--medsam-run-dir", "run")
    done = run(*command, cwd=project, PYTHONPATH=str(site))
    assert "embedded" in done.stdout, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert (project / "run" / "verdict.json").exists()
    where = run(
        sys.executable, "-c", "import medsam_core; print(medsam_core.__file__)", cwd=project, PYTHONPATH=str(site)
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
