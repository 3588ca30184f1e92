"""The wheel, installed alone in another place, brings plugin, embedded checkpoint and gates."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import medsam_core

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


def test_it_holds_the_embedded_checkpoint_its_gates_its_baseline_and_no_tests_but_the_gate(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "medsam_core/fixtures/embedded.safetensors" in names
    assert "medsam_core/gate_files/phantom.toml" in names
    assert "medsam_core/baseline_files/phantom.json" in names
    assert "medsam_core/py.typed" in names
    for part in (
        "assets/tabulator.min.js",
        "assets/assets.json",
        "scripts/table.js",
        "styles/page.css",
        "templates/page.html",
    ):
        assert f"medsam_core/page/{part}" in names
    assert wheel.stat().st_size <= 14 * 1024**2
    assert "medsam_core/suite/test_accuracy.py" in names
    assert "medsam_core/viewer/browser/viewer.js" in names
    assert {f"medsam_core/viewer/assets/{name}" for name in ("assets.json", "niivue.js", "niivue.LICENSE.txt")} <= {
        *names
    }
    assert not [name for name in names if name.startswith(("tests/", "medsam_core/fixtures/training", "benchmarks/"))]


def test_it_is_at_most_14_megabytes(wheel):
    assert wheel.stat().st_size <= 14_000_000


def test_its_metadata_has_the_one_version_and_no_invented_address(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == medsam_core.__version__
    assert metadata.get_all("Project-URL") is None
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_what_the_dockerfile_copies_is_what_the_wheel_is_built_of(wheel, tmp_path):
    for sources, target in re.findall(r"^COPY (?!--from)(.+) (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for source in map(ROOT.joinpath, sources.split()):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, tmp_path / "src" / target, ignore=ignored)
            else:
                (tmp_path / "src").mkdir(exist_ok=True)
                shutil.copy(source, tmp_path / "src" / target)
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"))
    done = run(*command, str(tmp_path / "src"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (copied,) = (tmp_path / "dist").glob("*.whl")
    assert zipfile.ZipFile(copied).namelist() == zipfile.ZipFile(wheel).namelist()


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


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """installed(program, *options) runs it from an environment with the wheel, in the folder that holds nothing else.

    The environment finds the other packages where this one does.
    """
    folder = tmp_path_factory.mktemp("empty")
    environment = folder / ".venv"
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))
    python = environment / "bin" / "python"
    options = ("install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    done = run(sys.executable, "-m", "pip", "--python", str(python), *options, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr

    def start(program, *options):
        words = [str(environment / "bin" / program)] if program == "medsam-core" else [str(python), "-m", program]
        return run(*words, *options, cwd=folder, PYTHONPATH="")

    start.folder = folder
    return start


SMALL = ("phantom-subjects=1", "phantom-size=16,64,64", "regions=TC", "prompts=box")


def test_its_command_runs_the_gate_in_an_empty_folder(installed):
    done = installed("medsam-core", "run", *(f"--{one}" for one in SMALL), "--run-dir=run")
    assert done.returncode == 10, done.stdout + done.stderr
    assert "INCONCLUSIVE: 1 of 1 case scored" in done.stdout
    assert "cases missing against phantom" in done.stdout, "the baseline is found"
    assert (installed.folder / "run" / "page.html").exists()
    header = json.loads((installed.folder / "run" / "run.json").read_text())
    assert header["gates"]["file"] == "phantom.toml"
    assert header["environment"]["commit"] is None


@pytest.mark.slow
def test_pytest_finds_the_suite_by_its_name(installed):
    given = (*(f"--medsam-{one}" for one in SMALL), "--collect-only", "-q", "--pyargs", "medsam_core.suite")
    for options in ((), ("-m", "not gpu"), ("-m", "gpu", "--medsam-allow-no-gpu")):
        done = installed("pytest", *given, *options)
        assert "1 test collected" in done.stdout, done.stdout + done.stderr
        assert "Phantom_s19_0000/t1ce/TC/box" in done.stdout


@pytest.mark.slow
def test_its_command_gives_the_default_verdict_in_an_empty_folder(installed):
    done = installed("medsam-core", "run", "--run-dir=default")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 36 of 36 cases scored, 63 of 63 bounds held" in done.stdout
