"""The files of CI, by the checkers of their formats. `tox run -e ci-files` installs them; elsewhere each is skipped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
ACTION, DOCKERFILE, CITATION = str(ROOT / "action.yml"), str(ROOT / "Dockerfile"), str(ROOT / "CITATION.cff")


def find(program):
    """The path of a checker that is installed with this Python or is on the PATH; else skips."""
    found = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed; tox run -e ci-files installs it")
    return found


def check(program, *arguments, text=""):
    """(exit code, output) of a checker, with a text on its standard input."""
    command = [find(program), *arguments]
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def example(heading):
    """The YAML below that heading of docs/ci.md."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    return re.search(rf"^## {heading}$.*?^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[1]


@pytest.fixture
def workflow(tmp_path):
    """`workflow(text)` is the path of a workflow with that text in a repository of its own."""

    def write(text):
        path = tmp_path / ".github" / "workflows" / "one.yml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return str(path)

    return write


def test_actionlint_finds_nothing_in_the_workflows():
    assert check("actionlint", *WORKFLOWS) == (0, "")


def test_actionlint_finds_nothing_in_the_example_of_the_docs(workflow):
    assert check("actionlint", workflow(example("GitHub Actions").replace("@COMMIT", f"@{'0' * 40}"))) == (0, "")


def test_actionlint_finds_a_script_that_shellcheck_warns_of(workflow):
    text = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: rm -r $GITHUB_WORKSPACE/x\n"
    code, output = check("actionlint", f"-shellcheck={find('shellcheck')}", workflow(text))
    assert code == 1
    assert "SC2086" in output


def test_shellcheck_finds_nothing_in_the_scripts_of_the_action():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    scripts = [step["run"] for step in yaml.safe_load(Path(ACTION).read_text())["runs"]["steps"] if "run" in step]
    assert len(scripts) == 5
    for script in scripts:
        assert check("shellcheck", "-s", "bash", "-", text=script) == (0, ""), script


def test_zizmor_finds_no_risk_of_medium_severity():
    code, output = check("zizmor", "--offline", "--min-severity=medium", ACTION, *WORKFLOWS)
    assert code == 0, output


def test_zizmor_finds_an_action_that_is_not_pinned_and_an_expression_in_a_script(workflow):
    text = (
        "on: pull_request\npermissions: {}\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - uses: actions/checkout@v5\n      - run: echo ${{ github.event.pull_request.title }}\n"
    )
    code, output = check("zizmor", "--offline", "--min-severity=medium", workflow(text))
    assert code != 0
    assert "unpinned-uses" in output
    assert "template-injection" in output


@pytest.mark.parametrize(
    ("schema", "files"),
    [("github-workflows", WORKFLOWS), ("github-actions", [ACTION]), ("citation-file-format", [CITATION])],
)
def test_the_files_are_of_their_published_schemas(schema, files):
    code, output = check("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    assert code == 0, output


def test_the_gitlab_example_is_of_its_published_schema_and_a_misspelling_is_not(tmp_path):
    path = tmp_path / ".gitlab-ci.yml"
    arguments = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(path))
    path.write_text(example("GitLab"))
    code, output = check("check-jsonschema", *arguments)
    assert code == 0, output
    path.write_text(example("GitLab").replace("  script:", "  scripts:"))
    assert check("check-jsonschema", *arguments)[0] == 1


def test_hadolint_finds_nothing_in_the_dockerfile():
    assert check("hadolint", DOCKERFILE) == (0, "")


def test_the_container_is_no_root_and_no_service():
    lines = Path(DOCKERFILE).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert not [line for line in lines if line.startswith("HEALTHCHECK")]


@pytest.mark.parametrize(("device", "code", "index"), [("cpu", 0, "cpu"), ("cuda", 0, ""), ("cud", 1, "")])
def test_the_container_takes_torch_for_the_cpu_or_for_cuda(device, code, index):
    choice = re.search(r"^RUN (case .*? esac)", Path(DOCKERFILE).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    script = choice[1].replace("\\\n", "") + "\necho ${PIP_EXTRA_INDEX_URL##*/}"
    environment = {"DEVICE": device, "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (code, index)
    assert done.stderr.strip() == ("" if code == 0 else "DEVICE is cud, expected cpu or cuda")
