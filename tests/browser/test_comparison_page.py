"""The page of `medsam-core ab` in a browser: OLD and NEW side by side in the viewer, from files, with no request."""

from __future__ import annotations

import pytest

from medsam_core.ab.answer import answer
from medsam_core.ab.page import write_page
from medsam_core.viewer.writing import write_cases, write_programs
from tests.ab.conftest import ask  # noqa: F401
from tests.browser.test_viewer import PATIENCE_MS, PREDICTION, TRUTH, made, near, picture


@pytest.fixture
def compared(ask, make_record):  # noqa: F811
    """The page of a comparison of one case, whose prediction is worse in NEW, with the viewer's files of both runs."""
    question = ask([make_record("S1", dice=0.9)], [make_record("S1", dice=0.5)])
    for side, shift in (("old", 1), ("new", 6)):
        write_cases([made(shift=shift)], question.directory / side)
        write_programs(question.directory / side)
    write_page(answer(question), question.directory)
    return question.directory / "ab.html"


def test_the_viewer_shows_both_sides_of_a_case(compared, browser_page):
    browser_page.goto(compared.as_uri())
    browser_page.click("button.open")
    browser_page.wait_for_selector("button.open:text-is('close viewer')", timeout=PATIENCE_MS)
    assert browser_page.locator(".medsam-picture").count() == 2
    old, new = (picture(browser_page, pane=pane) for pane in (0, 1))
    for pixels in (old, new):
        assert near(pixels, TRUTH).sum() > 50
        assert near(pixels, PREDICTION).sum() > 50
    assert not (near(old, PREDICTION) == near(new, PREDICTION)).all()
    browser_page.click("button.open")
    browser_page.wait_for_selector("button.open:text-is('viewer')")
    assert browser_page.locator(".medsam-picture").count() == 0
