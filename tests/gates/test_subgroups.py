"""A comparison by grade, tercile of volume and components: means by hand, and what is left out."""

from __future__ import annotations

import json
import math

import pytest

from medsam_core.gates.baseline import Baseline
from medsam_core.gates.comparison import compare
from medsam_core.gates.subgroups import Subgroup, table
from medsam_core.reports.comparison import markdown

# subject: grade, ml, pieces, Dice before, Dice now
CASES = {
    "S1": ("HGG", 10.0, 1.0, 0.50, 0.52),
    "S2": ("HGG", 20.0, 2.0, 0.60, 0.64),
    "S3": ("LGG", 30.0, 1.0, 0.70, 0.60),
    "S4": ("LGG", 40.0, 1.0, 0.80, 0.78),
    "S5": ("LGG", 50.0, 2.0, 0.90, 0.90),
    "S6": ("HGG", 60.0, 1.0, 0.40, 0.40),
}


@pytest.fixture
def comparison(make_record, recall):
    def make(cases=CASES, region="WT"):
        old, new = [], []
        for subject, (grade, ml, pieces, before, now) in cases.items():
            own = {"brats2019/truth_volume_ml@volume": ml}
            own |= {} if pieces is None else {"brats2019/truth_components@volume": pieces}
            old.append(make_record(subject, region, dice=before, grade=grade, scores=own))
            new.append(make_record(subject, region, dice=now, grade=grade, scores=own))
        return compare(Baseline.of(recall(old, name="old")), recall(new, name="new"))

    return make


def test_the_means_of_every_subgroup_are_those_worked_out_by_hand(comparison):
    found = {(one.kind, one.value): one for one in comparison().subgroups}
    changes = {key: (round(one.change, 6), one.n) for key, one in found.items()}
    assert changes == {
        ("grade", "HGG"): (0.02, 3),
        ("grade", "LGG"): (-0.04, 3),
        ("volume_tercile", "small"): (0.03, 2),
        ("volume_tercile", "middle"): (-0.06, 2),
        ("volume_tercile", "large"): (0.0, 2),
        ("components", "one"): (-0.025, 4),
        ("components", "several"): (0.02, 2),
    }
    assert found["grade", "LGG"].reference == pytest.approx(0.8)
    assert found["grade", "LGG"].current == pytest.approx(0.76)


def test_the_terminal_shows_a_column_for_each_group(comparison):
    lines = comparison().lines()
    at = lines.index("  change (cases)         WT/box")
    assert lines[at + 1 : at + 4] == [
        "  grade HGG              +0.020 (3)",
        "  grade LGG              −0.040 (3)",
        "  volume_tercile small   +0.030 (2)",
    ]
    assert len(lines) == at + 8


def test_markdown_and_json_have_it_too(comparison):
    one = comparison()
    assert "| change &#40;cases&#41; | WT/box |\n| --- | ---: |\n| grade HGG | +0.020 (3) |\n" in markdown(one)
    stored = json.loads(json.dumps(one.to_json(), allow_nan=False))["subgroups"]
    assert len(stored) == 7
    assert [stored[0][key] for key in ("kind", "value", "group", "n")] == ["grade", "HGG", "WT/box", 3]
    assert [stored[0][key] for key in ("reference", "current", "change")] == pytest.approx([0.5, 0.52, 0.02])


def test_a_subgroup_that_is_the_whole_group_or_was_not_recorded_is_left_out(comparison):
    cases = {name: (None, 30.0, None, *rest) for name, (_, _, _, *rest) in CASES.items()}
    assert comparison(cases).subgroups == ()
    assert not any("cases)" in line for line in comparison(cases).lines())


def test_a_score_that_is_not_a_number_shows_as_such(comparison):
    cases = {**CASES, "S1": ("HGG", 10.0, 1.0, 0.5, math.nan)}
    found = {(one.kind, one.value): one for one in comparison(cases).subgroups}
    assert math.isnan(found["grade", "HGG"].change)
    assert not math.isnan(found["grade", "LGG"].change)
    assert "NaN (3)" in "\n".join(comparison(cases).lines())


def test_a_group_without_a_value_has_an_empty_cell():
    made = [Subgroup("grade", "HGG", "WT/box", 1, 0.5, 0.5, 0.0), Subgroup("grade", "LGG", "ET/box", 2, 0.5, 0.6, 0.1)]
    assert table(made) == [
        ("change (cases)", "WT/box", "ET/box"),
        ("grade HGG", "0.000 (1)", ""),
        ("grade LGG", "", "+0.100 (2)"),
    ]
