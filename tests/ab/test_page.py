"""The page of a comparison: sorted by change, both pictures, the viewer's button, and names that do no harm."""

from __future__ import annotations

import math
import re

import pytest

from medsam_core.ab.answer import answer
from medsam_core.ab.page import page, write_page

HOSTILE = "S<script>alert(1)<script>\"'&"


@pytest.fixture
def made(ask, make_record):
    """made({subject: (old Dice, new Dice)}, files=…): the page of a comparison. files: what else is in its folder."""

    def make(scores, *, files=(), overlay=True):
        sides = []
        for side in (0, 1):
            overlays = {subject: f"overlays/{subject}__t1ce__WT__box.png" if overlay else None for subject in scores}
            sides.append(
                [make_record(subject, dice=pair[side], overlay=overlays[subject]) for subject, pair in scores.items()]
            )
        question = ask(*sides)
        for name in files:
            path = question.directory / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        return page(answer(question), question.directory)

    return make


def headings(html):
    return re.findall(r"<h3>(.*?)</h3>", html)


def test_cases_are_sorted_by_their_change(made):
    html = made({"S1": (0.9, 0.8), "S2": (0.9, 0.9), "S3": (0.9, 0.5), "S4": (0.5, 0.7), "S5": (0.5, 0.9)})
    assert headings(html) == [f"{subject}/t1ce/WT/box" for subject in ("S3", "S1", "S5", "S4")]
    assert "<h2>Cases that got worse: 2</h2>" in html
    assert "0.900 → 0.500 (−0.400)" in html
    assert re.findall("<td>(S.)/", html) == ["S3", "S1", "S2", "S4", "S5"], "the table has all"


def test_the_verdict_and_its_reasons_are_sentences(made):
    html = made({"S1": (0.9, 0.4)})
    assert '<div class="banner FAIL" role="status"><strong>FAIL</strong>NEW is worse than OLD.<ul><li>WT/box' in html
    assert "NEW is not worse than OLD." in made({"S1": (0.9, 0.9)})
    assert "Whether NEW is worse than OLD is not shown." in made({"S1": (math.nan, 0.9)})


def test_an_undefined_score_is_the_worst_change(made):
    html = made({"S1": (0.9, 0.1), "S2": (0.9, math.nan)})
    assert headings(html) == ["S2/t1ce/WT/box", "S1/t1ce/WT/box"]
    assert "0.900 → undefined (NaN)" in html


def test_both_pictures_are_linked_where_they_exist(made):
    picture = "overlays/S1__t1ce__WT__box.png"
    html = made({"S1": (0.9, 0.8)}, files=(f"old/{picture}", f"new/{picture}"))
    assert re.findall('src="(.*?)"', html) == [f"old/{picture}", f"new/{picture}"]
    assert re.findall('src="(.*?)"', made({"S1": (0.9, 0.8)}, files=(f"new/{picture}",))) == [f"new/{picture}"]
    assert "<img" not in made({"S1": (0.9, 0.8)}, overlay=False)


def test_the_viewer_is_offered_where_both_sides_have_the_case(made):
    scripts = [f"{side}/viewer/S1__t1ce__WT__box.js" for side in ("old", "new")]
    html = made({"S1": (0.9, 0.8)}, files=scripts)
    assert f'<button type="button" class="open" data-old="{scripts[0]}" data-new="{scripts[1]}">viewer</button>' in html


def test_there_is_no_viewer_where_one_side_lacks_the_case(made):
    assert '<button type="button"' not in made({"S1": (0.9, 0.8)}, files=("new/viewer/S1__t1ce__WT__box.js",))


def test_a_hostile_name_is_text(made):
    html = made({HOSTILE: (0.9, 0.8)})
    assert "<script>alert" not in html
    assert "S&lt;script&gt;alert(1)" in html


def test_the_page_is_written_whole(ask, make_record):
    question = ask([make_record()], [make_record()])
    write_page(answer(question), question.directory)
    assert (question.directory / "ab.html").read_text().endswith("</html>\n")
