"""Shards as sessions: three parts of a cohort, merged, are the run of one session, whatever happened to them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from medsam_core.cli import main
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.runs import read_run
from tests.plugin.test_plugin import PLUGIN, STAND_IN, said

pytest_plugins = ["pytester"]

SUITE = """
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
# a mean and terciles, which only the whole cohort decides, and a case's own floor
GATES = """
version = 1
[[gate]]
metric = "dice"
region = ["WT", "TC"]
case_minimum = 0.0001
mean_minimum = 0.01
[[gate]]
metric = "dice"
region = ["WT", "TC"]
volume_tercile = "large"
mean_minimum = 0.01
"""
OF = 3


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The six phantoms of the default cohort, thin."""
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, subjects=6, size=(16, 48, 48), seed=19)
    return root


@pytest.fixture
def session(pytester, cohort):
    """session(run, *options): a session on the thin phantoms, without a model; gives pytest's result."""
    pytester.makepyfile(test_gate=SUITE)

    def run(name, *options, root=cohort, gates=GATES, to="--medsam-run-dir"):
        chosen = [] if gates is None else [f"--medsam-gates={pytester.makefile('.toml', gates=gates)}"]
        where = (f"--medsam-root={root}", f"{to}={name}", "--medsam-overlays=2", *chosen)
        return pytester.runpytest_inprocess(*STAND_IN, *PLUGIN, *where, *options)

    return run


@pytest.fixture
def merged(pytester, capsys):
    """merged(code, *runs): the merged run; the command must end with that code."""

    def merge(code, *runs):
        output = pytester.path / f"merged{len(list(pytester.path.glob('merged*')))}"
        ended = main(["merge", *(str(pytester.path / run) for run in runs), "-o", str(output)])
        assert ended == code, capsys.readouterr()
        return output

    return merge


def shard(number):
    return f"--medsam-shard={number}/{OF}"


def without_times(run):
    """The records by id, without what the clock said."""
    return {record.id: replace(record, seconds=None) for record in read_run(run).records}


def same_run(one, other):
    assert without_times(one) == without_times(other)
    assert read_run(one).plan == read_run(other).plan
    for name in ("verdict.json", "prompts.json", "gates.toml"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    ours, theirs = (read_run(run).header for run in (one, other))
    own = {"created": "", "command": (), "shards": ()}
    decided = {"decided": theirs.decided}  # how many workers, and their threads
    assert replace(ours, **own, **decided) == replace(theirs, **own)


def test_three_shards_one_on_workers_and_one_in_two_sessions_are_merged_to_the_whole_run(session, merged, pytester):
    assert session("whole").ret == 0
    assert session("part1", shard(1)).ret == 11
    assert session("part2", shard(2), "-n", "2").ret == 11
    assert session("part3", shard(3), "-k", "0002").ret == 10, "the third scores the first of its two subjects"
    incomplete = merged(10, "part1", "part2", "part3")
    assert "6 cases planned but not scored" in json.loads((incomplete / "verdict.json").read_text())["reasons"][0]
    assert session("part3", shard(3), to="--medsam-resume").ret == 11
    whole = pytester.path / "whole"
    same_run(merged(0, "part3", "part1", "part2"), whole)
    assert len(without_times(whole)) == 36


def test_a_shard_that_was_killed_is_resumed_and_merged(session, merged, pytester):
    assert session("whole").ret == 0
    for number in (1, 2, 3):
        assert session(f"part{number}", shard(number)).ret == 11
    part = pytester.path / "part2"
    lines = (part / "cases.jsonl").read_text().splitlines(keepends=True)
    (part / "cases.jsonl").write_text("".join(lines[:7]) + lines[7][:40])
    (part / "verdict.json").unlink()
    merged(2, "part1", "part2", "part3")
    result = session("part2", shard(1), to="--medsam-resume")
    assert "the run to resume differs in its shard; give the same options" in said(result)
    assert session("part2", shard(2), to="--medsam-resume").ret == 11
    same_run(merged(0, "part1", "part2", "part3"), pytester.path / "whole")


def test_a_shard_says_so_in_its_header_and_says_that_it_has_no_verdict(session, pytester):
    result = session("part", shard(2))
    assert result.ret == 11
    result.stdout.fnmatch_lines(
        [
            "shard 2/3: 2 of these subjects: Phantom_s19_0001, Phantom_s19_0004",
            "cases: 12 = *",
            "INCONCLUSIVE: 12 of 12 cases scored, *",
            "  INCONCLUSIVE this is shard 2/3 of a run, and only the whole run has a verdict: merge all 3 with *",
        ]
    )
    header = json.loads((pytester.path / "part" / "run.json").read_text())
    assert (header["schema"], header["shard"]) == (3, {"number": 2, "of": 3})
    assert header["environment"]["host"]
    assert len(header["cohort"]["subjects"]) == 6
    assert json.loads((pytester.path / "part" / "verdict.json").read_text())["exit_code"] == 11


def test_only_a_shards_run_names_the_machine(session, pytester):
    session("run", "-k", "0001 and WT and box")
    header = json.loads((pytester.path / "run" / "run.json").read_text())
    assert (header["schema"], header["environment"]["host"], header["shard"]) == (2, None, None)


def test_a_broken_case_fails_its_shard_and_the_merged_run(session, merged, pytester):
    strict = GATES.replace("case_minimum = 0.0001", "case_minimum = 0.2")
    assert session("whole", gates=strict).ret == 1
    codes = [session(f"part{number}", shard(number), gates=strict).ret for number in (1, 2, 3)]
    assert 1 in codes
    same_run(merged(1, "part1", "part2", "part3"), pytester.path / "whole")


def test_a_subject_that_cannot_be_read_ends_merged_as_it_ends_in_one_session(session, merged, pytester, cohort):
    root = pytester.path / "damaged"
    shutil.copytree(cohort, root)
    image = sorted(root.glob("*/*_t1ce.nii.gz"))[1]
    content = image.read_bytes()
    image.write_bytes(content[:2000] + content[-8:])
    assert session("whole", root=root).ret == 10
    codes = [session(f"part{number}", shard(number), root=root).ret for number in (1, 2, 3)]
    assert codes == [11, 10, 11]
    same_run(merged(10, "part1", "part2", "part3"), pytester.path / "whole")


def test_a_test_that_fails_by_itself_keeps_the_shard_and_the_merged_run_from_passing(session, merged, pytester):
    pytester.makepyfile(
        test_gate="def test_case(medsam_case, medsam_evaluate):\n"
        "    medsam_evaluate(medsam_case)\n"
        "    assert medsam_case.id != 'Phantom_s19_0001/t1ce/WT/box'\n"
    )
    codes = [session(f"part{number}", shard(number)).ret for number in (1, 2, 3)]
    assert codes == [11, 10, 11]
    reasons = json.loads((merged(10, "part1", "part2", "part3") / "verdict.json").read_text())["reasons"]
    assert reasons == ["shard 2/3: 1 case broke no bound, but the test failed: Phantom_s19_0001/t1ce/WT/box"]


def test_a_bound_against_a_baseline_is_judged_over_the_whole(session, merged, pytester):
    relative = 'version = 1\n[[gate]]\nmetric = "dice"\nregion = ["WT", "TC"]\nmean_drop_maximum = 0.02\n'
    assert session("before", gates=None).ret == 10
    against = f"--medsam-baseline={pytester.path / 'before'}"
    assert session("whole", against, gates=relative).ret == 0
    for number in (1, 2, 3):
        assert session(f"part{number}", shard(number), against, gates=relative).ret == 11
    same_run(merged(0, "part1", "part2", "part3"), pytester.path / "whole")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("4/3", "--medsam-shard: got '4/3', expected I/N with I from 1 to N"),
        ("1/7", "--medsam-shard: got 1/7 for 6 subjects, expected at most one shard for each subject"),
    ],
)
def test_a_shard_that_cannot_be_is_refused_before_anything_is_scored(session, pytester, text, sentence):
    result = session("run", f"--medsam-shard={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in said(result)
    assert not (pytester.path / "run").exists()


def test_shards_divide_what_limit_and_subjects_leave(session, pytester):
    session("part", "--medsam-limit=4", "--medsam-shard=2/2", "-k", "WT and box")
    assert {case.split("/")[0] for case in read_run(pytester.path / "part").plan} == {
        "Phantom_s19_0001",
        "Phantom_s19_0003",
    }


def test_a_rerun_of_a_failed_case_of_a_shard_is_no_shard(session):
    result = session("part", shard(1), gates=GATES.replace("case_minimum = 0.0001", "case_minimum = 0.999"))
    assert "rerun: " in said(result)
    assert "--medsam-shard" not in said(result)
