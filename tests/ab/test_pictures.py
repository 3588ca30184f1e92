"""Which overlays stay when two runs are scored together."""

from __future__ import annotations

import math

import pytest

from medsam_core.ab.pictures import Pictures
from medsam_core.plugin.evaluator import Evaluated


@pytest.fixture
def kept(ask, make_record):
    """kept({subject: (old Dice, new Dice)}, overlays=N, broken=…): the subjects whose overlays stay, by side."""

    def make(scores, *, overlays, broken=()):
        question = ask([], [], overlays=overlays)
        pictures = Pictures(question)
        for subject, pair in scores.items():
            sides = []
            for name, dice in zip(("old", "new"), pair, strict=True):
                record = make_record(subject, dice=dice, overlay=f"overlays/{subject}.png")
                path = question.directory / name / record.overlay
                path.parent.mkdir(exist_ok=True)
                path.touch()
                sides.append([Evaluated(record, ("made up",) if (name, subject) in broken else ())])
            pictures.choose(*sides)
        folders = (question.directory / name / "overlays" for name in ("old", "new"))
        return tuple(sorted(path.stem for path in folder.iterdir()) for folder in folders)

    return make


SCORES = {
    "S0": (0.9, 0.9),
    "S1": (0.9, 0.7),
    "S2": (0.6, 0.95),
    "S3": (0.3, 0.31),
    "S4": (0.5, 0.2),
    "S5": (0.85, 0.86),
    "S6": (0.99, 0.98),
}


def test_the_worst_of_each_side_and_what_changed_most_on_both_stay(kept):
    # S3 is the worst of old, S4 of new and fell most, S2 rose most
    assert kept(SCORES, overlays=1) == (["S2", "S3", "S4"], ["S2", "S4"])


def test_the_order_of_the_subjects_does_not_matter(kept):
    assert kept(dict(reversed(SCORES.items())), overlays=2) == kept(SCORES, overlays=2)


def test_a_failed_case_keeps_its_overlay(kept):
    assert kept(SCORES, overlays=1, broken={("new", "S0")}) == (["S2", "S3", "S4"], ["S0", "S2", "S4"])


def test_all_stay_if_all_are_asked_for(kept):
    assert kept(SCORES, overlays=None) == (list(SCORES), list(SCORES))


def test_a_score_that_is_no_number_counts_as_the_worst(kept):
    assert kept({**SCORES, "S7": (0.9, math.nan)}, overlays=1) == (["S2", "S3", "S7"], ["S2", "S7"])


def test_the_viewers_files_stay_with_the_overlays_and_an_image_with_its_cases(ask, make_record):
    question = ask([], [], overlays=1)
    pictures = Pictures(question)
    for subject, pair in SCORES.items():
        sides = []
        for name, dice in zip(("old", "new"), pair, strict=True):
            record = make_record(subject, dice=dice, overlay=f"overlays/{subject}.png")
            for file in (f"{subject}__t1ce__WT__box.js", f"{subject}__t1ce.image.js"):
                path = question.directory / name / "viewer" / file
                path.parent.mkdir(exist_ok=True)
                path.touch()
            sides.append([Evaluated(record, ())])
        pictures.choose(*sides)
    kept = [sorted(path.name for path in (question.directory / name / "viewer").iterdir()) for name in ("old", "new")]
    stay = [
        [f"{subject}__t1ce{end}" for subject in found for end in (".image.js", "__WT__box.js")]
        for found in (("S2", "S3", "S4"), ("S2", "S4"))
    ]
    assert kept == stay
