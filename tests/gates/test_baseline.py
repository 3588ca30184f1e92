"""Baselines: small sorted text, read back to the same numbers, and never accepted by accident."""

from __future__ import annotations

import ast
import json
import math
import re
from pathlib import Path

import pytest

import medsam_core
from medsam_core.errors import GateError
from medsam_core.gates.acceptance import accept
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import FOLDER, read_baseline, read_sets, text_of, write_baseline
from medsam_core.gates.comparison import compare
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.reference import find_reference
from medsam_core.gates.verdict import Outcome
from medsam_core.runs import read_run


def written(baseline):
    return text_of(baseline.name, {baseline.identity.kind: baseline})


KEY = "brats2019/dice@volume"


@pytest.fixture
def gates(tmp_path):
    path = tmp_path / "gates.toml"
    path.write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\n')
    return load_gates(path)


@pytest.fixture
def finished(make_record, make_run):
    """`finished(0.9, 0.8, name=…, verdict="PASS")`: a run of those Dice scores that ended so."""

    def make(*dice, name="run", verdict="PASS", **changes):
        run = make_run([make_record(f"S{i}", dice=one) for i, one in enumerate(dice)], name=name, **changes)
        if verdict is not None:
            (run.directory / "verdict.json").write_text(json.dumps({"outcome": verdict}))
        return run

    return make


def test_the_file_is_sorted_with_one_line_per_case(make_record, recall):
    records = [make_record("S2", dice=1 / 3), make_record("S1", dice=0.5)]
    lines = written(Baseline.of(recall(records), "main")).splitlines()
    cases = [line for line in lines if "/t1ce/" in line]
    assert [line.split('"')[1] for line in cases] == ["S1/t1ce/WT/box", "S2/t1ce/WT/box"]
    assert '"brats2019/dice@volume": 0.333333,' in cases[1]
    assert lines[1:5] == ['"schema": 2,', '"name": "main",', '"sets": {', '"cpu, fp32": {']


def test_what_is_written_is_read_back(make_record, recall, tmp_path):
    records = [make_record("S1", dice=1 / 3), make_record("S2", dice=math.nan), make_record("S3", slices=())]
    baseline = Baseline.of(recall(records), "main")
    path = write_baseline(baseline, tmp_path / "new" / "folder")
    again = read_baseline(path)
    assert written(again) == written(baseline)
    assert again.name == "main"
    assert (again.identity.cohort, again.identity.environment) == (
        baseline.identity.cohort,
        baseline.identity.environment,
    )
    assert again.cases["S1/t1ce/WT/box"] == baseline.cases["S1/t1ce/WT/box"]
    assert math.isnan(again.cases["S2/t1ce/WT/box"].scores["brats2019/dice@volume"])
    assert not again.cases["S3/t1ce/WT/box"].prompted


def test_the_run_itself_passes_against_its_baseline(make_record, make_run, tmp_path):
    run = make_run([make_record(f"S{i}", dice=(i + 1) / 7.3) for i in range(7)])
    path = write_baseline(Baseline.of(run, "main"), tmp_path)
    comparison = compare(read_baseline(path), run)
    assert comparison.outcome is Outcome.PASS
    assert all(pair.benefit == 0 for group in comparison.groups for pair in group.pairs)


def test_the_order_of_the_records_does_not_show(make_record, recall):
    records = [make_record(f"S{i}", dice=i / 7) for i in range(7)]
    assert (
        written(Baseline.of(recall(records), "main")).split('"cases"')[1]
        == (written(Baseline.of(recall(records[::-1]), "main")).split('"cases"')[1])
    )


def test_no_folder_of_this_machine_is_in_the_file(make_record, recall):
    cohort = {"root": "/home/someone/secret/BraTS2020", "subjects": ["S1"], "fingerprint": "f"}
    text = written(Baseline.of(recall([make_record()], cohort=cohort), "main"))
    assert "secret" not in text
    assert "BraTS2020" in text


def test_a_pass_is_accepted(finished, gates, tmp_path):
    path, overruled = accept(finished(0.9, 0.8), "main", gates, folder=tmp_path / "b", reason="first")
    assert overruled == ()
    identity = read_baseline(path).identity
    assert (identity.outcome, identity.forced, identity.reason) == ("PASS", False, "first")


@pytest.mark.parametrize(
    ("dice", "verdict", "with_gates", "message"),
    [
        (
            (0.9, 0.4),
            "PASS",
            True,
            "is not accepted as main: FAIL: 2 of 2 cases scored, 0 of 1 bound held; predictor engine; FAIL gate 1",
        ),
        (
            (0.9, 0.8),
            "FAIL",
            True,
            "FAIL: its session ended with this verdict, although its records pass; fix the run, or add --force",
        ),
        ((0.9, 0.8), "INCONCLUSIVE", True, "INCONCLUSIVE: its session ended with this verdict"),
        ((0.9, 0.8), None, True, "it has no verdict, so its session did not end; finish it with --medsam-resume"),
        ((0.9, 0.8), "PASS", False, "INCONCLUSIVE no gates for this cohort"),
        ((0.9, math.nan), "PASS", True, "Dice is NaN in 1 case"),
    ],
)
def test_what_is_no_pass_is_refused_unless_forced(finished, gates, tmp_path, dice, verdict, with_gates, message):
    run, folder = finished(*dice, verdict=verdict), tmp_path / "b"
    with pytest.raises(GateError, match=re.escape(message)):
        accept(run, "main", gates if with_gates else None, folder=folder)
    assert not folder.exists()
    path, overruled = accept(run, "main", gates if with_gates else None, folder=folder, force=True)
    assert any(message.split(": ")[-1].split("; fix")[0] in objection for objection in overruled)
    assert read_baseline(path).identity.forced is True
    assert read_baseline(path).identity.objections == overruled


@pytest.fixture
def gated(finished, tmp_path):
    """`gated(0.9, verdict="INCONCLUSIVE")`: a run whose own gates refer to the baseline main; and those gates."""

    def make(*dice, **more):
        path = tmp_path / "relative.toml"
        body = '[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\nmean_drop_maximum = 0.01'
        path.write_text(f'version = 1\nbaseline = "main"\n{body}\n')
        gates = load_gates(path)
        run = finished(*dice, gates={"file": "relative.toml", "sha256": gates.sha256}, **more)
        (run.directory / "gates.toml").write_bytes(path.read_bytes())
        return run, gates

    return make


def test_the_first_baseline_is_accepted_under_gates_that_already_ask_for_it(gated, tmp_path):
    run, read = gated(0.9, 0.8, verdict="INCONCLUSIVE")  # as a session without that baseline ends
    path, overruled = accept(run, "main", read, folder=tmp_path / "b")
    assert overruled == ()
    assert read_baseline(path).identity.outcome == "PASS"
    worse, read = gated(0.8, 0.7, name="worse", verdict="FAIL")
    with pytest.raises(GateError, match="FAIL gate 1"):  # from now on it is the accepted one that counts
        accept(worse, "main", read, folder=tmp_path / "b")


def test_the_first_baseline_has_to_hold_the_other_bounds(gated, tmp_path):
    run, read = gated(0.9, 0.4, verdict="INCONCLUSIVE")
    with pytest.raises(GateError, match=r"worst Dice 0\.400 < 0\.500"):
        accept(run, "main", read, folder=tmp_path / "b")


def test_a_first_baseline_of_another_name_does_not_stand_for_the_one_asked_for(gated, tmp_path):
    run, read = gated(0.9, 0.8, verdict="INCONCLUSIVE")
    with pytest.raises(GateError, match="needs a baseline"):
        accept(run, "other", read, folder=tmp_path / "b")


@pytest.fixture
def with_two_baselines(finished, tmp_path):
    """A folder with the baselines main, of Dice 0.9 and 0.9, and other, of 0.8 and 0.8."""
    folder = tmp_path / "b"
    for name, dice in (("main", 0.9), ("other", 0.8)):
        write_baseline(Baseline.of(finished(dice, dice, name=f"of {name}"), name), folder)
    return folder


def test_a_run_is_accepted_by_the_baseline_that_its_session_was_given(gated, with_two_baselines):
    run, read = gated(0.8, 0.8, baseline="other")
    path, overruled = accept(run, "new", read, folder=with_two_baselines)
    assert overruled == ()
    assert read_baseline(path).identity.outcome == "PASS"
    run, read = gated(0.8, 0.8, name="without", verdict="PASS")
    with pytest.raises(GateError, match=r"drop of the mean Dice 0\.100 > 0\.010 over 2 cases against main"):
        accept(run, "newer", read, folder=with_two_baselines)


def test_a_run_that_fell_below_the_baseline_its_session_was_given_is_refused(gated, with_two_baselines):
    run, read = gated(0.85, 0.85, name="strict")
    write_baseline(Baseline.of(run, "strict"), with_two_baselines)
    run, read = gated(0.8, 0.8, baseline="strict")
    (with_two_baselines / "main.json").write_text((with_two_baselines / "other.json").read_text())
    with pytest.raises(GateError, match=r"drop of the mean Dice 0\.050 > 0\.010 over 2 cases against strict"):
        accept(run, "new", read, folder=with_two_baselines)


def test_a_baseline_that_the_session_was_given_and_is_gone_is_an_objection(gated, with_two_baselines):
    run, read = gated(0.95, 0.95, baseline="gone")
    message = (
        r"INCONCLUSIVE: what its session was compared with cannot be used: gone: neither a run, a baseline file nor"
    )
    with pytest.raises(GateError, match=message):
        accept(run, "new", read, folder=with_two_baselines)
    path, overruled = accept(run, "new", read, folder=with_two_baselines, force=True)
    assert len(overruled) == 1
    assert read_baseline(path).identity.outcome == "INCONCLUSIVE"
    itself, read = gated(0.95, 0.95, name="itself")
    header = itself.directory / "run.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "baseline": str(itself.directory)}))
    with pytest.raises(GateError, match=r"cannot be used: .* itself, expected another"):
        accept(read_run(itself.directory), "new", read, folder=with_two_baselines)


def test_gates_that_compare_with_nothing_do_not_miss_a_baseline_that_is_gone(finished, gates, tmp_path):
    assert accept(finished(0.9, baseline="gone"), "main", gates, folder=tmp_path / "b")[1] == ()


def test_a_missing_baseline_does_not_explain_the_verdict_of_a_session_that_was_given_another(gated, with_two_baselines):
    (with_two_baselines / "main.json").unlink()
    run, read = gated(0.8, 0.8, baseline="other", verdict="INCONCLUSIVE")  # a test crashed, say
    with pytest.raises(GateError, match="INCONCLUSIVE: its session ended with this verdict, although its records pass"):
        accept(run, "new", read, folder=with_two_baselines)


def test_a_verdict_of_fail_is_an_objection_whatever_the_gates(gated, tmp_path):
    run, read = gated(0.9, 0.8, verdict="FAIL")
    with pytest.raises(GateError, match="FAIL: its session ended with this verdict"):
        accept(run, "main", read, folder=tmp_path / "b")


def test_a_baseline_that_comes_with_the_package_is_found_from_anywhere(finished, tmp_path, monkeypatch):
    write_baseline(Baseline.of(finished(0.9), "shipped"), tmp_path / "package")
    monkeypatch.setattr("medsam_core.gates.baseline_file.SHIPPED", (tmp_path / "package",))
    monkeypatch.chdir(tmp_path)
    assert find_reference("shipped").name == "shipped"
    with pytest.raises(GateError, match="neither a run, a baseline file nor a name"):
        find_reference("shipped", tmp_path / "mine")  # a folder that was named is the only one


def test_a_baseline_that_comes_with_the_package_is_not_hidden_by_a_worse_run(gated, tmp_path, monkeypatch):
    shipped, elsewhere = tmp_path / "package", tmp_path / "elsewhere"
    good, read = gated(*[0.9] * 6, name="good", verdict="INCONCLUSIVE")
    write_baseline(Baseline.of(good, "main"), shipped)
    worse, read = gated(*[0.8] * 6, name="worse", verdict="INCONCLUSIVE")
    monkeypatch.setattr("medsam_core.gates.baseline_file.SHIPPED", (shipped,))
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    message = r"FAIL gate 1 .*FAIL against the baseline main that it would replace: WT/box Dice −0\.100"
    with pytest.raises(GateError, match=message):
        accept(worse, "main", read)
    assert list(elsewhere.iterdir()) == []
    path, overruled = accept(worse, "main", read, force=True)
    assert path == FOLDER / "main.json"
    assert [one[:4] for one in overruled] == ["FAIL", "FAIL"]  # by its gates, and by the comparison
    assert read_baseline(path).identity.outcome == "FAIL"


def test_a_damaged_verdict_is_an_objection(finished, gates, tmp_path):
    run = finished(0.9)
    (run.directory / "verdict.json").write_text("{")
    with pytest.raises(GateError, match=r"INCONCLUSIVE: verdict\.json cannot be read"):
        accept(run, "main", gates, folder=tmp_path / "b")


def test_a_partial_run_is_refused(make_record, make_run, gates, tmp_path):
    run = make_run([make_record()], plan=["S1/t1ce/WT/box", "S2/t1ce/WT/box"])
    (run.directory / "verdict.json").write_text('{"outcome": "PASS"}')
    with pytest.raises(GateError, match="1 case planned but not scored"):
        accept(run, "main", gates, folder=tmp_path / "b")


def test_a_worse_run_does_not_replace_a_baseline_even_if_it_holds_the_gates(finished, gates, tmp_path):
    folder = tmp_path / "b"
    path, _ = accept(finished(*[0.9] * 6, name="good"), "main", gates, folder=folder)
    before = path.read_text()
    worse = finished(*[0.8] * 6, name="worse")
    with pytest.raises(GateError, match=r"FAIL against the baseline main that it would replace: WT/box Dice −0.100"):
        accept(worse, "main", gates, folder=folder)
    assert path.read_text() == before
    accept(finished(*[0.95] * 6, name="better"), "main", gates, folder=folder)
    assert path.read_text() != before
    accept(worse, "main", gates, folder=folder, force=True)
    assert read_baseline(path).identity.forced is True


def test_many_small_drops_are_not_accepted_one_by_one(finished, gates, tmp_path):
    """Each run is as good as the one before, within the margin; the anchor sees the sum."""
    folder = tmp_path / "b"
    accept(finished(*[0.9] * 6, name="first"), "main", gates, folder=folder)
    accept(finished(*[0.891] * 6, name="second"), "main", gates, folder=folder)
    third = finished(*[0.882] * 6, name="third")
    with pytest.raises(
        GateError, match=r"not accepted as main: FAIL against the anchor of main, .*: WT/box Dice −0\.018"
    ):
        accept(third, "main", gates, folder=folder)
    found = read_baseline(folder / "main.json")
    assert (found.score("S0/t1ce/WT/box", KEY), found.anchor.score("S0/t1ce/WT/box", KEY)) == (0.891, 0.9)


def test_a_better_run_does_not_move_the_anchor_and_is_what_the_next_is_compared_with(finished, gates, tmp_path):
    folder = tmp_path / "b"
    for name, dice in (("first", 0.85), ("better", 0.9)):
        accept(finished(*[dice] * 6, name=name), "main", gates, folder=folder)
    with pytest.raises(GateError, match="FAIL against the baseline main that it would replace"):
        accept(finished(*[0.86] * 6, name="fallen"), "main", gates, folder=folder)
    assert read_baseline(folder / "main.json").anchor.score("S0/t1ce/WT/box", KEY) == 0.85


def test_a_forced_run_is_the_next_anchor_and_its_objections_stay_with_it(finished, gates, tmp_path):
    folder = tmp_path / "b"
    accept(finished(*[0.9] * 6, name="first"), "main", gates, folder=folder)
    accept(finished(*[0.8] * 6, name="forced"), "main", gates, folder=folder, force=True, reason="harder prompts")
    path, overruled = accept(finished(*[0.795] * 6, name="after"), "main", gates, folder=folder)
    assert overruled == ()
    found = read_baseline(path)
    assert (found.identity.forced, found.anchor.identity.forced) == (False, True)
    assert found.anchor.identity.reason == "harder prompts"
    assert found.anchor.identity.objections[0].startswith("FAIL against the baseline main that it would replace")
    with pytest.raises(GateError, match="FAIL against the anchor of main"):
        accept(finished(*[0.786] * 6, name="last"), "main", gates, folder=folder)


def test_a_baseline_of_the_former_form_is_read_and_is_its_own_anchor(finished, gates, tmp_path):
    folder = tmp_path / "b"
    first = finished(*[0.9] * 6, name="first")
    path, _ = accept(first, "main", gates, folder=folder)
    stored = json.loads(path.read_text())["sets"]["cpu, fp32"]
    path.write_text(json.dumps({"schema": 1, "name": "main", "identity": stored["identity"], "cases": stored["cases"]}))
    before = read_baseline(path)
    assert (before.kinds, before.anchor) == (("cpu, fp32",), None)
    assert compare(before, first).outcome is Outcome.PASS
    accept(finished(*[0.895] * 6, name="second"), "main", gates, folder=folder)
    assert read_baseline(path).anchor.score("S0/t1ce/WT/box", KEY) == 0.9


def test_each_kind_of_device_and_precision_has_its_own_scores(finished, gates, tmp_path):
    folder = tmp_path / "b"
    accept(finished(0.9, 0.8, name="fp32"), "main", gates, folder=folder)
    path, overruled = accept(finished(0.88, 0.8, name="bf16", precision="bf16"), "main", gates, folder=folder)
    assert overruled == ()
    assert set(read_sets(path)) == {"cpu, fp32", "cpu, bf16"}
    case = "S0/t1ce/WT/box"
    found = {
        kind: read_baseline(path, kind).score(case, KEY) for kind in ("cpu, bf16", "cpu, fp32", None, "cuda, bf16")
    }
    assert found == {"cpu, bf16": 0.88, "cpu, fp32": 0.9, None: 0.9, "cuda, bf16": 0.9}
    assert read_baseline(path, "cpu, bf16").anchor is None
    accept(finished(0.875, 0.8, name="again", precision="bf16"), "main", gates, folder=folder)
    assert read_baseline(path, "cpu, bf16").anchor.score(case, KEY) == 0.88
    assert read_baseline(path, "cpu, fp32").score(case, KEY) == 0.9


def test_a_gpu_without_scores_of_its_own_gets_those_of_another_gpu(make_record, recall, tmp_path):
    def baseline(device, precision, gpu):
        environment = {"gpu": gpu, "cpu": "a CPU"}
        return Baseline.of(recall([make_record()], device=device, precision=precision, environment=environment), "main")

    others = [baseline("cpu", "fp32", None), baseline("cuda:1", "bf16", "NVIDIA H200")]
    path = write_baseline(baseline("cuda", "fp32", "NVIDIA H200"), tmp_path, others=others)
    h200 = "cuda NVIDIA H200"
    assert set(read_sets(path)) == {"cpu, fp32", f"{h200}, bf16", f"{h200}, fp32"}
    kinds = (f"{h200}, bf16", "cuda A100, bf16", "cpu, bf16")
    found = {kind: read_baseline(path, kind).identity.kind for kind in kinds}
    assert found == {f"{h200}, bf16": f"{h200}, bf16", "cuda A100, bf16": f"{h200}, fp32", "cpu, bf16": "cpu, fp32"}


@pytest.mark.parametrize(
    ("dice", "changes", "message"),
    [
        ((0.86, 0.79), {}, r"FAIL against the baseline main of cpu, fp32: the mean Dice of all cases fell by 0\.025"),
        ((0.9, 0.8), {"checkpoint": {"name": "o", "sha256": "d" * 64}}, "it is of another checkpoint"),
        ((0.9, 0.8, 0.8), {}, "INCONCLUSIVE against the baseline main of cpu, fp32: 1 case new against main, of S2"),
    ],
)
def test_scores_of_a_new_kind_must_be_like_those_of_another(finished, gates, tmp_path, dice, changes, message):
    """Else a bad run would be a baseline after all, as that of another precision."""
    folder = tmp_path / "b"
    path, _ = accept(finished(0.9, 0.8, name="fp32"), "main", gates, folder=folder)
    before = path.read_text()
    with pytest.raises(GateError, match=message):
        accept(finished(*dice, name="bf16", precision="bf16", **changes), "main", gates, folder=folder)
    assert path.read_text() == before


def test_a_new_kind_is_compared_with_the_anchor_of_the_other_too(finished, gates, tmp_path):
    folder = tmp_path / "b"
    for name, dice in (("first", 0.9), ("second", 0.891)):
        accept(finished(*[dice] * 6, name=name), "main", gates, folder=folder)
    with pytest.raises(GateError, match=r"FAIL against the anchor of main, .*fell by 0\.025 > 0\.020"):
        accept(finished(*[0.875] * 6, name="bf16", precision="bf16"), "main", gates, folder=folder)


def test_the_file_says_what_the_run_was_judged_against(gated, tmp_path):
    folder = tmp_path / "b"
    first, read = gated(*[0.9] * 6, name="first", verdict="INCONCLUSIVE")
    path, _ = accept(first, "main", read, folder=folder)
    assert read_baseline(path).identity.judged_against == ("itself, as the first of its name",)
    second, read = gated(*[0.895] * 6, name="second", verdict="PASS")
    accept(second, "main", read, folder=folder)
    accept(gated(*[0.894] * 6, name="third", verdict="PASS")[0], "main", read, folder=folder)
    of = "of 2026-01-02T03:04:05+00:00 (cpu, fp32, checkpoint cccccccccccc)"
    assert read_baseline(path).identity.judged_against == (
        f"main {of}, by the gates",
        f"main {of}, by comparison",
        f"the anchor of main {of}, by comparison",
    )


def test_a_run_that_was_compared_with_a_failed_one_does_not_replace_the_good_baseline(gated, tmp_path):
    """A chain: b1 FAILs, b2 passes against b1, and b2 is accepted."""
    folder = tmp_path / "b"
    good, read = gated(*[0.9] * 6, name="good", verdict="INCONCLUSIVE")
    path, _ = accept(good, "main", read, folder=folder)
    before = path.read_text()
    b1, read = gated(*[0.8] * 6, name="b1", verdict="FAIL")
    b2, read = gated(*[0.8] * 6, name="b2", verdict="PASS", baseline=str(b1.directory))
    (b2.directory / "cases.jsonl").write_text((b2.directory / "cases.jsonl").read_text() + "\n")  # no copy of b1
    with pytest.raises(GateError) as caught:
        accept(b2, "main", read, folder=folder)
    assert "b1 ended as FAIL, so nothing is compared with it" in str(caught.value)
    assert "FAIL against the baseline main that it would replace: FAIL gate 1 (Dice) mean_drop_maximum" in str(
        caught.value
    )
    assert path.read_text() == before


def test_the_gates_own_bounds_are_held_against_what_is_replaced(gated, with_two_baselines):
    """`compare` tolerates 0.01 of the mean; these gates tolerate no drop of a case beyond 0.002."""
    run, read = gated(0.895, 0.9, name="lower", baseline="lenient")
    strict = read.path.with_name("strict.toml")
    strict.write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_drop_maximum = 0.002\n')
    write_baseline(Baseline.of(run, "lenient"), with_two_baselines)
    with pytest.raises(GateError, match=r"FAIL against the baseline main that it would replace: FAIL gate 1 .*0\.005"):
        accept(run, "main", load_gates(strict), folder=with_two_baselines)


def test_another_cohort_does_not_replace_a_baseline_unforced(finished, gates, tmp_path):
    folder = tmp_path / "b"
    accept(finished(0.9, name="one"), "main", gates, folder=folder)
    with pytest.raises(GateError, match=r"INCONCLUSIVE against the baseline main .*1 case new against main, of S1"):
        accept(finished(0.9, 0.9, name="two"), "main", gates, folder=folder)


def test_a_run_without_records_is_no_baseline_even_by_force(make_run, gates, tmp_path):
    with pytest.raises(GateError, match="has no scored case"):
        accept(make_run([], plan=["S1/t1ce/WT/box"]), "main", gates, folder=tmp_path / "b", force=True)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "with blank", ".hidden", "-o"])
def test_a_name_that_is_no_file_name_is_refused(finished, gates, tmp_path, name):
    with pytest.raises(GateError, match="expected letters, digits"):
        accept(finished(0.9), name, gates, folder=tmp_path / "b")


def test_an_unwritable_folder_is_one_sentence(finished, gates, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GateError, match="cannot be written"):
        accept(finished(0.9), "main", gates, folder=tmp_path / "file")


def _one_case(**changes):
    case = {"prompted": True, "prompts": "p", "data": "d", "scores": {"brats2019/dice@volume": 0.5}, **changes}
    return json.dumps({"schema": 1, "name": "m", "identity": {}, "cases": {"S1/t1ce/WT/box": case}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "got text that is not JSON (Input data was truncated), expected a baseline; give a baseline file"),
        ("[]", "got a list, expected a baseline"),
        ('{"schema": 1}', "lacks the field name"),
        ('{"schema": 1, "name": "m", "identity": {}, "cases": {"a": {"dice": 1}}}', "lacks the field cases.a.prompted"),
        ('{"schema": 1, "name": "m", "identity": [], "cases": {}}', "identity: got array where object belongs"),
        ('{"schema": 1, "name": "m", "identity": "x", "cases": {}}', "identity: got str where object belongs"),
        ('{"schema": 1, "name": ["m"], "identity": {}, "cases": {}}', "name: got array where str belongs"),
        (
            '{"schema": 1, "name": "m", "identity": {"cohort": ["c"]}, "cases": {}}',
            "identity.cohort: got array where object belongs",
        ),
        (
            '{"schema": 1, "name": "m", "identity": {"checkpoint": "c"}, "cases": {}}',
            "identity.checkpoint: got str where object",
        ),
        ('{"schema": 1, "name": "m", "identity": {}, "cases": []}', "cases: got array where object belongs"),
        (_one_case(prompted="no"), "cases.S1/t1ce/WT/box.prompted: got str where bool belongs"),
        (_one_case(prompts=[]), "cases.S1/t1ce/WT/box.prompts: got array where str belongs"),
        (_one_case(data=None), "cases.S1/t1ce/WT/box.data: got null where str belongs"),
        (_one_case(scores=[0.5]), "cases.S1/t1ce/WT/box.scores: got array where object belongs"),
        (
            _one_case(scores={"brats2019/dice@volume": None}),
            "cases.S1/t1ce/WT/box.scores.brats2019/dice@volume: got null where float belongs",
        ),
        pytest.param(
            _one_case(scores={"brats2019/dice@volume": 10**400}), "Number out of range", id="a score of 401 digits"
        ),
        ('{"schema": [], "name": "m"}', "schema: got []"),
        ('{"schema": 2, "name": "m", "sets": []}', "sets: got array where object belongs"),
        ('{"schema": 2, "name": "m", "sets": {}}', "sets: got none"),
        (
            '{"schema": 2, "name": "m", "sets": {"cpu, bf16": {"identity": '
            '{"device": "cpu", "precision": "fp32"}, "cases": {}}}}',
            "sets.cpu, bf16: got scores of cpu, fp32",
        ),
        (
            '{"schema": 2, "name": "m", "sets": {"cpu, bf16": {"identity": {}, "cases": {}, "anchor": 3}}}',
            "sets.cpu, bf16.anchor: got int where ",
        ),
        ('{"schema": 9}', "has schema 9, this version reads up to 2; upgrade medsam-core"),
    ],
)
def test_a_damaged_baseline_is_one_sentence(tmp_path, content, message):
    (tmp_path / "main.json").write_text(content)
    with pytest.raises(GateError, match=re.escape(message)) as caught:
        read_baseline(tmp_path / "main.json")
    assert str(caught.value).startswith(f"{tmp_path / 'main.json'}: ")
    assert str(caught.value).count("\n") == 0
    with pytest.raises(GateError, match=r"none\.json: no such file"):
        read_baseline(tmp_path / "none.json")


def test_a_reference_is_a_name_a_file_or_a_run(finished, gates, tmp_path):
    run, folder = finished(0.9), tmp_path / "b"
    path, _ = accept(run, "main", gates, folder=folder)
    assert find_reference("main", folder).name == "main"
    assert find_reference(str(path), folder).name == "main"
    assert find_reference(str(run.directory), folder).name == "run"
    with pytest.raises(GateError, match=r"nor a name in .* \(main\); did you mean 'main'\?"):
        find_reference("mian", folder)
    with pytest.raises(GateError, match=r"\(it has none\); give one of these, or a run's directory"):
        find_reference("mian", tmp_path / "empty")


def test_only_accept_writes_baselines():
    """House rule: a baseline never accepts itself. No other module even names the function that writes one."""
    root = Path(medsam_core.__file__).parent
    users = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if "write_baseline" in (getattr(node, "id", ""), getattr(node, "attr", ""), getattr(node, "name", "")):
                users.add(path.name)
    assert users == {"baseline_file.py", "acceptance.py"}
    callers = {path.name for path in root.rglob("*.py") if re.search(r"\bacceptance\b", path.read_text("utf-8"))}
    assert callers == {"accept.py"}


def test_the_command_accepts_and_says_what_it_overruled(finished, gates, tmp_path, command, capsys):
    run, folder = finished(0.9, 0.4), tmp_path / "b"
    arguments = ("accept", run.directory, "--as", "main", "--gates", gates.path, "--baselines", folder)
    with pytest.raises(GateError, match="is not accepted"):
        command(*arguments)
    assert command(*arguments, "--force", "--reason", "nothing better") == 0
    out = capsys.readouterr().out
    assert out.startswith("overruled: FAIL: 2 of 2 cases scored")
    assert out.endswith(f"wrote {folder / 'main.json'}: commit it\n")
