"""The gate as its users run it: exit codes, sentences, the run directory, and what never passes."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch  # before pytester takes its snapshot of the modules, so that it stays loaded

from medsam_core.gates.baseline import Baseline
from medsam_core.gates.pairing import comparability
from medsam_core.plugin.evaluator import Evaluated
from medsam_core.plugin.hooks import RECORDS, MedsamSession
from medsam_core.plugin.scheduling import subject_of
from medsam_core.prompts.manifest import read_manifest
from medsam_core.runs import read_run
from medsam_core.text import few

pytest_plugins = ["pytester"]

SUITE = """
import pytest

def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))

@pytest.mark.gpu
def test_case_on_gpu(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
LENIENT = (
    'version = 1\n[[gate]]\nmetric = "dice"\nregion = ["WT", "TC"]\ncase_minimum = 0.0001\nmean_minimum = 0.0001\n'
)
# without hypothesis, which pytester would import again for every session
PLUGIN = ("-p", "medsam_core.plugin.plugin", "-p", "no:hypothesispytest", "--strict-markers")
STAND_IN = ("-p", "tests.plugin.box_filler")


@pytest.fixture
def gate(pytester, small_cohort, request):
    """gate(*options, gates=TOML) runs the suite on the small cohort and returns pytest's result.

    model: score with the small model; without it a stand-in fills the prompts' boxes, which takes no time.
    """
    pytester.makepyfile(test_gate=SUITE)

    def run(*options, gates=LENIENT, mark="not gpu", run_dir="run", model=False):
        cohort = () if "--medsam-root" in options else ("--medsam-root", str(small_cohort))
        chosen = ["-m", mark, "--medsam-run-dir", run_dir] if run_dir else ["-m", mark]
        if gates is not None:
            chosen += ["--medsam-gates", str(pytester.makefile(".toml", gates=gates))]
        if model:
            chosen += ["--medsam-checkpoint", str(request.getfixturevalue("small_checkpoint"))]
        return pytester.runpytest_inprocess(*STAND_IN, *PLUGIN, *cohort, *chosen, *options)

    return run


def said(result) -> str:
    return result.stdout.str() + result.stderr.str()


def test_options_of_the_environment_are_part_of_a_runs_command(gate, pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--medsam-limit=1 --medsam-overlays=0")
    assert gate().ret == 0
    told = json.loads((pytester.path / "run" / "run.json").read_text())["command"]
    assert told[:2] == ["PYTEST_ADDOPTS=--medsam-limit=1 --medsam-overlays=0", "pytest"]
    monkeypatch.delenv("PYTEST_ADDOPTS")
    gate("--medsam-limit=1", run_dir="other")
    assert json.loads((pytester.path / "other" / "run.json").read_text())["command"][0] == "pytest"


def test_a_run_whose_bounds_all_hold_passes(gate, pytester):
    result = gate("-v", model=True)
    assert result.ret == 0
    result.assert_outcomes(passed=12, deselected=12)
    run = read_run(pytester.path / "run")
    assert sorted(record.id for record in run.records) == sorted(run.plan)
    assert json.loads((run.directory / "verdict.json").read_text())["outcome"] == "PASS"
    assert (run.directory / "page.html").stat().st_size > 1000
    assert len(list((run.directory / "overlays").glob("*.png"))) == 4
    for line in (
        "*checkpoint: small*sha256*embedded, 64 px*",
        "device: *torch *sam2 *",
        "precision *, threads * of *",
        "*cohort: *2 subjects*labels brats2019*",
        "*PASSED Dice *",
        "*PASS*",
    ):
        result.stdout.fnmatch_lines([line])


def test_a_broken_case_bound_fails_and_says_what_where_and_how_to_rerun(gate, pytester):
    result = gate(gates='version = 1\n[[gate]]\nmetric = "dice"\nregion = "WT"\nprompt = "box"\ncase_minimum = 0.999\n')
    assert result.ret == 1
    result.assert_outcomes(failed=2, passed=10, deselected=12)
    result.stdout.re_match_lines(
        [r".*Dice 0\.\d+ < 0\.999 \(WT, box, key slice \d+\); .*overlay .*\.png; rerun: \S+ -m pytest ./.*"]
    )
    run = read_run(pytester.path / "run")
    broken = [record for record in run.records if record.diagnosis]
    assert len(broken) == 2
    assert all((run.directory / str(record.overlay)).exists() for record in broken)
    assert json.loads((run.directory / "verdict.json").read_text())["outcome"] == "FAIL"


def test_a_broken_cohort_bound_fails_though_every_case_passes(gate):
    result = gate(gates='version = 1\n[[gate]]\nmetric = "dice"\nregion = "WT"\nmean_minimum = 0.999\n')
    assert result.ret == 1
    result.assert_outcomes(passed=12, deselected=12)
    result.stdout.fnmatch_lines(["*FAIL*"])


def test_a_partial_run_is_inconclusive(gate):
    result = gate("-k", "WT and box")
    assert result.ret == 10
    assert "INCONCLUSIVE" in said(result)


def test_without_gates_there_is_no_pass(gate):
    result = gate(gates=None)
    assert result.ret == 10
    assert "no gates for this cohort: give --gates FILE" in said(result)


@pytest.mark.parametrize("profile", ["brats2023", "monai"])
def test_a_whole_session_under_another_profile(gate, pytester, profile):
    result = gate(
        "--medsam-profile",
        profile,
        "--medsam-regions",
        "TC",
        "--medsam-overlays",
        "1",
        gates=f'profile = "{profile}"\n{LENIENT}',
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*PASS: 4 of 4 cases scored*"])
    records = read_run(pytester.path / "run").records
    assert {key.split("/")[0] for record in records for key in record.scores} == {profile}
    assert records[0].score("dice") == records[0].scores[f"{profile}/dice@volume"]
    kept = {path.name for path in (pytester.path / "run" / "overlays").glob("*.png")}
    worst = min(records, key=lambda record: record.score("dice"))
    assert kept == {worst.id.replace("/", "__") + ".png"}


def test_a_gate_on_another_metric_has_it_scored(gate, pytester):
    gate(gates='version = 1\n[[gate]]\nmetric = "volumetric_similarity"\nregion = "WT"\ncase_minimum = 0.0001\n')
    assert "brats2019/volumetric_similarity@volume" in read_run(pytester.path / "run").records[0].scores


def test_replayed_prompts_give_the_same_scores(gate, pytester):
    gate("--medsam-jitter", "3", "--medsam-seed", "5")
    first = read_run(pytester.path / "run")
    gate("--medsam-prompts-from", str(pytester.path / "run" / "prompts.json"), run_dir="again")
    again = read_run(pytester.path / "again")
    assert {r.id: r.scores for r in first.records} == {r.id: r.scores for r in again.records}
    recorded, replayed = (read_manifest(pytester.path / run / "prompts.json") for run in ("run", "again"))
    assert recorded == replayed
    assert [dict(p) for r in first.records for p in r.prompts] == [dict(p) for r in again.records for p in r.prompts]


def test_several_key_slices_are_recorded_replayed_and_another_question(gate, pytester):
    more = ("--medsam-prompts=box,mask", "--medsam-limit=1", "--medsam-regions=WT,TC")
    result = gate("--medsam-key-slices=3", *more, model=True)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*key slice largest, 3 key slices in one track, jitter 0, profile*"])
    run = read_run(pytester.path / "run")
    assert run.header.settings.key_slices == 3
    assert [len(record.key_slices) for record in run.records] == [3] * 4
    replayed = f"--medsam-prompts-from={pytester.path / 'run' / 'prompts.json'}"
    assert gate(replayed, *more, model=True, run_dir="again").ret == 0
    again = read_run(pytester.path / "again")
    assert {r.id: r.scores for r in run.records} == {r.id: r.scores for r in again.records}
    gate(*more, model=True, run_dir="one")
    one = read_run(pytester.path / "one")
    assert any(one_.scores != record.scores for one_, record in zip(one.records, run.records, strict=True))
    assert comparability(Baseline.of(one), run).incomparable == (
        f"other prompts in 4 cases: {few(sorted(run.plan))}; replay the reference's with --medsam-prompts-from",
    )
    result = gate("--medsam-key-slices=5", *more, "--medsam-resume=run", model=True, run_dir=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "settings" in said(result)


def test_corrections_are_recorded_judged_and_another_question(gate, pytester):
    more = ("--medsam-prompts=box", "--medsam-limit=1", "--medsam-regions=WT,TC")
    bounds = 'version = 1\n[[gate]]\nmetric = "dice"\nscope = "round1"\ncase_minimum = 0.0001\n'
    bounds += '[[gate]]\nmetric = "nsd_auc"\nmean_minimum = 0.0001\n'
    result = gate("--medsam-refine=2", *more, gates=bounds, model=True)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*, 2 corrections by the rule volume, jitter 0, profile*", "*round 0*Dice AUC*"])
    run = read_run(pytester.path / "run")
    assert run.header.settings.refine == 2
    assert [len(record.rounds()) for record in run.records] == [3, 3]
    assert all(all(record.corrections) for record in run.records)
    assert [len(record.rounds("nsd_2mm")) for record in run.records] == [3, 3], "the gate on nsd_auc needs it"
    gate(*more, model=True, run_dir="without")
    without = read_run(pytester.path / "without")
    for one, record in zip(without.records, run.records, strict=True):
        assert record.rounds()[0] == pytest.approx(one.score("dice"), abs=1e-3)
        assert dict(record.prompts[0]) == dict(one.prompts[0])
    (different,) = comparability(Baseline.of(without), run).incomparable
    assert different == "other corrections: none in without, 2 by the rule volume now"
    result = gate("--medsam-refine=3", *more, "--medsam-resume=run", model=True, run_dir=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_predictor_that_takes_no_corrections_ends_the_session_before_a_case_is_scored(gate, pytester):
    command = ("--medsam-predictor=command", "--medsam-predictor-command=cat {input} {output}")
    result = gate("--medsam-refine=2", *command)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "predictor command: got corrections, expected none because this predictor does not take them" in said(result)
    assert not (pytester.path / "run" / "run.json").exists()


def test_a_gate_on_a_round_that_the_session_does_not_have_ends_it(gate, pytester):
    bounds = 'version = 1\n[[gate]]\nmetric = "dice"\nscope = "round3"\ncase_minimum = 0.1\n'
    result = gate("--medsam-refine=2", gates=bounds)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "gate 1 (Dice@round3): got 2 rounds of corrections, expected at least 3 for this score; give" in said(result)
    assert not (pytester.path / "run" / "run.json").exists()


def test_a_predictor_that_takes_one_slice_for_an_object_ends_the_session_before_a_case_is_scored(gate, pytester):
    command = ("--medsam-predictor=command", "--medsam-predictor-command=cat {input} {output}")
    result = gate("--medsam-key-slices=2", *command)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    sentence = "predictor command: got an object with prompts on several slices, expected one because this predictor"
    assert sentence in said(result)
    assert not (pytester.path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--medsam-prompts=box,recist", "predictor command: got the prompt mode recist, expected one of box, point,"),
        (
            "--medsam-modality=t1ce+t2+flair",
            "predictor command: got an image of three sequences, expected one of a single sequence because this",
        ),
    ],
)
def test_what_a_predictor_does_not_take_ends_the_session_before_a_case_is_scored(option, sentence, gate, pytester):
    result = gate(option, "--medsam-predictor=command", "--medsam-predictor-command=cat {input} {output}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in said(result)
    assert not (pytester.path / "run" / "run.json").exists()


def test_masks_made_of_prompts_on_images_of_three_sequences_from_the_options_to_the_files(gate, pytester):
    three = "t1ce+t2+flair"
    more = (f"--medsam-modality={three}", "--medsam-prompts=box,box-to-mask,recist", "--medsam-limit=1")
    more = (*more, "--medsam-regions=WT", "--medsam-overlays=all", "--medsam-save-masks")
    gates = f'version = 1\n[[gate]]\nmetric = "dice"\nmodality = "{three}"\nprompt = {{}}\ncase_minimum = 0.0001\n'
    result = gate(*more, gates=gates.format('["box", "box-to-mask", "recist"]'), model=True)
    assert result.ret == 0
    run = read_run(pytester.path / "run")
    assert run.header.settings.modalities == (three,)
    subject = run.records[0].case.subject
    assert [record.id for record in run.records] == [
        f"{subject}/{three}/WT/{mode}" for mode in ("box", "box-to-mask", "recist")
    ]
    for record in run.records:
        name = record.id.replace("/", "__")
        assert (record.overlay, record.mask) == (f"overlays/{name}.png", f"masks/{name}.nii.gz")
        assert all((run.directory / str(path)).is_file() for path in (record.overlay, record.mask))
    box, made, diameter = (record.prompts[0] for record in run.records)
    assert (made["box"], made["mask"]) == (box["box"], None), "the mask is made by the model, and not recorded"
    assert len(diameter["points"]) == 5
    assert run.records[0].scores != run.records[1].scores
    replayed = f"--medsam-prompts-from={run.directory / 'prompts.json'}"
    result = gate(replayed, *more, gates=gates.format('"recist"'), model=True, run_dir="again")
    assert result.ret == 0
    assert f"2 cases under no gate: {three}/WT/box, {three}/WT/box-to-mask" in said(result)
    again = read_run(pytester.path / "again")
    assert {r.id: r.scores for r in run.records} == {r.id: r.scores for r in again.records}


def test_a_cohort_that_lacks_one_of_three_sequences_is_refused(gate, pytester, small_cohort):
    cohort = pytester.path / "cohort"
    shutil.copytree(small_cohort, cohort)
    gone = sorted(cohort.rglob("*_t2.nii.gz"))[0]
    gone.unlink()
    result = gate("--medsam-root", str(cohort), "--medsam-modality=t1ce+t2+flair")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{gone.parent.name}: no t2 image in 1 of 2 subjects, expected one in each" in said(result)


def test_prompts_of_another_cohort_are_not_replayed_and_those_of_more_subjects_are(gate, pytester, tmp_path_factory):
    from medsam_core.phantoms.cohort import write_cohort

    other = tmp_path_factory.mktemp("other")
    write_cohort(other, subjects=2, size=(20, 64, 64), seed=11)
    volume = next(other.glob("*/*_seg.nii.gz"))
    volume.write_bytes(next(path for path in other.glob("*/*_seg.nii.gz") if path != volume).read_bytes())
    gate("--medsam-prompts", "box")
    prompts = str(pytester.path / "run" / "prompts.json")
    result = gate(
        "--medsam-prompts", "box", "--medsam-prompts-from", prompts, "--medsam-root", str(other), run_dir="again"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "got prompts for cohort" in said(result)
    assert not (pytester.path / "again" / "run.json").exists()
    assert (
        gate("--medsam-prompts", "box", "--medsam-prompts-from", prompts, "--medsam-limit", "1", run_dir="part").ret
        == 0
    )


def test_a_run_is_not_its_own_baseline(gate, pytester):
    gates = f"{LENIENT}mean_drop_maximum = 0.0\n"
    gate("--medsam-prompts", "box")
    assert gate("--medsam-prompts", "box", "--medsam-baseline", "run", gates=gates, run_dir="second").ret == 0
    cases = pytester.path / "second" / "cases.jsonl"
    cases.write_text("".join(cases.read_text().splitlines(keepends=True)[:3]))
    result = gate(
        "--medsam-prompts", "box", "--medsam-baseline", "second", "--medsam-resume", "second", gates=gates, run_dir=None
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "is the run" in said(result)
    assert "itself, expected another" in said(result)


def test_a_killed_run_goes_on_where_it_was(gate, pytester):
    gate()
    cases = pytester.path / "run" / "cases.jsonl"
    whole = read_run(pytester.path / "run").records
    cases.write_text("".join(cases.read_text().splitlines(keepends=True)[:5]) + '{"id": "torn')
    result = gate("--medsam-resume", "run", run_dir=None)
    assert result.ret == 0
    resumed = read_run(pytester.path / "run").records
    assert {r.id: r.scores for r in resumed} == {r.id: r.scores for r in whole}
    assert [r.seconds for r in resumed[:5]] == [r.seconds for r in whole[:5]], "scored again"


def test_a_run_directory_is_not_overwritten(gate):
    assert gate().ret == 0
    result = gate()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "already holds a run" in said(result)


def test_masks_are_saved_on_request(gate, pytester, small_cohort):
    import nibabel as nib

    gate("--medsam-save-masks", "--medsam-regions", "WT", "--medsam-prompts", "box", "--medsam-limit", "1")
    masks = sorted((pytester.path / "run" / "masks").glob("*.nii.gz"))
    assert len(masks) == 1
    image = nib.load(next(small_cohort.glob("*/*_t1ce.nii.gz")))
    mask = nib.load(masks[0])
    assert mask.shape == image.shape
    assert (mask.affine == image.affine).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
class TestWithoutGpu:
    def test_the_gpu_gate_ends_with_one_sentence(self, gate, pytester):
        result = gate(mark="gpu")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "no CUDA device was found, expected one" in said(result)
        assert not (pytester.path / "run" / "run.json").exists()

    def test_on_request_it_skips_visibly(self, gate):
        result = gate("--medsam-allow-no-gpu", "-rs", mark="gpu")
        assert result.ret == 0
        result.assert_outcomes(skipped=12, deselected=12)
        assert "no CUDA device (--medsam-allow-no-gpu)" in said(result)
        assert "this is not a PASS" in said(result)

    def test_a_device_that_is_not_there_is_named(self, gate):
        result = gate("--medsam-device", "cuda:7")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "cuda:7" in said(result)


GUEST = "def test_it(medsam_case, medsam_evaluate, medsam_check):\n    medsam_check(medsam_evaluate(medsam_case))\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="would run on the GPU")
@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_minus_m_gpu_selects_a_test_that_nobody_marked(pytester, small_cohort, workers):
    pytester.makepyfile(test_guest=GUEST, test_other="def test_other():\n    pass\n")
    given = (*STAND_IN, *PLUGIN, "--medsam-root", str(small_cohort), "--medsam-allow-no-gpu", *workers)
    for expression in ("gpu", "not latency and gpu"):
        result = pytester.runpytest_inprocess(*given, "-m", expression)
        assert result.parseoutcomes()["skipped"] == 12, said(result)
        assert "passed" not in result.parseoutcomes()
    for expression in ("not gpu", "not (gpu or latency)", "not latency or gpu"):
        result = pytester.runpytest_inprocess(*given, "-m", expression, "-k", "WT and box")
        assert result.parseoutcomes()["passed"] == 2, said(result)


def test_minus_m_gpu_without_a_gpu_is_an_error_before_the_model_is_loaded(pytester, small_cohort, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pytester.makepyfile(test_guest=GUEST)
    result = pytester.runpytest_inprocess(*STAND_IN, *PLUGIN, "--medsam-root", str(small_cohort), "-m", "gpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no CUDA device was found" in said(result)
    assert "no verdict" not in said(result)
    assert not (pytester.path / "runs").exists()


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_options_without_a_test_of_a_case_end_with_what_to_write_or_run(pytester, small_cohort, workers):
    given = (*PLUGIN, "--medsam-root", str(small_cohort), *workers)
    result = pytester.runpytest_inprocess(*given)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["note: no test asks for medsam_case, so nothing was scored; `medsam-core run` is *"])
    found = re.search(r"test_gate.py:\n((?: +.*\n)+)", result.stdout.str())
    pytester.makepyfile(test_gate=found[1])
    result = pytester.runpytest_inprocess(*STAND_IN, *given, "-k", "WT and box")
    assert result.parseoutcomes()["passed"] == 2, "what it says works"
    assert "no test asks" not in said(result)


@pytest.mark.parametrize("options", [(), ("--medsam-limit=1", "-k", "nothing")], ids=["no option", "deselected"])
def test_without_options_or_with_a_case_that_was_not_selected_there_is_no_note(pytester, options):
    pytester.makepyfile(test_gate=GUEST if options else "def test_ok():\n    pass\n")
    cohort = ("--medsam-phantom-subjects=1", "--medsam-phantom-size=16,64,64") if options else ()
    assert "no test asks" not in said(pytester.runpytest_inprocess(*PLUGIN, *cohort, *options))


def test_cpu_and_gpu_cases_do_not_mix_in_one_session(gate):
    result = gate(mark="gpu or not gpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "choose one with -m gpu or -m 'not gpu'" in said(result)


def test_a_session_in_which_every_case_was_skipped_does_not_end_well(gate, pytester):
    pytester.makepyfile(test_gate="import pytest\n@pytest.mark.skip\ndef test_case(medsam_case): pass\n")
    result = gate()
    assert result.ret == 10
    assert "this is not a PASS" in said(result)


def test_a_skip_inside_a_test_does_not_end_well(gate, pytester):
    pytester.makepyfile(test_gate="import pytest\ndef test_case(medsam_case): pytest.skip('later')\n")
    assert gate().ret == 10


def test_a_session_without_cases_is_left_alone(pytester):
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest_inprocess(*PLUGIN)
    assert result.ret == 0
    assert "MedSAM-2 gate" not in said(result)
    assert not (pytester.path / "runs").exists()


def test_another_test_that_fails_keeps_the_exit_code(gate, pytester):
    pytester.makepyfile(test_other="def test_other(): assert False")
    assert gate("-k", "other or (WT and box)").ret == 1


BAD_INPUT = [
    (("--medsam-regions", "WT,XT"), "unknown region 'XT': expected one of WT, TC, ET"),
    (("--medsam-prompts", "boxes"), "unknown prompt mode 'boxes'"),
    (("--medsam-modality", "dwi"), "unknown modality 'dwi'"),
    (("--medsam-modality", "t1ce+flair"), "modality 't1ce+flair': got 2 sequences, expected 1, or 3"),
    (("--medsam-prompts", "box>mask"), "unknown prompt mode 'box>mask': expected one of box, point,"),
    (("--medsam-protocol", "back"), "unknown protocol 'back'"),
    (("--medsam-device", "tpu"), "tpu"),
    (("--medsam-precision", "fp8"), "fp8"),
    (("--medsam-jitter", "much"), "--medsam-jitter: got 'much', expected a number ≥ 0"),
    (("--medsam-key-slices", "0"), "--medsam-key-slices: got '0', expected a whole number ≥ 1"),
    (("--medsam-refine", "-1"), "--medsam-refine: got '-1', expected a whole number ≥ 0"),
    (("--medsam-refine", "2", "--medsam-protocol", "slicewise"), "corrections: got 2 with the protocol slicewise"),
    (("--medsam-refine", "2", "--medsam-refine-rule", "best"), "unknown rule of corrections 'best'"),
    (("--medsam-key-slices", "many"), "--medsam-key-slices: got 'many', expected a whole number ≥ 1"),
    (("--medsam-key-slices", "2", "--medsam-protocol", "slicewise"), "key slices: got 2 with the protocol slicewise"),
    (("--medsam-limit", "0"), "--medsam-limit: got '0', expected a whole number ≥ 1"),
    (("--medsam-phantom-size", "64,64"), "--medsam-phantom-size: got 64,64, expected varied or three numbers D,H,W"),
    (("--medsam-root", "nowhere"), "nowhere"),
    (("--medsam-subjects", "Nobody"), "--medsam-subjects: Nobody not found among the 2 subjects"),
    (("--medsam-checkpoint", "nowhere.pt"), "nowhere.pt"),
    (("--medsam-checkpoint", "medsam3"), "medsam3"),
    (("--medsam-architecture", "sam9"), "sam9"),
    (("--medsam-image-size", "32000000"), "image size: got 32000000, expected a positive multiple of 32 up to 4096"),
    (("--medsam-weights", "best"), "--medsam-weights: got 'best', expected one of model, ema"),
    (("--medsam-weights", "ema"), "got only one set of weights, expected ema weights"),
    (("--medsam-image-size", "100"), "100"),
    (("--medsam-key-slice", "last"), "unknown key slice 'last'"),
    (("--medsam-metrics", "dise"), "unknown metric 'dise'"),
    (("--medsam-overlays", "some"), "--medsam-overlays: got 'some', expected a whole number"),
    (("--medsam-baseline", "nosuch"), "nosuch: neither a run"),
    (("--medsam-gates", "nowhere.toml"), "nowhere.toml"),
    (("--medsam-prompts-from", "nowhere.json"), "nowhere.json"),
    (("--medsam-labels", "mine"), "unknown label convention 'mine'"),
    (("--medsam-profile", "brats1999"), "unknown profile 'brats1999'"),
    (("--medsam-run-dir", "/proc/nothing/run"), "/proc/nothing/run: cannot be written"),
    (("--medsam-resume", "a", "--medsam-run-dir", "b"), "--medsam-run-dir and --medsam-resume: got both"),
]


@pytest.mark.parametrize(("options", "sentence"), BAD_INPUT, ids=[" ".join(options) for options, _ in BAD_INPUT])
def test_bad_input_gets_one_sentence_and_no_run(gate, pytester, options, sentence):
    result = gate(*options, model="--medsam-checkpoint" not in options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.stderr.lines if line.startswith("ERROR:")]
    assert len(errors) == 1
    assert sentence in errors[0]
    assert "Traceback" not in said(result)
    assert not (pytester.path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    "options", [("precision", "fp8"), ("device", "tpu"), ("image-size", "100"), ("baseline", "nosuch")], ids=" ".join
)
def test_a_mistake_is_found_before_the_phantoms_are_drawn(pytester, options):
    pytester.makepyfile(test_gate=SUITE)
    given = (f"--medsam-{options[0]}", options[1])
    result = pytester.runpytest_inprocess(*PLUGIN, "-m", "not gpu", "--medsam-phantom-dir", "phantoms", *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert options[1] in result.stderr.str()
    assert not (pytester.path / "phantoms").exists()


@pytest.mark.parametrize("options", [("--medsam-limit", "1"), ("--medsam-regions", "TC")], ids=" ".join)
def test_a_run_that_asked_for_something_else_is_not_resumed(gate, pytester, options):
    gate("--medsam-prompts", "box")
    before = {path: path.read_bytes() for path in (pytester.path / "run").glob("*.json*")}
    result = gate("--medsam-prompts", "box", "--medsam-resume", "run", *options, run_dir=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in said(result).splitlines() if "the run to resume differs in its " in line]
    assert len(errors) == 1
    assert "Traceback" not in said(result)
    assert "INTERNALERROR" not in said(result)
    assert before == {path: path.read_bytes() for path in (pytester.path / "run").glob("*.json*")}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--medsam-subjects", "Nobody"), "--medsam-subjects: Nobody not found among the 1 subjects"),
        (("--medsam-phantom-size", "1,2,3"), "got (1, 2, 3), expected"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_mistake_about_phantoms_is_one_sentence(pytester, options, sentence):
    pytester.makepyfile(test_gate=SUITE)
    small = ("--medsam-phantom-dir", "phantoms", "--medsam-phantom-subjects", "1", "--medsam-phantom-size", "16,64,64")
    result = pytester.runpytest_inprocess(*PLUGIN, *small, *options)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    told = [line for line in said(result).splitlines() if sentence in line]
    assert told
    assert "Traceback" not in said(result)
    assert "pytest_session.py" not in said(result)


def outcome_of(run_dir: Path) -> str:
    return json.loads((run_dir / "verdict.json").read_text())["outcome"]


def test_a_test_that_fails_by_itself_is_no_pass(gate, pytester):
    pytester.makepyfile(
        test_gate="def test_case(medsam_case, medsam_evaluate):\n"
        "    assert medsam_evaluate(medsam_case).score('dice') > (2 if medsam_case.region == 'ET' else -1)\n"
    )
    result = gate("--medsam-prompts", "box")
    assert result.ret == 10
    assert outcome_of(pytester.path / "run") == "INCONCLUSIVE"
    result.stdout.fnmatch_lines(["*INCONCLUSIVE 2 cases broke no bound, but the test failed: *"])


def test_a_run_is_not_resumed_under_other_gates(gate, pytester):
    strict = LENIENT.replace("case_minimum = 0.0001", "case_minimum = 0.999")
    assert gate("--medsam-prompts", "box", gates=strict).ret == 1
    kept = (pytester.path / "run" / "gates.toml").read_text()
    result = gate("--medsam-prompts", "box", "--medsam-resume", "run", run_dir=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "the run to resume differs in its gates; give the same options" in said(result)
    assert (pytester.path / "run" / "gates.toml").read_text() == kept
    assert outcome_of(pytester.path / "run") == "FAIL"


def test_a_test_that_is_called_like_a_case_is_none(gate, pytester):
    pytester.makepyfile(
        test_gate="import pytest\n"
        "@pytest.mark.parametrize('name', ['s1/t1ce/WT/box'])\n"
        "def test_words(name):\n"
        "    assert name\n"
    )
    result = gate("-n", "1")
    assert result.ret == 0
    assert "MedSAM-2 gate" not in said(result)
    assert not (pytester.path / "run" / "run.json").exists()


def test_a_test_may_score_several_cases(gate, pytester):
    pytester.makepyfile(
        test_gate="from dataclasses import replace\n"
        "def test_case(medsam_case, medsam_evaluate):\n"
        "    for region in ('WT', 'TC', 'ET'):\n"
        "        medsam_evaluate(replace(medsam_case, region=region))\n"
    )
    result = gate("--medsam-prompts", "box", "-k", "WT")
    assert result.ret == 0
    run = read_run(pytester.path / "run")
    assert sorted(record.id for record in run.records) == sorted(run.plan)


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_only_a_missing_gpu_may_be_skipped_on_request(gate, pytester, workers):
    pytester.makepyfile(
        test_gate=SUITE.replace("    medsam_check", "    pytest.skip('not today')\n    medsam_check", 1)
    )
    assert gate("--medsam-allow-no-gpu", *workers).ret == 10


def test_a_session_that_is_ended_as_if_well_is_no_pass(gate, pytester):
    pytester.makeconftest("import pytest\ndef pytest_runtest_setup(item):\n    pytest.exit('enough', returncode=0)\n")
    result = gate()
    assert result.ret == 10
    assert outcome_of(pytester.path / "run") == "INCONCLUSIVE"


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_reference_that_cannot_be_read_is_told_before_anything_is_scored(gate, pytester, workers):
    for options in (("--medsam-baseline", "nosuch"), ("--medsam-resume", "run", "--medsam-seed", "9")):
        if options[0] == "--medsam-resume":
            gate("--medsam-prompts", "box")
        result = gate(
            *options, "--medsam-prompts", "box", *workers, run_dir=None if options[0] == "--medsam-resume" else "other"
        )
        assert result.ret == pytest.ExitCode.USAGE_ERROR, said(result)
        assert ("nosuch: neither a run" if options[1] == "nosuch" else "differs in its settings") in said(result)
        assert "INTERNALERROR" not in said(result)
        assert not (pytester.path / "other" / "cases.jsonl").exists()


def test_weights_that_change_while_the_session_runs_are_no_pass(gate, pytester, small_checkpoint):
    import shutil

    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(small_checkpoint, "pt") as file:
        told = file.metadata()
    changed = load_file(small_checkpoint)
    changed["no_mem_embed"] = changed["no_mem_embed"] + 1
    save_file(changed, pytester.path / "next.safetensors", metadata=told)
    shutil.copy(small_checkpoint, pytester.path / "live.safetensors")
    pytester.makeconftest(
        "import pathlib\n"
        "def pytest_xdist_setupnodes():  # the session has begun, its workers have not\n"
        "    pathlib.Path('next.safetensors').rename('live.safetensors')\n"
    )
    result = gate("--medsam-checkpoint", str(pytester.path / "live.safetensors"), "--medsam-prompts", "box", "-n", "1")
    assert result.ret == 10
    assert "the checkpoint's file has changed since the session began" in said(result)
    assert outcome_of(pytester.path / "run") == "INCONCLUSIVE"


@pytest.mark.parametrize("name", ["page.html", "verdict.json", "prompts.json"])
def test_what_cannot_be_written_at_the_end_is_told_and_no_pass(gate, pytester, name):
    pytester.makeconftest(
        "import pathlib\n"
        "def pytest_runtest_teardown():\n"
        f"    pathlib.Path('run/{name}/in').mkdir(parents=True, exist_ok=True)\n"
    )
    result = gate("--medsam-prompts", "box")
    assert result.ret == 10
    assert "Traceback" not in said(result)
    result.stdout.re_match_lines([rf"INCONCLUSIVE: .*{name}: .*(cannot be written|expected to write)"])
    assert not (pytester.path / "run" / "verdict.json").is_file()


@pytest.mark.parametrize("broken", [False, True])
def test_a_configuration_that_pytest_does_not_read_is_told(gate, pytester, broken):
    pytester.makeini("[pytest]\n")
    if broken:  # as when markers are known to that file alone
        pytester.makepyfile(test_gate="import nothing_of_this_name")
    assert "read no configuration file" in said(gate("--medsam-regions", "TC", "--medsam-prompts", "box", gates=None))


def test_a_typo_in_the_gates_file_is_told_before_anything_runs(gate):
    result = gate(gates='version = 1\n[[gate]]\nmetric = "dise"\ncase_minimum = 0.1\n')
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "dice" in said(result)


def test_a_subject_whose_file_is_damaged_is_not_scored_and_the_run_not_passed(gate, pytester, small_cohort):
    import shutil

    root = pytester.path / "cohort"
    shutil.copytree(small_cohort, root)
    image = sorted(root.glob("*/*_t1ce.nii.gz"))[0]
    image.write_bytes(image.read_bytes()[:3000])
    result = gate("--medsam-root", str(root))
    assert result.ret == 10
    result.assert_outcomes(failed=6, passed=6, deselected=12)
    told = [line for line in result.stdout.lines if line.startswith(image.name)]
    assert len(told) == 6, "one sentence for each of the subject's cases"
    assert "Traceback" not in said(result)
    assert "exception" not in said(result)


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto takes the GPU")
def test_the_header_says_what_was_decided_and_why(gate, monkeypatch):
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = gate("-k", "WT and box")
    result.stdout.fnmatch_lines(
        [
            "device: cpu (auto: torch sees no GPU): *",
            "precision fp32 (auto: the CPU is always fp32, so that scores do not depend on the processor), "
            f"threads {torch.get_num_threads()} of * (OMP_NUM_THREADS)",
        ]
    )
    asked = gate("-k", "WT and box", "--medsam-device", "cpu", "--medsam-precision", "fp32", run_dir="asked")
    asked.stdout.fnmatch_lines(["device: cpu: *", "precision fp32, threads *"])


def test_what_a_conftest_sets_changes_no_score_and_is_in_the_header(gate, pytester):
    assert gate("--medsam-device", "cpu", model=True).ret == 0
    pytester.makeconftest(
        "import torch\nmedium = torch.set_float32_matmul_precision\n"
        "def pytest_runtest_setup(item):\n    torch.set_default_dtype(torch.float64)\n"
        "def pytest_unconfigure():\n    medium('highest')\n    torch.set_default_dtype(torch.float32)\n"
        "medium('medium')\n"
    )
    result = gate("--medsam-device", "cpu", model=True, run_dir="set")
    assert result.ret == 0, said(result)
    plain, found = (read_run(pytester.path / name) for name in ("run", "set"))
    assert [record.scores for record in found.records] == [record.scores for record in plain.records]
    assert (plain.header.decided.ambient, found.header.decided.ambient) == ("", "float32 matmul precision medium")
    result.stdout.fnmatch_lines(["set aside while the model works: float32 matmul precision medium"])
    later = "set aside while the model works: float32 matmul precision medium, default dtype float64"
    assert found.records[0].notes == (later,)


def test_a_batch_that_did_not_fit_is_told_of_in_the_run_and_at_its_end(gate, pytester, monkeypatch):
    from sam2.modeling.sam2_base import SAM2Base

    forward = SAM2Base.forward_image

    def crowded(self, images):
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return forward(self, images)

    monkeypatch.setattr(SAM2Base, "forward_image", crowded)
    result = gate("--medsam-device", "cpu", model=True)
    assert result.ret == 0
    notes = [line for line in result.stdout.lines if "out of device memory" in line]
    assert len(notes) == 1
    said = "out of device memory: went on with a batch of 2"
    first = read_run(pytester.path / "run").records[0]
    assert notes[0].startswith(f"note: {said} ({first.case.subject}")
    assert first.notes == (said,)
    assert said in (pytester.path / "run" / "page.html").read_text()


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        (
            "b/test_accuracy.py::test_case[Brats18_2013_21_1/t1ce/WT/box]",
            "b/test_accuracy.py::test_case[Brats18_2013_21_1]",
        ),
        ("b/t.py::test_case[s/t1ce/WT/box/slicewise]", "b/t.py::test_case[s]"),
        ("tests/test_x.py::test_y[a-b]", "tests/test_x.py::test_y[a-b]"),
        ("tests/test_x.py::test_y", "tests/test_x.py::test_y"),
    ],
)
def test_cases_of_a_subject_are_scheduled_together(nodeid, scope):
    assert subject_of(nodeid) == scope


def test_an_absent_region_shows_no_score_of_one(make_record):
    """With -v; its Dice is 1 by the profile's rule for two empty masks, but nothing was prompted."""
    for record, said in (
        (make_record(dice=0.5), "PASSED Dice 0.500"),
        (make_record(dice=1.0, slices=()), "PASSED absent"),
    ):
        wire = Evaluated(record, ()).to_wire()
        report = SimpleNamespace(**{RECORDS: [wire]}, when="call", passed=True, failed=False)
        report.outcome = "passed"
        assert MedsamSession.pytest_report_teststatus(None, report) == ("passed", ".", said)
