"""Merging: what makes one run is merged and judged; what does not is refused in a sentence, and nothing is left."""

import hashlib
import json
import shutil
import time
from dataclasses import replace

import pytest
from filelock import FileLock

from medsam_core.cli import main
from medsam_core.errors import GateError, RunError
from medsam_core.gates.gates_file import IN_RUN, load_gates
from medsam_core.gates.verdict import NO_GATES, judge_run, part_reason
from medsam_core.header import Shard
from medsam_core.merging.merge import DIFFERS, merge
from medsam_core.metrics.overlap import Counts
from medsam_core.outcome import Outcome
from medsam_core.page.page import page
from medsam_core.runs import CASES, HEADER, LOCK, VERDICT, RunWriter, json_text, line_of, read_run, write_file
from medsam_core.settings import Settings
from medsam_core.sharding import part_of
from medsam_core.slices import SliceCounts, append_line, read_slices
from tests.headers import built_in, made_header

SUBJECTS = ("S1", "S2", "S3", "S4", "S5")
SETTINGS = {"profile": "brats2019", "regions": ["WT", "TC"], "prompts": ["box"]}
GATES = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\nmean_minimum = 0.7\n'
PROMPT = {"mode": "box", "key_slice": 7, "box": [1.0, 2.0, 3.0, 4.0], "points": [], "point_labels": [], "mask": None}
SEEN = {"torch": "2.13.0", "sam2": "1.1.0", "source": "b" * 64, "predictor_source": "d" * 64, "commit": "a" * 40}


def header_of(shard, **changes):
    """The header of a shard, or of the whole run if it is None."""
    part = SUBJECTS if shard is None else part_of(SUBJECTS, shard)
    plan = [case.id for subject in part for case in Settings(regions=("WT", "TC"), prompts=("box",)).cases(subject)]
    own = {} if shard is None else {"schema": 3, "shard": {"number": shard.number, "of": shard.of}}
    cohort = {**built_in(plan)["cohort"], "subjects": list(SUBJECTS)}
    return made_header(plan, **{"settings": SETTINGS, "cohort": cohort, "environment": SEEN, **own, **changes})


def counted(dice):
    """The counts of two masks of 10,000 voxels of 1 mm³ that overlap so, and the truth's volume; none for NaN."""
    if dice != dice:
        return {}
    both = round(10_000 * dice)
    counts = Counts(both, 10_000 - both, 10_000 - both, 80_000)
    scopes = ("volume", "region_slices", "key_slice")
    volumes = {f"brats2019/truth_volume_ml@{scope}": 10.0 for scope in ("volume", "key_slice")}
    return {"counts": dict.fromkeys(scopes, counts), "spacing_mm": (1.0, 1.0, 1.0), "scores": volumes}


@pytest.fixture
def gates(tmp_path):
    path = tmp_path / "g.toml"
    path.write_text(GATES)
    return load_gates(path)


@pytest.fixture
def score(tmp_path, gates, make_record):
    """score(shard, name): the directory of a run that ended, with a record of every case of its plan."""

    def make(shard, name, *, dice=0.9, without=(), ended=True, more=(), reasons=(), **changes):
        named = {"gates": {"file": gates.path.name, "sha256": gates.sha256}}
        writer = RunWriter(tmp_path / name, header_of(shard, **{**named, **changes}))
        writer.write(IN_RUN, gates.path.read_bytes())
        for number, case in enumerate(writer.header.plan):
            subject, _, region, _ = case.split("/")
            if case not in without:
                own = dice.get(case, 0.9) if isinstance(dice, dict) else dice
                own = round(own - number / 1000 - int(subject[1]) / 100, 4)
                writer.append(make_record(subject, region, dice=own, **counted(own)))
        for record in more:
            writer.append(record)
        verdict = judge_run(writer.run(), gates)
        if ended:
            writer.write(VERDICT, replace(verdict, reasons=(*verdict.reasons, *reasons)).to_json())
        writer.close()
        return writer.directory

    return make


@pytest.fixture
def shards(score):
    """shards(of): every shard of a division. Keywords of one shard by its number."""

    def make(of=3, **changed):
        numbers = range(1, of + 1)
        return [score(Shard(number=n, of=of), f"part{n}of{of}", **changed.get(f"s{n}", {})) for n in numbers]

    return make


def refused(directories, output, sentence):
    with pytest.raises(RunError, match=sentence):
        merge(directories, output)
    assert not output.exists()
    assert not list(output.parent.glob(".*merging*"))


def test_the_merged_run_is_whole_in_the_order_of_the_plan_and_passes(shards, tmp_path):
    directories = shards()
    run, verdict = merge(directories[::-1], tmp_path / "merged", command=("medsam-core", "merge"))
    assert verdict.outcome is Outcome.PASS
    assert verdict.exit_code == 0
    assert read_run(tmp_path / "merged") == run
    assert run.plan == header_of(None).plan
    assert [record.id for record in run.records] == list(run.plan)
    assert {r.id: r for r in run.records} == {r.id: r for one in directories for r in read_run(one).records}
    assert json.loads((tmp_path / "merged" / VERDICT).read_text())["outcome"] == "PASS"
    assert "<title>PASS: merged" in (tmp_path / "merged" / "page.html").read_text()
    assert main(["judge", str(tmp_path / "merged")]) == 0


def test_progress_counts_a_step_to_read_each_shard_one_to_write_and_one_to_judge(shards, tmp_path):
    seen = []
    merge(shards(), tmp_path / "merged", progress=lambda done, steps: seen.append((done, steps)))
    assert seen == [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]


def test_the_page_of_a_shard_leaves_the_gates_to_the_whole_run(shards, gates):
    run = read_run(shards()[0])
    assert "The gates are judged when all shards are merged." in page(run, judge_run(run, gates), links_from=".")


def test_the_merged_header_asks_for_the_whole_and_keeps_what_is_each_shards_own(shards, tmp_path):
    own = {
        f"s{n}": {
            "created": f"2026-01-0{n}T00:00:00+00:00",
            "command": ["pytest", f"--medsam-shard={n}/3"],
            "device": "cuda" if n == 1 else f"cuda:{n}",
            "cohort": {**built_in([])["cohort"], "subjects": list(SUBJECTS), "root": f"/mnt/{n}"},
            "decided": {"threads": f"{n} of 8", "device": "auto: the first GPU that torch sees"},
            "environment": {**SEEN, "gpu": "NVIDIA H200", "host": f"node{n}", "cpu": f"CPU {n}", "dirty": n == 2},
        }
        for n in (1, 2, 3)
    }
    header = merge(shards(**own), tmp_path / "merged")[0].header
    assert (header.schema, header.shard, header.device) == (2, None, "cuda")
    assert [one.number for one in header.shards] == [1, 2, 3]
    assert [one.environment.host for one in header.shards] == ["node1", "node2", "node3"]
    assert [one.device for one in header.shards] == ["cuda", "cuda:2", "cuda:3"]
    assert [one.created[:10] for one in header.shards] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [one.command[1] for one in header.shards] == [f"--medsam-shard={n}/3" for n in (1, 2, 3)]
    assert (header.environment.gpu, header.environment.cpu) == ("NVIDIA H200", DIFFERS)
    assert (header.environment.host, header.environment.dirty) == (None, True)
    assert (header.decided.threads, header.decided.device) == (DIFFERS, "auto: the first GPU that torch sees")
    shown = (tmp_path / "merged" / "page.html").read_text()
    assert "<dt>shard 2</dt><dd>2026-01-02T00:00:00+00:00, node2, cuda:2, NVIDIA H200</dd>" in shown
    assert "&#x27;number&#x27;" not in shown


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settings": {**SETTINGS, "seed": 7}}, "settings.seed: got 7, expected 0"),
        ({"settings": {**SETTINGS, "metrics": ["dice"]}}, r"settings.metrics: got 1 of them, expected 7 \(iou, prec"),
        ({"checkpoint": {"name": "embedded", "sha256": "e" * 64}}, f"checkpoint.sha256: got {'e' * 40}, expected ccc"),
        ({"predictor": {"name": "sam2", "version": "1"}}, "predictor: got sam2 1, expected engine"),
        ({"environment": {**SEEN, "source": "f" * 64}}, f"source: got {'f' * 40}, expected {'b' * 40}"),
        ({"environment": {**SEEN, "predictor_source": "f" * 64}}, "predictor_source: got fff"),
        ({"environment": {**SEEN, "commit": None}}, f"commit: got none, expected {'a' * 40}"),
        ({"environment": {**SEEN, "torch": "2.12.0"}}, "torch: got 2.12.0, expected 2.13.0"),
        ({"environment": {**SEEN, "numpy": "1.26"}}, "numpy: got 1.26, expected none"),
        ({"environment": {**SEEN, "python": "3.12"}}, "python: got 3.12, expected none"),
        ({"precision": "bf16"}, "precision: got bf16, expected fp32"),
        (
            {"device": "cuda", "environment": {**SEEN, "gpu": "NVIDIA A100"}},
            "device: got cuda NVIDIA A100, expected cpu",
        ),
        ({"gates": None}, "gates: got none, expected GatesIdentity"),
        ({"baseline": "phantom"}, "baseline: got phantom, expected none"),
        ({"prompts_from": "a" * 64}, "prompts_from: got aaa"),
        ({"decided": {"compiled": "asked for"}}, "use of --medsam-compile: got True, expected False"),
    ],
)
def test_a_shard_that_answered_another_question_is_refused(change, sentence, shards, tmp_path):
    directories = shards(s2=change)
    refused(
        directories,
        tmp_path / "merged",
        rf"part2of3: shard 2/3: {sentence}.* as in shard 1/3 \(.*part1of3\); score both in the same way",
    )


def test_another_cohort_is_refused_and_the_same_data_in_another_folder_is_not(shards, tmp_path):
    cohort = {**built_in([])["cohort"], "subjects": list(SUBJECTS)}
    directories = shards(s2={"cohort": {**cohort, "root": "/elsewhere"}}, s3={"cohort": {**cohort, "fingerprint": "e"}})
    refused(directories, tmp_path / "merged", r"part3of3: shard 3/3: cohort.fingerprint: got e, expected fff")


def test_gpus_of_different_models_are_refused(shards, tmp_path):
    own = {
        f"s{n}": {"device": "cuda", "environment": {**SEEN, "gpu": "NVIDIA A100" if n == 3 else "NVIDIA H200"}}
        for n in (1, 2, 3)
    }
    refused(
        shards(**own), tmp_path / "merged", "device: got cuda NVIDIA A100, expected cuda NVIDIA H200 as in shard 1/3"
    )


def test_a_missing_shard_is_named(shards, tmp_path):
    one, _, three = shards()
    refused([one, three], tmp_path / "merged", "merge: got 2 of 3 shards, expected all; score or give 2/3 as well")


def test_a_shard_that_is_given_twice_or_copied_is_named(shards, tmp_path):
    one, two, three = shards()
    refused(
        [one, two, three, two],
        tmp_path / "merged",
        r"part2of3: shard 2/3 is also in .*part2of3, expected each shard once",
    )
    shutil.copytree(two, tmp_path / "copy")
    refused(
        [one, two, three, tmp_path / "copy"], tmp_path / "merged", r"shard 2/3 is also in .*, expected each shard once"
    )


def test_a_shard_of_another_division_is_named(shards, tmp_path):
    refused(
        [*shards(3)[:2], shards(4)[2]],
        tmp_path / "merged",
        r"part3of4: shard 3/4 is of 4 shards, expected 3 as .*part1of3, shard 1/3; give the shards of one division",
    )


def test_a_whole_and_a_merged_run_are_no_shards(score, shards, tmp_path):
    whole = score(None, "whole")
    directories = shards()
    refused(
        [*directories, whole], tmp_path / "merged", r"whole: is a run of the whole cohort, expected a shard, .* judge"
    )
    merge(directories, tmp_path / "first")
    refused([tmp_path / "first"], tmp_path / "merged", "first: is a merged run, expected a shard")


def test_an_output_that_exists_is_left_alone(shards, tmp_path):
    directories = shards()
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "file", "link"):
        with pytest.raises(
            RunError, match=rf"{name}: exists already, expected a path where nothing is; choose another"
        ):
            merge(directories, tmp_path / name)
    assert list((tmp_path / "there").iterdir()) == []
    assert (tmp_path / "file").read_text() == "mine"


def test_the_counts_by_slice_of_every_shard_are_kept(shards, tmp_path):
    directories = shards()
    counts = [SliceCounts(record.id, 0, (1,), (2,), (3,)) for one in directories for record in read_run(one).records]
    for directory in directories:
        own = {record.id for record in read_run(directory).records}
        for one in counts:
            if one.id in own:
                append_line(directory, one.line())
    merge(directories, tmp_path / "merged")
    assert read_slices(tmp_path / "merged") == {one.id: one for one in counts}


def test_an_output_that_appears_meanwhile_is_not_replaced(shards, tmp_path, monkeypatch):
    directories = shards()
    monkeypatch.setattr("medsam_core.merging.merge.write_page", lambda *_: (tmp_path / "merged").mkdir())
    with pytest.raises(RunError, match=r"merged: cannot be written \(made by another process meanwhile\)"):
        merge(directories, tmp_path / "merged")
    assert list((tmp_path / "merged").iterdir()) == []


def test_an_output_that_cannot_be_written_leaves_nothing(shards, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    directories = shards()
    monkeypatch.setattr("medsam_core.merging.merge.write_page", full)
    refused(
        directories, tmp_path / "merged", r"merged: cannot be written \(No space left on device\); choose another place"
    )
    (tmp_path / "file").write_text("")
    refused(directories, tmp_path / "file" / "merged", "cannot be written")


def test_a_shard_that_is_still_running_is_named(shards, tmp_path):
    directories = shards()
    with FileLock(directories[1] / LOCK):
        refused(
            directories,
            tmp_path / "merged",
            "part2of3: a session still writes to it, expected a run that has ended; wait",
        )


def test_a_shard_whose_session_did_not_end_is_named_with_the_way_to_finish_it(shards, tmp_path):
    directories = shards(s3={"ended": False})
    refused(
        directories,
        tmp_path / "merged",
        r"part3of3: shard 3/3 has no verdict, so its session did not end, .*; finish it with --medsam-resume=.*3of3",
    )


def test_a_run_that_cannot_be_read_is_named(shards, tmp_path):
    one, two, three = shards()
    refused(
        [one, two, tmp_path / "nothing"], tmp_path / "merged", r"nothing/run.json: no such file, expected a run header"
    )
    (three / CASES).write_text("{}\n")
    refused([one, two, three], tmp_path / "merged", r"part3of3/cases.jsonl: line 1: .* expected a case record")
    (two / VERDICT).write_text("{")
    refused([one, two, three], tmp_path / "merged", r"part2of3/verdict.json: .* expected a verdict")


def test_a_plan_that_is_not_the_shards_is_damage(shards, tmp_path):
    directories = shards()
    header = json.loads((directories[1] / HEADER).read_text())
    write_file(directories[1], HEADER, json_text({**header, "plan": header["plan"][:-1]}))
    refused(
        directories,
        tmp_path / "merged",
        "part2of3: shard 2/3: plans other cases than its subjects have, expected those of S2",
    )
    write_file(directories[1], HEADER, json_text({**header, "shard": {"number": 5, "of": 3}}))
    refused(directories, tmp_path / "merged", "shard: got 5/3, expected a number up to 3; the shard is damaged")


def test_a_record_of_another_shards_case_is_damage(shards, tmp_path, make_record):
    directories = shards(s1={"more": [make_record("S2", "WT")]})
    refused(
        directories,
        tmp_path / "merged",
        "shard 1/3: has 1 record of cases that it did not plan: S2/t1ce/WT/box, expected its own",
    )


def test_a_case_without_a_record_leaves_the_merged_run_inconclusive(shards, tmp_path):
    directories = shards(s2={"without": ("S2/t1ce/TC/box",)})
    _, verdict = merge(directories, tmp_path / "merged")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("1 case planned but not scored: S2/t1ce/TC/box",)


def test_a_bound_that_only_the_whole_run_breaks_fails(shards, tmp_path, gates):
    directories = shards(s1={"dice": 0.6}, s2={"dice": 0.6}, s3={"dice": 0.6})
    assert all(judge_run(read_run(one), gates).awaits_merge for one in directories)
    _, verdict = merge(directories, tmp_path / "merged")
    assert verdict.outcome is Outcome.FAIL
    assert [one.bound.name for one in verdict.results if one.outcome is Outcome.FAIL] == ["mean_minimum"]


def test_what_a_shards_session_saw_keeps_the_merged_run_from_a_pass(shards, tmp_path):
    directories = shards(s2={"reasons": ("1 case broke no bound, but the test failed: S2/t1ce/WT/box",)})
    _, verdict = merge(directories, tmp_path / "merged")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("shard 2/3: 1 case broke no bound, but the test failed: S2/t1ce/WT/box",)


def test_a_shard_that_failed_is_not_improved_by_its_records(shards, tmp_path):
    directories = shards()
    stored = json.loads((directories[0] / VERDICT).read_text())
    write_file(directories[0], VERDICT, json_text({**stored, "outcome": "FAIL"}))
    _, verdict = merge(directories, tmp_path / "merged")
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons == ("shard 1/3: its session ended as FAIL, although its records break no bound",)


def test_kept_overlays_and_masks_come_along_and_a_mask_that_is_gone_is_named(shards, tmp_path):
    directories = shards()
    for number, directory in enumerate(directories):
        lines = [json.loads(line) for line in (directory / CASES).read_text().splitlines()]
        for line in lines:
            name = line["id"].replace("/", "__")
            line |= {"overlay": f"overlays/{name}.png", "mask": f"masks/{name}.nii.gz"}
            line["mask_sha256"] = hashlib.sha256(name.encode()).hexdigest()
            for kept in (line["mask"], *([line["overlay"]] if number == 0 else [])):
                (directory / kept).parent.mkdir(exist_ok=True)
                (directory / kept).write_bytes(name.encode())
        write_file(directory, CASES, "".join(json.dumps(line) + "\n" for line in lines))
    run, verdict = merge(directories, tmp_path / "merged")
    assert verdict.outcome is Outcome.PASS
    assert all((run.directory / r.mask).read_bytes() == r.id.replace("/", "__").encode() for r in run.records)
    assert len(list((run.directory / "overlays").iterdir())) == len(read_run(directories[0]).records)
    (directories[2] / "masks" / "S3__t1ce__TC__box.nii.gz").unlink()
    _, verdict = merge(directories, tmp_path / "again")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reasons == ("1 case: the saved mask is gone or not what was scored: S3/t1ce/TC/box",)
    (directories[2] / "masks" / "S3__t1ce__TC__box.nii.gz").write_bytes(b"another")
    assert merge(directories, tmp_path / "changed")[1].reasons == verdict.reasons


def test_a_file_outside_of_the_shard_is_not_copied(shards, tmp_path):
    directories = shards()
    (tmp_path / "secret").write_text("x")
    lines = [json.loads(line) for line in (directories[0] / CASES).read_text().splitlines()]
    lines[0]["mask"] = "../secret"
    write_file(directories[0], CASES, "".join(json.dumps(line) + "\n" for line in lines))
    refused(directories, tmp_path / "merged", r"part1of3: got a file at \.\./secret, expected one inside the run")


def test_a_baseline_that_is_elsewhere_when_merging_is_an_error_or_given_again(shards, score, tmp_path):
    before = score(None, "before")
    directories = shards(**{f"s{n}": {"baseline": "gone/before"} for n in (1, 2, 3)})
    with pytest.raises(GateError, match="gone/before: neither a run, a baseline file nor a name"):
        merge(directories, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.glob("*merg*")) == []
    run, verdict = merge(directories, tmp_path / "merged", baseline=str(before))
    assert (verdict.outcome, run.header.baseline) == (Outcome.PASS, str(before))


def test_one_shard_of_one_is_merged_too(shards, tmp_path):
    assert merge(shards(1), tmp_path / "merged")[1].outcome is Outcome.PASS


def test_the_command_ends_with_the_gates_exit_code_and_the_table(shards, tmp_path, capsys):
    directories = shards()
    words = [*map(str, directories), "-o", str(tmp_path / "merged")]
    assert main(["merge", *words]) == 0
    out = capsys.readouterr().out
    assert "PASS: 10 of 10 cases scored, 2 of 2 bounds held" in out
    assert f"run: {tmp_path / 'merged'} (page.html shows it)" in out
    assert read_run(tmp_path / "merged").header.command == ("medsam-core", "merge", *words)
    assert main(["merge", *words]) == 2
    assert "medsam-core merge: " in capsys.readouterr().err


def test_a_shard_alone_is_never_a_pass(shards, gates, capsys):
    directory = shards()[0]
    verdict = judge_run(read_run(directory), gates)
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 11)
    assert verdict.reasons == (part_reason(Shard(number=1, of=3)),)
    assert main(["judge", str(directory)]) == 11
    assert "this is shard 1/3 of a run, and only the whole run has a verdict: merge all 3" in capsys.readouterr().out


def test_a_shard_without_gates_awaits_its_merge_too(shards):
    assert judge_run(read_run(shards()[0]), None).exit_code == 11


def test_a_shard_that_misses_a_case_or_breaks_a_cases_bound_does_not_await_its_merge(shards, gates):
    lacking, broken, _ = shards(s1={"without": ("S1/t1ce/WT/box",)}, s2={"dice": {"S2/t1ce/WT/box": 0.3}})
    verdict = judge_run(read_run(lacking), gates)
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 10)
    assert verdict.reasons[0] == "1 case planned but not scored: S1/t1ce/WT/box"
    verdict = judge_run(read_run(broken), gates)
    assert (verdict.outcome, verdict.exit_code) == (Outcome.FAIL, 1)
    assert [one.bound.name for one in verdict.results] == ["case_minimum"]


def test_a_nan_fails_a_shard_under_a_bound_on_the_mean_alone(shards, tmp_path):
    path = tmp_path / "mean.toml"
    path.write_text('version = 1\n[[gate]]\nmetric = "dice"\nmean_minimum = 0.1\n')
    directory = shards(s1={"dice": {"S1/t1ce/WT/box": float("nan")}})[0]
    assert judge_run(read_run(directory), load_gates(path)).outcome is Outcome.FAIL


def test_a_gate_on_terciles_is_left_to_the_whole_run(shards, tmp_path):
    path = tmp_path / "terciles.toml"
    path.write_text('version = 1\n[[gate]]\nmetric = "dice"\nvolume_tercile = "small"\ncase_minimum = 0.99\n')
    assert judge_run(read_run(shards()[0]), load_gates(path)).exit_code == 11


def test_a_shard_is_no_baseline_no_repeat_and_nothing_to_compare_or_propose_from(shards, tmp_path, capsys):
    one, two, three = map(str, shards())
    part = "it is shard 1/3 of a run, and only the merged run can be compared"
    assert main(["compare", one, two]) == 10
    assert part in capsys.readouterr().out
    for words in (
        ["accept", one, "--as", "mine", "--baselines", str(tmp_path)],
        ["propose", one],
        ["calibrate", one, three],
    ):
        assert main(words) == 2
        assert "shard 1/3 of a run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cohort_of_1251_subjects_in_64_shards_is_merged_in_a_minute(tmp_path, make_record, capsys):
    subjects = tuple(f"BraTS2021_{number:05}" for number in range(1251))
    settings = {**SETTINGS, "regions": ["WT", "TC", "ET"], "prompts": ["box", "point", "points3", "mask"]}
    cohort = {**built_in([])["cohort"], "subjects": list(subjects)}
    directories = []
    for number in range(1, 65):
        shard = Shard(number=number, of=64)
        header = made_header([], settings=settings, cohort=cohort, schema=3, environment=SEEN, shard=vars(shard))
        cases = [case for subject in part_of(subjects, shard) for case in header.settings.cases(subject)]
        header = replace(header, plan=tuple(case.id for case in cases))
        records = []
        for case in cases:
            dice = 0.8 + int(case.subject[-5:]) / 10_000
            records.append(
                make_record(case.subject, case.region, case.prompt, dice=dice, prompts=(PROMPT,), **counted(dice))
            )
        directory = tmp_path / f"part{number}"
        directory.mkdir()
        write_file(directory, HEADER, json_text(header.to_json()))
        write_file(directory, CASES, "".join(map(line_of, records)))
        write_file(directory, VERDICT, json_text(judge_run(read_run(directory), None).to_json()))
        directories.append(directory)
    began = time.perf_counter()
    run, verdict = merge(directories, tmp_path / "merged")
    seconds = time.perf_counter() - began
    with capsys.disabled():
        print(f"\n{len(run.records)} cases of 64 shards merged in {seconds:.1f} s")
    assert len(run.records) == 15_012
    assert verdict.reasons == (NO_GATES,)
    assert seconds < 60
