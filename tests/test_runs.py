"""A run on disk: whole or not at all, resumable, and readable after a kill."""

import json
import math
import os

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import RunError
from medsam_core.runs import CASES, HEADER, QUESTION, VERDICT, RunWriter, read_run
from tests.headers import built_in, made_header

PLAN = ["s1/t1ce/WT/box", "s1/t1ce/TC/box"]
HEADER_CONTENT = made_header(PLAN)


PROMPT = {"mode": "box", "key_slice": 7, "box": [1.0, 2.0, 3.0, 4.0], "points": [], "point_labels": [], "mask": None}


def record(subject="s1", region="WT", dice=0.5) -> CaseRecord:
    return CaseRecord(
        case=Case(subject, "t1ce", region, "box"),
        scores={"brats2019/dice@volume": dice},
        key_slices=(7,),
        prompts=({**PROMPT},),
        notes=("odd name",),
    )


def test_what_is_written_is_read_back(tmp_path):
    writer = RunWriter(tmp_path / "run", HEADER_CONTENT)
    writer.append(record())
    writer.append(record(region="TC", dice=math.nan))
    writer.close()
    run = read_run(tmp_path / "run")
    assert run.plan == ("s1/t1ce/WT/box", "s1/t1ce/TC/box")
    assert run.records[0] == record()
    assert math.isnan(run.records[1].score("dice"))


def test_every_record_is_on_the_disk_as_soon_as_it_is_added(tmp_path):
    writer = RunWriter(tmp_path, HEADER_CONTENT)
    writer.append(record())
    assert len(read_run(tmp_path).records) == 1
    writer.close()


def test_several_records_are_added_at_once_and_flushed_once(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(fsync(number)))
    writer = RunWriter(tmp_path, HEADER_CONTENT)
    flushed.clear()
    writer.append(record(), record(region="TC"))
    assert len(flushed) == 1
    assert [r.id for r in read_run(tmp_path).records] == list(writer.records) == PLAN
    writer.append()
    assert len(flushed) == 1
    writer.close()


def test_a_torn_last_line_is_left_out_and_cut_when_the_run_goes_on(tmp_path):
    writer = RunWriter(tmp_path, HEADER_CONTENT)
    writer.append(record())
    writer.close()
    with (tmp_path / CASES).open("a") as stream:
        stream.write('{"id": "s1/t1ce/TC/box", "case": {"subj')
    assert [r.id for r in read_run(tmp_path).records] == ["s1/t1ce/WT/box"]
    writer = RunWriter(tmp_path, HEADER_CONTENT, resume=True)
    writer.append(record(region="TC"))
    writer.close()
    assert [r.id for r in read_run(tmp_path).records] == ["s1/t1ce/WT/box", "s1/t1ce/TC/box"]


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path):
    writer = RunWriter(tmp_path, HEADER_CONTENT)
    writer.append(record())
    writer.close()
    path = tmp_path / CASES
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(RunError, match=r"cases\.jsonl: line 1: lacks the field case, expected a case record; .* again"):
        read_run(tmp_path)


def test_a_run_is_not_overwritten(tmp_path):
    RunWriter(tmp_path, HEADER_CONTENT).close()
    with pytest.raises(RunError, match="already holds a run, expected a new or empty folder"):
        RunWriter(tmp_path, HEADER_CONTENT)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("settings", {"profile": "brats2023"}),
        ("predictor", {"name": "sam2"}),
        ("predictor", {"name": "engine", "version": "another"}),
        ("checkpoint", {"name": "embedded", "sha256": "d" * 64}),
        ("cohort", {"root": "phantoms", "subjects": ["s1"], "fingerprint": "e" * 64}),
        ("shard", {"number": 1, "of": 2}),
        ("plan", [PLAN[0]]),
        ("device", "cuda"),
        ("precision", "bf16"),
        ("gates", {"file": "a.toml", "sha256": "a" * 64}),
        ("baseline", "another"),
        ("prompts_from", "a" * 64),
    ],
)
def test_only_the_same_question_can_be_resumed(tmp_path, key, other):
    assert key in QUESTION
    RunWriter(tmp_path, HEADER_CONTENT).close()
    with pytest.raises(RunError, match=f"differs in its {key}; give the same options or start another"):
        RunWriter(tmp_path, made_header(PLAN, **{key: other}), resume=True)


@pytest.mark.parametrize("key", ["medsam_core", "source", "predictor_source", "commit", "torch", "sam2"])
def test_only_the_same_code_goes_on_with_a_run(tmp_path, key):
    seen = {"medsam_core": "1", "source": "b", "commit": "a", "torch": "2", "sam2": "1", "cpu": "x"}
    RunWriter(tmp_path, made_header(PLAN, environment=seen)).close()
    with pytest.raises(RunError, match=f"differs in its {key}; give the same"):
        RunWriter(tmp_path, made_header(PLAN, environment={**seen, key: "other"}), resume=True)
    RunWriter(tmp_path, made_header(PLAN, environment={**seen, "cpu": "y"}), resume=True).close()


def test_an_older_run_that_names_no_predictor_was_of_the_engine(tmp_path):
    seen = {"medsam_core": "1"}
    RunWriter(tmp_path, made_header(PLAN, environment=seen)).close()
    now = made_header(PLAN, environment=seen, predictor={"name": "engine", "version": "1"})
    RunWriter(tmp_path, now, resume=True).close()


def test_a_run_that_is_gone_on_with_has_no_verdict_until_it_ends(tmp_path):
    writer = RunWriter(tmp_path, HEADER_CONTENT)
    verdict = writer.write(VERDICT, {"outcome": "PASS"})
    writer.close()
    with pytest.raises(RunError, match="differs in its settings"):
        RunWriter(tmp_path, made_header(PLAN, settings={"seed": 1}), resume=True)
    assert verdict.exists()
    RunWriter(tmp_path, HEADER_CONTENT, resume=True).close()
    assert not verdict.exists()


def test_a_record_without_its_newline_is_scored_again(tmp_path):
    writer = RunWriter(tmp_path, HEADER_CONTENT)
    writer.append(record())
    writer.close()
    path = tmp_path / CASES
    path.write_bytes(path.read_bytes()[:-1])
    assert read_run(tmp_path).records == ()
    writer = RunWriter(tmp_path, HEADER_CONTENT, resume=True)
    assert writer.records == {}
    writer.append(record())
    writer.close()
    assert len(read_run(tmp_path).records) == 1


@pytest.mark.parametrize("resume", [False, True])
def test_records_that_nobody_asked_for_are_not_taken_over(tmp_path, resume):
    (tmp_path / CASES).write_text("")
    with pytest.raises(RunError, match=r"holds cases\.jsonl without run\.json, which says how"):
        RunWriter(tmp_path, HEADER_CONTENT, resume=resume)


def test_a_full_disk_is_reported_and_nothing_is_added_behind_a_torn_line(tmp_path):
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

    writer = RunWriter(tmp_path, HEADER_CONTENT)
    whole, writer._stream = writer._stream, Full()
    with pytest.raises(
        RunError, match=r"s1/t1ce/WT/box cannot be written \(No space left on device\); .* --medsam-resume"
    ):
        writer.append(record())
    assert writer.records == {}
    writer._stream = whole
    with pytest.raises(RunError, match="No space left"):
        writer.append(record())
    writer.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "1"}, "schema: got '1', expected a run header"),
        ({"plan": None}, "plan: got null where array belongs, expected a run header"),
        ({"checkpoint": "x"}, "checkpoint: got str where object belongs, expected a run header"),
        ({"settings": {"metrics": ["dcie"]}}, "settings: unknown metric 'dcie'"),
    ],
)
def test_a_header_of_other_types_names_the_field(tmp_path, change, message):
    (tmp_path / "run.json").write_text(json.dumps(built_in(PLAN) | change))
    with pytest.raises(RunError, match=rf"run\.json: {message}"):
        read_run(tmp_path)


def test_records_that_are_no_text_or_no_file_are_a_damaged_run(tmp_path):
    RunWriter(tmp_path, HEADER_CONTENT).close()
    (tmp_path / CASES).write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(RunError, match=r"line 1: got text that is not JSON .* expected a case record"):
        read_run(tmp_path)
    (tmp_path / CASES).unlink()
    (tmp_path / CASES).mkdir()
    with pytest.raises(RunError, match=r"cases\.jsonl: a folder, expected"):
        read_run(tmp_path)


def test_a_compiled_run_is_resumed_compiled(tmp_path):
    RunWriter(tmp_path, made_header(PLAN, decided={"compiled": "asked for"})).close()
    with pytest.raises(RunError, match=r"differs in its use of --medsam-compile; give the same options"):
        RunWriter(tmp_path, HEADER_CONTENT, resume=True)


def test_a_run_of_a_version_without_compilation_is_resumed_without(tmp_path):
    RunWriter(tmp_path, HEADER_CONTENT).close()
    with pytest.raises(RunError, match=r"differs in its use of --medsam-compile"):
        RunWriter(tmp_path, made_header(PLAN, decided={"compiled": "asked for"}), resume=True)
    RunWriter(tmp_path, made_header(PLAN, decided={"compiled": ""}), resume=True).close()


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunError, match=r"^.*file/run: cannot be written \(Not a directory\); choose"):
        RunWriter(blocked / "run", HEADER_CONTENT)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="a superuser may write anywhere")
def test_a_read_only_directory_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written"):
        RunWriter(tmp_path / "run", HEADER_CONTENT)


@pytest.mark.parametrize("content", ["", "[1]", '{"schema": 1}', "{"])
def test_a_folder_that_is_no_run_is_named(tmp_path, content):
    (tmp_path / HEADER).write_text(content)
    with pytest.raises(RunError, match=r"run\.json: "):
        read_run(tmp_path)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(RunError, match=r"run\.json: no such file, expected a run"):
        read_run(tmp_path / "nothing")


def test_a_run_of_a_newer_schema_is_refused(tmp_path):
    (tmp_path / HEADER).write_text(json.dumps({"schema": 99, "plan": 3}))
    with pytest.raises(RunError, match=r"run\.json: has schema 99, this version reads up to 3; upgrade medsam-core"):
        read_run(tmp_path)


def test_a_record_of_a_newer_minor_version_is_still_read():
    data = {**record().to_json(), "something_new": 1}
    assert CaseRecord.from_json(data) == record()


def test_a_run_that_has_its_verdict_is_not_resumed_but_judged(tmp_path):
    writer = RunWriter(tmp_path / "run", HEADER_CONTENT)
    writer.append(record())
    writer.write(VERDICT, {"outcome": "INCONCLUSIVE"})
    writer.close()
    stopped = RunWriter(tmp_path / "run", HEADER_CONTENT, resume=True)
    stopped.append(record(region="TC"))
    stopped.write(VERDICT, {"outcome": "PASS"})
    stopped.close()
    with pytest.raises(RunError, match=r"has its verdict and a record of every case, .* `medsam-core judge .*run`"):
        RunWriter(tmp_path / "run", HEADER_CONTENT, resume=True)
    assert (tmp_path / "run" / VERDICT).exists()


def test_one_session_at_a_time_writes_to_a_run(tmp_path):
    first = RunWriter(tmp_path, HEADER_CONTENT)
    with pytest.raises(RunError, match="another session writes to it, expected none; wait for its end"):
        RunWriter(tmp_path, HEADER_CONTENT, resume=True)
    first.append(record())
    first.close()
    second = RunWriter(tmp_path, HEADER_CONTENT, resume=True)
    assert list(second.records) == [record().id]
    second.close()
