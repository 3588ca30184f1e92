"""Reading gates files: what is accepted, and the one sentence for everything that is not."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import GateError
from medsam_core.gates.gates_file import load_gates


def record(subject="S1", region="WT", prompt="box", *, dice=0.9, slices=(95,), protocol="bidirectional", **more):
    scores = {"brats2019/dice@volume": dice, **more.pop("scores", {})}
    return CaseRecord(Case(subject, more.pop("modality", "t1ce"), region, prompt, protocol), scores, slices, **more)


def write(folder: Path, text: str) -> Path:
    path = folder / "gates.toml"
    path.write_text(text, encoding="utf-8")
    return path


def gates(folder: Path, body: str, head: str = "version = 1\n"):
    return load_gates(write(folder, f"{head}[[gate]]\n{body}"))


@pytest.mark.parametrize(
    ("metric", "bound", "message"),
    [
        (
            "hd95",
            "case_minimum = 5.0",
            "case_minimum: got no other bound for hd95, where lower is better, .* set case_m",
        ),
        (
            "dice",
            "mean_maximum = 0.9",
            "where higher is better, so nothing is too bad to pass; set mean_minimum",
        ),
    ],
)
def test_a_gate_that_nothing_can_break_from_the_bad_side_is_refused(tmp_path, metric, bound, message):
    with pytest.raises(GateError, match=message):
        gates(tmp_path, f'metric = "{metric}"\n{bound}\n')


def test_a_bound_from_the_good_side_may_be_added_to_another(tmp_path):
    assert gates(tmp_path, 'metric = "hd95"\ncase_minimum = 0.5\ncase_maximum = 9.0\n').gates
    assert gates(tmp_path, 'metric = "volume_ml"\nmean_maximum = 90.0\n').gates  # neither more nor less is better


def test_every_key_of_the_schema_is_read(tmp_path):
    path = write(
        tmp_path,
        """
        version = 1
        profile = "brats2019"
        description = "floors of the phantom cohort"
        [[gate]]
        metric = "dice"
        scope = "key_slice"
        description = "the prompted slice"
        region = ["WT", "TC"]
        prompt = "box"
        protocol = "forward"
        modality = "t1ce"
        grade = "HGG"
        site = ["CBICA"]
        case_minimum = 0.5
        mean_minimum = 1
        median_maximum = 0.99
        worst_decile_minimum = 0.25
        [[gate]]
        metric = "volume_difference_ml"
        case_maximum = -1.5
        """,
    )
    read = load_gates(str(path))
    first, second = read.gates
    assert (read.path, read.profile) == (path, "brats2019")
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (first.number, first.metric, first.scope) == (1, "dice", "key_slice")
    assert dict(first.filters) == {
        "region": ("WT", "TC"),
        "prompt": ("box",),
        "protocol": ("forward",),
        "modality": ("t1ce",),
        "grade": ("HGG",),
        "site": ("CBICA",),
    }
    assert [(bound.name, bound.limit) for bound in first.bounds] == [
        ("case_minimum", 0.5),
        ("mean_minimum", 1.0),
        ("median_maximum", 0.99),
        ("worst_decile_minimum", 0.25),
    ]
    assert (second.number, second.scope, dict(second.filters)) == (2, "volume", {})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('metrics = "dice"\ncase_minimum = 0.5', "gate 1: unknown key 'metrics', expected one of metric, scope, "),
        ('metric = "dice"\ncase_minimun = 0.5', "did you mean 'case_minimum'?"),
        ('metric = "dcie"\ncase_minimum = 0.5', "unknown metric 'dcie', expected one of dice, "),
        ('metric = "Dice"\ncase_minimum = 0.5', "did you mean 'dice'?"),
        (
            'metric = "dice"\nregion = "wt"\ncase_minimum = 0.5',
            "unknown region 'wt', expected one of WT, TC, ET, NETC, SNFH, RC, CC, ED, GTV; did",
        ),
        ('metric = "dice"\nregion = ["WT", "EF"]\ncase_minimum = 0.5', "did you mean 'ET'?"),
        ('metric = "dice"\nprompt = "bax"\ncase_minimum = 0.5', "did you mean 'box'?"),
        ('metric = "dice"\nprotocol = "foreward"\ncase_minimum = 0.5', "did you mean 'forward'?"),
        ('metric = "dice"\nmodality = "xyz"\ncase_minimum = 0.5', "unknown modality 'xyz', expected one of t1ce, "),
        ('metric = "dice"\nscope = "keyslice"\ncase_minimum = 0.5', "did you mean 'key_slice'?"),
        ('metric = "dice"\nregion = []\ncase_minimum = 0.5', "region: got [], expected a name or a list of names"),
        ('metric = "dice"\ngrade = 4\ncase_minimum = 0.5', "grade: got 4, expected a name or a list of names"),
        ('metric = "dice"', "has no bound, expected at least one of case_minimum, "),
        ("case_minimum = 0.5", "names no metric, expected one of dice, "),
        ('metric = ["dice"]\ncase_minimum = 0.5', "unknown metric ['dice']"),
        ('metric = "dice"\ncase_minimum = nan', "case_minimum: got nan, expected a finite number"),
        ('metric = "dice"\ncase_minimum = -inf', "case_minimum: got -inf, expected a finite number"),
        pytest.param(
            f'metric = "dice"\ncase_minimum = 1{"0" * 400}',
            "case_minimum: got an integer beyond 1e308, expected a finite number; set a smaller one",
            id="an integer that no float holds",
        ),
        pytest.param(
            f'metric = "dice"\nmean_ratio_minimum = 0x1{"0" * 5000}',
            "mean_ratio_minimum: got an integer beyond 1e308",
            id="one that Python does not write",
        ),
        ('metric = "dice"\ncase_minimum = true', "case_minimum: got True, expected a finite number"),
        ('metric = "dice"\ncase_minimum = "0.5"', "case_minimum: got '0.5', expected a finite number"),
        (
            'metric = "dice"\nmean_minimum = 0.9\nmean_maximum = 0.5',
            "mean_minimum 0.9 is above mean_maximum 0.5, so nothing can pass; exchange them",
        ),
    ],
)
def test_a_mistake_in_a_gate_names_file_and_gate_and_the_fix(tmp_path, body, message):
    with pytest.raises(GateError) as caught:
        gates(tmp_path, body)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'gates.toml'}: gate 1: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "version: got None, expected 1; begin the file with `version = 1`"),
        ("version = 2\n", "version: got 2, expected 1"),
        ("version = true\n", "version: got True, expected 1"),
        ("version = 1\n", "has no gate, expected at least one `[[gate]]` table"),
        ("version = 1\ngate = 3\n", "has no gate"),
        ('version = 1\nprofle = "brats2019"\n', "did you mean 'profile'?"),
        ('version = 1\nprofile = "brats2091"\n', "did you mean 'brats2019'?"),
        ("version = 1\n[[gate\n", "is not TOML ("),
        pytest.param(f"version = 1{'0' * 5000}\n", "is not TOML (", id="an integer that Python does not read"),
        ('version = 1\n[[gates]]\nmetric = "dice"\n', "unknown key 'gates', expected one of version, "),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path, content, message):
    with pytest.raises(GateError) as caught:
        load_gates(write(tmp_path, content))
    assert str(caught.value).startswith(f"{tmp_path / 'gates.toml'}: ")
    assert message in str(caught.value)


def test_the_second_gate_is_named_when_the_mistake_is_there(tmp_path):
    with pytest.raises(GateError, match=r"gate 2: has no bound"):
        gates(tmp_path, 'metric = "dice"\ncase_minimum = 0.5\n[[gate]]\nmetric = "iou"\n')


def test_a_missing_file_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(GateError, match=r"none\.toml: no such file, expected a gates file \(TOML\); give one"):
        load_gates(tmp_path / "none.toml")
    with pytest.raises(GateError, match=r"a folder, expected a gates file"):
        load_gates(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(GateError, match=r"latin\.toml: is not TOML"):
        load_gates(tmp_path / "latin.toml")


def test_a_violation_reads_as_a_person_would_say_it(tmp_path):
    read = gates(tmp_path, 'metric = "dice"\ncase_minimum = 0.7')
    (violation,) = read.violations(record(dice=0.412))
    assert violation.text == "Dice 0.412 < 0.700 (WT, box, key slice 95)"
    assert (violation.case, violation.value) == ("S1/t1ce/WT/box", 0.412)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"dice": 0.69996}, "Dice 0.69996 < 0.70000 (WT, box, key slice 95)"),
        ({"dice": 0.4, "protocol": "forward"}, "Dice 0.400 < 0.700 (WT, box, forward, key slice 95)"),
        ({"dice": 0.4, "modality": "flair"}, "Dice 0.400 < 0.700 (flair, WT, box, key slice 95)"),
        ({"dice": 0.4, "slices": (3, 9)}, "Dice 0.400 < 0.700 (WT, box, key slices 3, 9)"),
        ({"dice": 0.4, "slices": tuple(range(40))}, "Dice 0.400 < 0.700 (WT, box, 40 key slices)"),
        ({"dice": math.nan}, "Dice is NaN (WT, box, key slice 95)"),
    ],
)
def test_violation_texts(tmp_path, changes, text):
    read = gates(tmp_path, 'metric = "dice"\ncase_minimum = 0.7')
    assert [violation.text for violation in read.violations(record(**changes))] == [text]


def test_a_unit_and_a_scope_are_part_of_the_text(tmp_path):
    read = gates(tmp_path, 'metric = "overspill_ml"\nscope = "region_slices"\ncase_maximum = 10')
    case = record(scores={"brats2019/overspill_ml@region_slices": 12.25})
    assert read.violations(case)[0].text == "overspill_ml@region_slices 12.250 ml > 10.000 ml (WT, box, key slice 95)"


def test_a_missing_score_is_a_violation_that_says_so(tmp_path):
    read = gates(tmp_path, 'metric = "iou"\nmean_minimum = 0.7')
    (violation,) = read.violations(record())
    assert violation.value is None
    assert violation.text == "IoU has no score (WT, box, key slice 95)"


def test_another_profile_than_the_runs_has_no_score(tmp_path):
    read = gates(tmp_path, 'metric = "dice"\ncase_minimum = 0.1', 'version = 1\nprofile = "brats2023"\n')
    assert read.violations(record())[0].value is None


def test_scores_of_two_profiles_need_the_gates_file_to_choose(tmp_path):
    both = record(scores={"brats2023/dice@volume": 0.2})
    body = 'metric = "dice"\ncase_minimum = 0.5'
    assert gates(tmp_path, body).violations(both)[0].value is None
    assert gates(tmp_path, body, 'version = 1\nprofile = "brats2023"\n').violations(both)[0].value == 0.2
    assert gates(tmp_path, body, 'version = 1\nprofile = "brats2019"\n').violations(both) == ()


def test_a_score_on_the_bound_passes(tmp_path):
    read = gates(tmp_path, 'metric = "dice"\ncase_minimum = 0.7\ncase_maximum = 0.7')
    assert read.violations(record(dice=0.7)) == ()
    assert len(read.violations(record(dice=math.nextafter(0.7, 0)))) == 1
    assert len(read.violations(record(dice=math.nextafter(0.7, 1)))) == 1


def test_filters_choose_the_cases(tmp_path):
    read = gates(tmp_path, 'metric = "dice"\nregion = ["WT", "TC"]\nprompt = "box"\ngrade = "HGG"\ncase_minimum = 0.95')
    assert read.violations(record(grade="HGG"))
    assert read.violations(record(region="TC", grade="HGG"))
    assert not read.violations(record(region="ET", grade="HGG"))
    assert not read.violations(record(prompt="point", grade="HGG"))
    assert not read.violations(record(grade="LGG"))
    assert not read.violations(record(grade=None))


def test_a_case_whose_region_is_absent_is_not_judged(tmp_path):
    read = gates(tmp_path, 'metric = "dice"\ncase_minimum = 0.7')
    assert read.violations(record(dice=math.nan, slices=())) == ()


VACUOUS = [
    (
        "dice",
        "case_minimum = -5",
        "case_minimum: got -5, expected a number above 0, because every dice holds this bound",
    ),
    ("dice", "case_minimum = 0", "case_minimum: got 0, expected a number above 0"),
    ("dice", "case_minimum = 0.5\nmean_minimum = 0.0", "mean_minimum: got 0, expected a number above 0"),
    ("dice", "case_minimum = 0.5\nworst_decile_maximum = 1", "worst_decile_maximum: got 1, expected a number below 1"),
    ("volume_ml", "case_minimum = 0", "case_minimum: got 0, expected a number above 0, because every volume_ml"),
    ("hd95", "case_minimum = 0\ncase_maximum = 9", "case_minimum: got 0, expected a number above 0"),
    ("dice", "case_drop_maximum = 1", "case_drop_maximum: got 1, expected a number below 1"),
    ("dice", "mean_drop_maximum = 5", "mean_drop_maximum: got 5, expected a number below 1"),
    ("dice", "case_change_maximum = 1.5", "case_change_maximum: got 1.5, expected a number below 1"),
    ("dice", "not_inferior = 1", "not_inferior: got 1, expected a number below 1"),
    ("dice", "mean_drop_maximum = 0.1\nmean_rise_maximum = 1", "mean_rise_maximum: got 1, expected a number below 1"),
    ("dice", "mean_ratio_minimum = 0", "mean_ratio_minimum: got 0, expected a number above 0"),
]


@pytest.mark.parametrize(("metric", "body", "message"), VACUOUS)
def test_a_bound_that_every_score_holds_is_refused(tmp_path, metric, body, message):
    with pytest.raises(GateError) as caught:
        gates(tmp_path, f'metric = "{metric}"\n{body}')
    assert message in str(caught.value)
    assert str(caught.value).endswith("; set one that a bad run would break, or leave it out.")


@pytest.mark.parametrize(
    ("metric", "body"),
    [
        ("dice", "case_minimum = 0.001"),
        ("hd95", "case_maximum = 0"),
        ("volume_ml", "case_minimum = 0.5"),
        ("hd95", "mean_drop_maximum = 50"),
    ],
)
def test_a_bound_that_some_score_breaks_is_read(tmp_path, metric, body):
    assert gates(tmp_path, f'metric = "{metric}"\n{body}').gates


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("cohort = 3", "cohort: got 3, expected a table with fingerprint, cases, absent_maximum"),
        ("[cohort]\nsubjects = 3", "expected a table with fingerprint, cases, absent_maximum"),
        ('[cohort]\nfingerprint = "8bb8"', "fingerprint: got '8bb8', expected 12 to 64 hex digits in lower case"),
        ("[cohort]\nfingerprint = 123456789012", "fingerprint: got 123456789012, expected 12 to 64 hex digits"),
        ("[cohort]\ncases = 0", "cases: got 0, expected a whole number ≥ 1"),
        ("[cohort]\ncases = true", "cases: got True, expected a whole number ≥ 1"),
        ("[cohort]\nabsent_maximum = -1", "absent_maximum: got -1, expected a whole number ≥ 0"),
        ("[cohort]\nabsent_maximum = 0.5", "absent_maximum: got 0.5, expected a whole number ≥ 0"),
    ],
)
def test_a_cohort_that_makes_no_sense_is_refused(tmp_path, table, message):
    with pytest.raises(GateError) as caught:
        gates(tmp_path, 'metric = "dice"\ncase_minimum = 0.5', f"version = 1\n{table}\n")
    assert message in str(caught.value)
