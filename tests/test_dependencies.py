"""What an installation brings: the gate in another repository needs none of the tools of this one's own suite."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = {"hypothesis", "matplotlib", "pytest-benchmark", "pytest-xdist"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# a plugin that is loaded before all others: the modules named in the environment cannot be imported after it
BLOCKER = """\
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""
TEST_FILE = """\
def test_it_scores(medsam_case, medsam_evaluate):
    medsam_evaluate(medsam_case)
"""


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_the_tools_of_this_repository_are_no_dependencies_but_an_extra():
    assert names(PROJECT["dependencies"]) & OPTIONAL == set()
    assert names(PROJECT["optional-dependencies"]["suite"]) == OPTIONAL


def test_pytest_has_no_upper_limit():
    (pytest_requirement,) = [one for one in PROJECT["dependencies"] if re.match(r"pytest\b(?!-)", one)]
    assert "<" not in pytest_requirement
    assert "==" not in pytest_requirement


@pytest.fixture(scope="module")
def without_the_suite(tmp_path_factory):
    """`without_the_suite(*command)` runs Python in a folder of its own where nothing of the extra can be imported."""
    folder = tmp_path_factory.mktemp("elsewhere")
    blocked = {"matplotlib", "xdist", "pytest_benchmark", "hypothesis", "_hypothesis_pytestplugin"}
    (folder / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
    (folder / "test_mine.py").write_text(TEST_FILE)

    def run(*command):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # it would import the extra's plugins
        }
        return subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )

    return run


def test_the_plugin_collects_cases_without_the_extra(without_the_suite):
    cohort = (
        "--medsam-phantom-subjects=1",
        "--medsam-phantom-size=16,40,40",
        "--medsam-regions=TC",
        "--medsam-prompts=box",
    )
    done = without_the_suite("-m", "pytest", "-p", "medsam_core.plugin.plugin", "--collect-only", "-q", *cohort)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"test_mine\.py::test_it_scores\[\w+/t1ce/TC/box\]", done.stdout)


def test_the_extra_really_cannot_be_imported_there(without_the_suite):
    done = without_the_suite("-c", "import matplotlib")
    assert "No module named 'matplotlib'" in done.stderr
