"""The viewer's files of a run: written for a case, shared by a subject's cases, gone with the last of them."""

from dataclasses import replace

import numpy as np
import pytest

from medsam_core.viewer.names import image_script, viewer_script
from medsam_core.viewer.writing import files_of, remove_unused_image, viewer_program, write_cases, write_programs
from tests.reports.conftest import make_result  # noqa: F401 -- a fixture


@pytest.fixture
def results(make_result):  # noqa: F811
    truth = np.zeros((6, 20, 20), bool)
    truth[1:5, 6:12, 7:13] = True
    first = make_result(truth, truth)
    return [first, replace(first, record=replace(first.record, case=replace(first.record.case, region="TC")))]


def test_cases_of_a_subject_share_their_image(results, tmp_path):
    write_cases(results, tmp_path)
    write_programs(tmp_path)
    assert {path.name for path in (tmp_path / "viewer").iterdir()} == {
        "Brats18_made_1__t1ce.image.js",
        "Brats18_made_1__t1ce__WT__box.js",
        "Brats18_made_1__t1ce__TC__box.js",
        "viewer.js",
        "niivue.js",
    }
    for result in results:
        script = viewer_script(tmp_path, result.record)
        assert files_of(result.record, tmp_path) == (script, image_script(result.record.case))


def test_the_image_goes_with_the_last_case_that_shows_it(results, tmp_path):
    write_cases(results, tmp_path)
    cases = [result.record.case for result in results]
    image = tmp_path / image_script(cases[0])
    for result in results:
        remove_unused_image(tmp_path, cases)
        assert image.exists()
        (tmp_path / viewer_script(tmp_path, result.record)).unlink()
    remove_unused_image(tmp_path, cases)
    assert not image.exists()
    remove_unused_image(tmp_path, cases)  # and nothing is wrong with that


def test_a_run_without_cases_for_the_viewer_gets_no_programs(tmp_path):
    write_programs(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_program_is_one_plain_script_that_asks_for_nothing_but_its_own_files():
    text = viewer_program()
    assert text.startswith("(() => {")
    assert text.isprintable() or "\n" in text
    for word in ("import ", "export ", "fetch(", "XMLHttpRequest", "new Worker", "http://", "https://", "innerHTML"):
        assert word not in text, word
