"""`medsam-core ab` as a session: two runs equal to single ones, a verdict, resuming, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch  # before pytester takes its snapshot of the modules

import medsam_core.ab.scoring
import medsam_core.ab.session  # noqa: F401 -- likewise
from medsam_core.data.cohort import load
from medsam_core.gates.comparison import Rule
from medsam_core.runs import read_run
from tests.ab import toy_pair
from tests.predictors.toys import SUITE, said

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "medsam_core.plugin.plugin", "-p", "no:hypothesispytest")
TOY = "predictor:tests.ab.toy_pair:"
STRICT = 'version = 1\n[[gate]]\nmetric = "dice"\nregion = "WT"\ncase_minimum = 0.999\n'


@pytest.fixture
def ab(pytester, small_cohort):
    """ab(old, new, *options, output=…, **rule): the session of `medsam-core ab` with two toys on two phantoms."""
    toy_pair.ENCODED.clear()

    def run(old, new, *options, output="ab", root=small_cohort, **rule):
        sides = [f"--medsam-ab-{name}={word}" for name, word in (("old", old), ("new", new))]
        chosen = [f"--medsam-ab-output={output}", f"--medsam-ab-rule={json.dumps(vars(replace(Rule(), **rule)))}"]
        chosen += [f"--medsam-root={root}", "--medsam-device=cpu", "--medsam-regions=WT,TC"]
        return pytester.runpytest_inprocess(*PLUGIN, "-p", "medsam_core.ab.session", *sides, *chosen, *options)

    return run


def without_time(folder):
    return [replace(record, seconds=None) for record in read_run(folder).records]


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_worse_new_is_a_fail_that_names_its_groups(ab, pytester):
    result = ab(f"{TOY}old", f"{TOY}worse")
    assert result.ret == 1, said(result)
    result.stdout.fnmatch_lines(["FAIL: new against old", "  WT/box Dice −*: FAIL *", "  WT/point Dice 0.000*: PASS *"])
    stored = json.loads((pytester.path / "ab" / "ab.json").read_text())
    assert (stored["outcome"], stored["exit_code"]) == ("FAIL", 1)
    outcomes = {group["group"]: group["outcome"] for group in stored["comparison"]["groups"]}
    assert outcomes == {"WT/box": "FAIL", "WT/point": "PASS", "TC/box": "FAIL", "TC/point": "PASS"}
    assert stored["new"]["predictor"] == "worse-toy 1"


def test_the_runs_are_those_of_two_sessions_and_each_volume_is_read_once(ab, pytester, small_cohort, monkeypatch):
    read = []
    monkeypatch.setattr(
        "medsam_core.evaluation.subject.load", lambda *given, **more: read.append(given) or load(*given, **more)
    )
    options = ("--medsam-modality=t1ce,flair", "--medsam-save-masks")
    ab(f"{TOY}old", f"{TOY}worse", *options)
    assert [(subject.id[-1], modality) for subject, modality in read] == [
        *(("0", "t1ce"), ("0", "flair")),
        *(("1", "t1ce"), ("1", "flair")),
    ]
    assert toy_pair.ENCODED == 2 * ["old-toy", "old-toy", "worse-toy", "worse-toy"]
    pytester.makepyfile(test_gate=SUITE)
    for side, toy in (("old", "old"), ("new", "worse")):
        single = pytester.path / f"single-{side}"
        pytester.runpytest_inprocess(
            *PLUGIN,
            *options,
            *(f"--medsam-root={small_cohort}", "--medsam-device=cpu", "--medsam-regions=WT,TC"),
            *(f"--medsam-predictor=tests.ab.toy_pair:{toy}", f"--medsam-run-dir={single}"),
        )
        assert without_time(pytester.path / "ab" / side) == without_time(single)
        assert len(without_time(single)) == 16
        there, here = content(single), content(pytester.path / "ab" / side)
        for name in ("prompts.json", "verdict.json", *(name for name in there if name.startswith("masks/"))):
            assert here[name] == there[name], name
        headers = [json.loads(files["run.json"]) for files in (there, here)]
        for header in headers:
            del header["command"], header["created"]
        assert headers[0] == headers[1]


def test_reading_ahead_changes_no_record_and_each_volume_is_still_read_once(ab, pytester, monkeypatch):
    options = ("--medsam-modality=t1ce,flair",)
    ab(f"{TOY}old", f"{TOY}worse", *options, output="in-turn")
    read = []
    monkeypatch.setattr(
        "medsam_core.evaluation.subject.load", lambda *given, **more: read.append(given) or load(*given, **more)
    )
    # as on a GPU: an evaluator reads and scores in threads
    monkeypatch.setattr("medsam_core.plugin.evaluator.resolve_device", lambda _: torch.device("cuda"))
    ab(f"{TOY}old", f"{TOY}worse", *options, output="ahead")
    assert len(read) == 4
    for side in ("old", "new"):
        assert without_time(pytester.path / "ahead" / side) == without_time(pytester.path / "in-turn" / side)


def test_one_and_the_same_is_not_worse_and_said_to_be_the_same(ab):
    result = ab(f"{TOY}old", f"{TOY}old")
    assert result.ret == 0, said(result)
    result.stdout.fnmatch_lines(["PASS: new against old", "*note: OLD and NEW are the same weights and predictor:*"])


def test_another_image_size_is_noted(ab):
    result = ab(f"{TOY}old", f"{TOY}small")
    assert result.ret == 0, said(result)
    result.stdout.fnmatch_lines(["*note: OLD sees 512 pixels, NEW 256: the comparison is of weights and image size *"])


def test_a_comparison_that_was_stopped_goes_on_where_it_was(ab, pytester, monkeypatch):
    monkeypatch.setattr(toy_pair.Stopping, "left", 1)
    stopped = ab(f"{TOY}old", f"{TOY}stopping")
    assert stopped.ret == 10
    stopped.stdout.fnmatch_lines(["INCONCLUSIVE: stopped; the same command with -o */ab goes on with it"])
    assert not (pytester.path / "ab" / "ab.json").exists()
    assert len(read_run(pytester.path / "ab" / "old").records) == 8
    assert len(read_run(pytester.path / "ab" / "new").records) == 4
    toy_pair.ENCODED.clear()
    again = ab(f"{TOY}old", f"{TOY}stopping")
    assert again.ret == 1, said(again)
    assert toy_pair.ENCODED == ["stopping-toy"], "what was scored is not scored again"
    ab(f"{TOY}old", f"{TOY}stopping", output="whole")
    for side in ("old", "new"):
        assert without_time(pytester.path / "ab" / side) == without_time(pytester.path / "whole" / side)
    assert verdict_of(pytester, "ab") == verdict_of(pytester, "whole")


def verdict_of(pytester, folder):
    stored = json.loads((pytester.path / folder / "ab.json").read_text())
    return stored | {"created": ""}


def test_a_finished_comparison_is_answered_again_and_its_runs_stay(ab, pytester):
    first = ab(f"{TOY}old", f"{TOY}worse")
    before = content(pytester.path / "ab")
    toy_pair.ENCODED.clear()
    again = ab(f"{TOY}old", f"{TOY}worse")
    assert (again.ret, toy_pair.ENCODED) == (first.ret, [])
    after = content(pytester.path / "ab")
    assert before.pop("ab.json") != b""
    assert {name: after[name] for name in before} == before


def test_a_run_that_ended_before_the_other_did_is_kept(ab, pytester):
    """As after a kill between the two verdicts."""
    ab(f"{TOY}old", f"{TOY}worse")
    (pytester.path / "ab" / "new" / "verdict.json").unlink()
    (pytester.path / "ab" / "ab.json").unlink()
    toy_pair.ENCODED.clear()
    again = ab(f"{TOY}old", f"{TOY}worse")
    assert (again.ret, toy_pair.ENCODED) == (1, [])
    assert (pytester.path / "ab" / "new" / "verdict.json").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"new": "new"}, "*/ab/new: the run to resume differs in its predictor; give the same options or start *"),
        ({"old": "new"}, "*/ab/old: the run to resume differs in its predictor; give the same options or start *"),
        ({"options": ("--medsam-jitter=2",)}, "*/ab/old: the run to resume differs in its settings; *"),
        ({"margin": 0.02}, "*/ab/ab.json: has an answer with margin 0.01, expected 0.02 as asked for now; choose *"),
    ],
    ids=str,
)
def test_another_question_in_the_same_folder_is_refused_and_nothing_is_written(ab, pytester, change, sentence):
    ab(f"{TOY}old", f"{TOY}worse")
    before = content(pytester.path / "ab")
    given = {"old": "old", "new": "worse", "options": ()} | change
    result = ab(f"{TOY}{given.pop('old')}", f"{TOY}{given.pop('new')}", *given.pop("options"), **given)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {sentence}"])
    assert content(pytester.path / "ab") == before


def test_gates_that_are_asked_for_count_too(ab, pytester):
    gates = pytester.makefile(".toml", strict=STRICT)
    result = ab(f"{TOY}old", f"{TOY}new", f"--medsam-gates={gates}")
    assert result.ret == 1, said(result)
    result.stdout.fnmatch_lines(["PASS: new against old", "FAIL: new by strict.toml", "FAIL: both together"])
    stored = json.loads((pytester.path / "ab" / "ab.json").read_text())
    assert stored["gates"] == {"file": "strict.toml", "outcome": "FAIL"}
    assert stored["outcome"] == "FAIL"


def test_a_subject_that_one_side_cannot_score_is_named_and_no_pass(ab, pytester):
    result = ab(f"{TOY}old", f"{TOY}refusing")
    assert result.ret == 10, said(result)
    result.stdout.fnmatch_lines(
        [
            "not scored by new: Phantom_*_0000: made up: cannot be used, expected another; replace it.",
            "INCONCLUSIVE: new against old",
            "  INCONCLUSIVE 4 cases planned but not scored: *",
        ]
    )
    again = ab(f"{TOY}old", f"{TOY}refusing")
    assert again.ret == 0, "the second time its volume is not its first"
    assert len(read_run(pytester.path / "ab" / "new").records) == 8


def test_another_metric_is_scored_for_the_comparison(ab, pytester):
    result = ab(f"{TOY}old", f"{TOY}worse", metric="hd95", margin=1.0, case_drop_maximum=None)
    result.stdout.fnmatch_lines(["  WT/box HD95 +*"])
    assert "hd95" in read_run(pytester.path / "ab" / "new").header.settings.metrics


@pytest.mark.parametrize(
    ("sides", "options", "sentence"),
    [
        (("missing.pt", f"{TOY}old"), (), "checkpoint missing.pt: got no such file, expected a .pt or *"),
        (("", f"{TOY}old"), (), "OLD and NEW: got an empty word, expected a checkpoint or predictor:NAME; give both."),
        ((f"{TOY}old", "predictor:sam3"), (), "predictor sam3: got an unknown name, expected one of engine, sam2, *"),
        ((f"{TOY}old", "here"), (), "here: got a run, expected a checkpoint or predictor:NAME; compare runs with *"),
        (("a.pt", "b.pt"), ("--medsam-checkpoint=c.pt",), "--checkpoint: got c.pt although OLD and NEW are *"),
        ((f"{TOY}old", f"{TOY}new"), ("--medsam-shard=1/2",), "--shard=1/2: is no option of a comparison; both *"),
        ((f"{TOY}old", f"{TOY}new"), ("--medsam-resume=here",), "--resume=here: is no option of a comparison; *"),
        ((f"{TOY}old", f"{TOY}new"), ("--medsam-ray",), "--ray=local: is no option of a comparison; both are *"),
        ((f"{TOY}old", f"{TOY}new"), ("--medsam-ship-data",), "--ship-data: is no option of a comparison; both *"),
        ((f"{TOY}old", f"{TOY}new"), ("--medsam-ab-output=here",), "*/here: holds a run, expected a new folder or *"),
        ((f"{TOY}old", f"{TOY}new"), ("--medsam-prompts=bax",), "unknown prompt mode 'bax': expected one of *"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_compared_is_a_sentence(ab, pytester, sides, options, sentence):
    (pytester.path / "here").mkdir()
    (pytester.path / "here" / "run.json").write_text("{}")
    result = ab(*sides, *options)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {sentence}"])
    assert not (pytester.path / "ab").exists()
    assert [path.name for path in (pytester.path / "here").iterdir()] == ["run.json"]


def test_an_internal_error_does_not_say_that_new_is_worse(ab, monkeypatch):
    monkeypatch.setattr("medsam_core.ab.session.answer", lambda _: 1 / 0)
    result = ab(f"{TOY}old", f"{TOY}new")
    assert result.ret == 3
    result.stderr.fnmatch_lines(["ZeroDivisionError: *"])
    result.stdout.fnmatch_lines(["INCONCLUSIVE: an internal error; the same command with -o */ab goes on with it"])


def test_the_configuration_file_counts_but_not_its_run_directory(ab, pytester):
    pytester.makeini("[pytest]\nmedsam_prompts = box\nmedsam_run_dir = elsewhere\n")
    assert ab(f"{TOY}old", f"{TOY}new").ret == 0
    assert len(read_run(pytester.path / "ab" / "new").records) == 4
    assert not (pytester.path / "elsewhere").exists()


def test_the_configuration_file_cannot_ask_for_a_shard(ab, pytester):
    pytester.makeini("[pytest]\nmedsam_shard = 1/2\n")
    result = ab(f"{TOY}old", f"{TOY}new")
    result.stderr.fnmatch_lines(["ERROR: --shard=1/2: is no option of a comparison; *"])
    assert result.ret == 4


def test_progress_counts_the_subjects(ab, monkeypatch):
    monkeypatch.setattr("medsam_core.progress._FIRST_LINE", 0)
    result = ab(f"{TOY}old", f"{TOY}new", "--medsam-progress=on")
    result.stderr.re_match_lines([r"1 of 2 subjects, \d+\.\d s each, \d\d:\d\d left"])
