"""`action.yml`: its scripts run here with a stand-in for medsam-core, and its comment with a stand-in for GitHub."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step.get("name", step.get("uses")): step for step in ACTION["runs"]["steps"]}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

CORE = """\
#!/bin/bash
printf '%s\\n' "$@" > "$ASKED-$1"
case $1 in
  run) [ "$LEAVES_RUN" = no ] || mkdir -p "${2#--run-dir=}"; exit "$EXIT_CODE" ;;
  *) [ "$LEAVES_RUN" = yes ] || exit 2; echo "$1 of the stand-in" > "$5" ;;
esac
"""


@pytest.fixture
def job(tmp_path):
    """`job(exit_code=1, leaves_run="no", **inputs)` runs the action's own scripts; gives (exit code, folder)."""
    core = tmp_path / "medsam-core"
    core.write_text(CORE)
    core.chmod(0o755)

    def run(exit_code=0, leaves_run="yes", **inputs):
        given = {name: one.get("default", "") for name, one in ACTION["inputs"].items()} | {"medsam-core": str(core)}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        outputs, code = {}, 0
        for step in ACTION["runs"]["steps"]:
            if "run" not in step:
                continue
            own = {name: filled(str(value), given, outputs) for name, value in step.get("env", {}).items()}
            written = tmp_path / "output"
            written.write_text("")
            environment = {
                **os.environ,
                **own,
                "GITHUB_OUTPUT": str(written),
                "GITHUB_STEP_SUMMARY": str(tmp_path / "page"),
                "RUNNER_TEMP": str(tmp_path),
                "ASKED": str(tmp_path / "asked"),
                "EXIT_CODE": str(exit_code),
                "LEAVES_RUN": leaves_run,
            }
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            code = subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode
            for line in written.read_text().splitlines():
                name, _, value = line.partition("=")
                outputs[f"{step['id']}.{name}"] = value
            if code:
                break
        return code, tmp_path

    return run


def filled(text, inputs, outputs):
    """The text with the expressions that the action uses put in; a new kind of expression is an error."""

    def value(match):
        kind, _, name = match[1].partition(".")
        if kind == "inputs":
            return inputs[name]
        assert kind == "steps", match[0]
        return outputs.get(name.replace(".outputs.", "."), "")

    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", value, text)


@pytest.mark.parametrize("code", [0, 1, 4, 10, 11, 137])
def test_the_action_ends_with_the_exit_code_of_the_gate(job, code):
    assert job(code)[0] == code


def test_the_summary_and_the_badge_are_those_of_the_run(job):
    _, folder = job(1, arguments="--root=/a b/$(touch pwned)\n\n-m\ngpu", name="night")
    assert (folder / "page").read_text() == "summary of the stand-in\n"
    assert (folder / "medsam-gate-run" / "badge.json").read_text() == "badge of the stand-in\n"
    asked = (folder / "asked-run").read_text().splitlines()
    assert asked == ["run", "--run-dir=medsam-gate-run", "--root=/a b/$(touch pwned)", "-m", "gpu"]
    assert "--title=night" in (folder / "asked-summary").read_text()
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize("leaves_run", ["no", "damaged"])
def test_without_a_run_that_can_be_read_the_badge_is_red(job, leaves_run):
    code, folder = job(4, leaves_run)
    assert code == 4
    assert (folder / "page").read_text().startswith("### medsam-gate: no verdict\n\nIt ended with exit code 4 ")
    badge = json.loads((folder / "medsam-gate-badge.json").read_text())
    assert (badge["message"], badge["color"], badge["isError"]) == ("no verdict", "red", True)
    assert (folder / "medsam-gate-run").exists() == (leaves_run == "damaged")


@pytest.mark.parametrize("name", ["", "a b", "--> x", "a/b", "a\nb", "$(id)"])
def test_a_name_that_could_end_the_marker_is_refused_before_anything_runs(job, name):
    code, folder = job(name=name)
    assert code == 4
    assert not (folder / "asked-run").exists()


def test_a_run_of_an_earlier_job_is_not_shown_as_the_run_of_this_one(job, tmp_path):
    (tmp_path / "medsam-gate-run").mkdir()
    code, folder = job()
    assert code == 4
    assert not (folder / "asked-run").exists()


COMMENT = """\
const [script, state] = [process.argv[1], JSON.parse(process.argv[2])];
const calls = [];
const github = {
  paginate: async () => { if (state.status) throw Object.assign(new Error("no"), {status: state.status});
                          return state.comments; },
  rest: {issues: {updateComment: async one => calls.push(["update", one]),
                  createComment: async one => calls.push(["create", one])}},
};
const context = {repo: {owner: "o", repo: "r"}, runId: 5, serverUrl: "https://example.org",
                 payload: {pull_request: {number: 7, head: {sha: "abc"}}}};
const core = {warning: text => calls.push(["warning", text])};
const AsyncFunction = (async () => {}).constructor;
new AsyncFunction("github", "context", "core", "require", script)(github, context, core, require)
  .then(() => console.log(JSON.stringify(calls)), error => { console.error(error.message); process.exit(3); });
"""


@pytest.fixture
def comment(tmp_path):
    """`comment(comments=[…], text=…)` runs the script of the comment; gives the calls that it made to GitHub."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")

    def run(comments=(), text="### gate: PASS\n", status=None):
        (tmp_path / "summary.md").write_text(text)
        environment = {**os.environ, "NAME": "gate", "SUMMARY": str(tmp_path / "summary.md"), "ARTIFACT": ""}
        script = STEPS["Comment on the pull request"]["with"]["script"]
        state = json.dumps({"comments": list(comments), "status": status})
        done = subprocess.run(
            [node, "-e", COMMENT, script, state], env=environment, capture_output=True, text=True, check=False
        )
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()

    return run


OURS = {"id": 3, "user": {"type": "Bot"}, "body": "<!-- medsam-gate: gate -->\n### gate: FAIL"}


def test_the_first_comment_is_made_and_holds_marker_summary_and_job(comment):
    ((call, sent),) = comment()
    assert (call, sent["owner"], sent["issue_number"]) == ("create", "o", 7)
    assert sent["body"] == (
        "<!-- medsam-gate: gate -->\n### gate: PASS\n\n[job](https://example.org/o/r/actions/runs/5) · abc\n"
    )


def test_the_next_comment_replaces_it(comment):
    ((call, sent),) = comment([{"id": 1, "user": None, "body": None}, OURS])
    assert (call, sent["comment_id"]) == ("update", 3)


@pytest.mark.parametrize(
    "other",
    [
        OURS | {"user": {"type": "User"}},
        OURS | {"body": "<!-- medsam-gate: gate-2 -->"},
        OURS | {"body": "> <!-- medsam-gate: gate -->"},
    ],
    ids=["of a person", "of another gate", "a quotation"],
)
def test_a_comment_that_is_not_the_gates_own_is_left_alone(comment, other):
    assert [call for call, _ in comment([other])] == ["create"]


def test_a_summary_too_long_for_a_comment_leaves_its_first_line(comment):
    ((_, sent),) = comment(text="### gate: FAIL\n" + "x" * 70_000)
    assert "### gate: FAIL\n\nThe summary is too long" in sent["body"]
    assert len(sent["body"]) < 1000


def test_a_token_that_may_not_write_is_a_warning_and_another_error_is_one(comment):
    assert comment(status=403) == [["warning", "no comment: the job's token lacks pull-requests: write"]]
    assert comment(status=500) == "no"


def test_every_action_is_pinned_to_one_commit_with_its_version():
    seen = {}
    for path in [ROOT / "action.yml", *WORKFLOWS]:
        for line in re.findall(r"uses: (?!\./)(.*)", path.read_text(encoding="utf-8")):
            found = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
            assert found, f"{path.name}: {line}"
            seen.setdefault(found[1], set()).add((found[2], found[3]))
    assert len(seen) == 5
    assert [name for name, commits in seen.items() if len(commits) > 1] == []


def test_no_script_of_the_action_holds_an_expression():
    scripts = [step.get("run", "") + step.get("with", {}).get("script", "") for step in ACTION["runs"]["steps"]]
    assert not [script for script in scripts if "${{" in script]


def test_the_workflows_give_the_action_only_inputs_that_it_has():
    uses = 0
    for path in WORKFLOWS:
        for name, one in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
            for step in one["steps"]:
                if step.get("uses") == "./":
                    uses += 1
                    assert step.get("with", {}).keys() <= ACTION["inputs"].keys(), f"{path.name}: {name}"
    assert uses == 3


def test_the_gpu_job_is_skipped_where_no_runner_is_named():
    gate = yaml.safe_load((ROOT / ".github" / "workflows" / "gpu.yml").read_text(encoding="utf-8"))["jobs"]["gate"]
    assert gate["if"].startswith("vars.GPU_RUNNER != '' && (")
    assert gate["runs-on"] == ["self-hosted", "${{ vars.GPU_RUNNER }}"]


def gpu_step(name, folder, script):
    """Run a step of gpu.yml in that folder with a shell script as medsam-core and tox; gives (exit code, job page)."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "gpu.yml").read_text(encoding="utf-8"))
    (step,) = [one for one in workflow["jobs"]["gate"]["steps"] if one.get("name") == name]
    programs = [folder / ".tox" / "gpu" / "bin" / "medsam-core", folder / ".tox" / "latency" / "bin" / "medsam-core"]
    for program in [*programs, folder / "bin" / "tox"]:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/bash\n{script}\n")
        program.chmod(0o755)
    (folder / "temp").mkdir()
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(folder / "page"),
        "RUNNER_TEMP": str(folder / "temp"),
        "LATENCY_FACTOR": "1.25",
        "CHECKPOINT": "",
        "IMAGE_SIZE": "",
    }
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=folder, env=environment, check=False)
    return done.returncode, (folder / "page").read_text()


COMPARISON = "Comparison with the last green run, and history"


def test_the_gpu_job_shows_the_comparison_and_the_history_and_leaves_the_history_as_it_was(
    make_record, make_run, tmp_path
):
    names = ["history/runs/20260101T000000Z-aaa", "history/runs/20260201T000000Z-bbb", "runs/gpu"]
    for number, name in enumerate(names):
        make_run([make_record(dice=0.9 - number / 100)], name=name)
    code, page = gpu_step(COMPARISON, tmp_path, f'exec {sys.executable} -m medsam_core "$@"')
    assert code == 0
    assert "### Against the last green run\n\n**INCONCLUSIVE**: " in page
    assert "0.890 | 0.880 | −0.010" in page
    history = page.partition("### History\n\n````text\n")[2]
    assert len(re.findall(r"this-run|Z-aaa|Z-bbb", history)) >= 3
    assert sorted(path.name for path in (tmp_path / "history" / "runs").iterdir()) == [
        Path(one).name for one in names[:2]
    ]


def test_a_comparison_that_cannot_be_made_is_shown_and_not_enforced(make_record, make_run, tmp_path):
    for name in ("history/runs/20260101T000000Z-aaa", "runs/gpu"):
        make_run([make_record()], name=name)
    code, page = gpu_step(COMPARISON, tmp_path, "exit 2")
    assert code == 0
    assert "No comparison, exit code 2: see the log." in page


@pytest.mark.parametrize(("compared", "code"), [(0, 0), (1, 1), (2, 1), (10, 0)])
def test_a_stage_that_is_slower_fails_the_gpu_job_and_no_verdict_does_not(tmp_path, compared, code):
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "latency.json").touch()
    script = f'case $0 in */tox) ;; *) echo "figures of $1"; exit {compared} ;; esac'
    got, page = gpu_step("Latency, against the last green run", tmp_path, script)
    assert got == code
    assert "figures of latency" in page
