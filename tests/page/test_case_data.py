"""The data of the cases: what the script of the page is given."""

from dataclasses import replace

import pytest

from medsam_core.gates.verdict import Verdict
from medsam_core.outcome import Outcome
from medsam_core.page.case_data import MOST_CURVES, case_data, curves, outcomes, prompt_text, rounds
from medsam_core.slices import SliceCounts

BOX = {"mode": "box", "key_slice": 25, "box": [43.0, 42.0, 80.0, 126.0], "points": [], "point_labels": [], "mask": None}
POINTS = {"mode": "points3", "key_slice": 3, "box": None, "points": [[1.0, 2.5], [3.0, 4.0]], "point_labels": [1, 1]}

MASK = {"mode": "mask", "key_slice": 3, "mask": {"shape": (4, 4), "starts": [0, 8], "lengths": [2, 3]}}


def data_of(run, baseline=None, **changes):
    given = {"picture": lambda _: None, "viewer": lambda _: None, **changes}
    verdict = Verdict(Outcome.PASS)
    return case_data(run, verdict, outcomes(run.records, verdict), baseline, {}, {}, **given)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ((), "none"),
        ((BOX,), "box (43, 42) to (80, 126) on slice 25"),
        ((POINTS,), "points (1, 2.5), (3, 4) on slice 3"),
        ((MASK,), "a mask of 5 voxels on slice 3"),
        ((BOX,) * 5, ", ".join(["box (43, 42) to (80, 126) on slice 25"] * 3) + " and 2 more"),
    ],
)
def test_a_prompt_in_words(prompts, said):
    assert prompt_text(prompts) == said


def test_scores_stand_beside_the_baseline_s(made):
    data = data_of(made.run, made.baseline)
    dice = next(one for one in data["scores"] if (one["metric"], one["scope"]) == ("dice", "volume"))
    place = data["id"].index("S2/t1ce/WT/box")
    assert (dice["now"][place], dice["before"][place], dice["better"]) == (0.4, 0.75, "higher")
    assert dice["before"][data["id"].index("S1/t1ce/ET/box")] is None
    volume = next(one for one in data["scores"] if one["metric"] == "truth_volume_ml")
    assert (volume["name"], volume["unit"]) == ("truth volume", "ml")


def test_every_list_has_an_entry_for_every_case(made):
    data = data_of(made.run, made.baseline)
    many = len(made.run.records)
    for name, column in data.items():
        if isinstance(column, list) and name not in ("words", "groups", "scores", "controls"):
            assert len(column) == many, name
    assert {len(one["now"]) for one in data["scores"]} == {many}
    assert {len(values) for one in data["controls"] for values in one["scores"].values()} == {many}


def test_groups_are_in_a_reader_s_order(made, make_record):
    records = [make_record("S1", region, prompt) for region in ("ET", "WT") for prompt in ("point", "box")]
    data = data_of(replace(made.run, records=tuple(records)))
    assert [data["words"][one] for one in data["groups"]] == ["WT/box", "WT/point", "ET/box", "ET/point"]


def test_the_dice_after_each_correction_is_a_curve(make_record):
    more = {f"brats2019/dice@round{number}": 0.5 + number / 10 for number in range(3)}
    assert rounds([make_record(), make_record("S2", scores=more)], "brats2019") == {1: [0.5, 0.6, 0.7]}


def test_scores_of_rounds_are_not_in_the_table_of_scores(made, make_record):
    record = make_record(scores={"brats2019/dice@round0": 0.5})
    data = data_of(replace(made.run, records=(record,)))
    assert {one["scope"] for one in data["scores"]} == {"volume", "key_slice"}
    assert data["rounds"] == {0: [0.5]}


def test_a_curve_is_the_dice_of_each_slice_in_thousandths(make_record):
    counts = SliceCounts("S1/t1ce/WT/box", 6, (10, 0), (20, 0), (30, 0))
    assert curves([make_record()], {counts.id: counts}) == {0: [6, [400, None], [30, 0], [20, 0]]}


def test_a_large_run_carries_the_first_curves_only(make_record):
    counts = SliceCounts("S1/t1ce/WT/box", 0, (1,), (1,), (1,))
    found = curves([make_record()] * (MOST_CURVES + 5), {counts.id: counts})
    assert list(found) == list(range(MOST_CURVES))


def test_pictures_and_viewers_are_named_by_the_place_of_their_case(made):
    data = data_of(made.run, picture=lambda one: one.overlay, viewer=lambda one: one.grade)
    assert {data["id"][place]: url for place, url in data["pictures"].items()} == {
        "S2/t1ce/WT/box": "overlays/S2 #1.png",
        "S3/t1ce/WT/box": "overlays/gone.png",
    }
    place = data["id"].index("S1/t1ce/WT/box")
    assert data["viewers"] == {place: "HGG"}
