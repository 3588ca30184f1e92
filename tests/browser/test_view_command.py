"""`medsam-core view` in a browser: the list of cases, a kept case, and one whose prediction was not saved."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from medsam_core.data.cohort import find_subjects, load
from medsam_core.data.regions import region_mask
from medsam_core.evaluation.subject import data_hash
from medsam_core.prompts.simulation import simulate
from medsam_core.viewer.server import RunServer, page_of
from medsam_core.viewer.stored import StoredScripts
from medsam_core.viewer.writing import write_cases
from tests.browser.test_viewer import PATIENCE_MS, PREDICTION, TRUTH, made, near, picture
from tests.headers import made_header


@pytest.fixture
def address(make_run, make_record, small_cohort):
    """The address of a run of a case that it has data of, and of one of a phantom whose mask was not saved."""
    subject = find_subjects(small_cohort)[0]
    loaded = load(subject, "t1ce")
    truth = region_mask(loaded.labels.voxels, "WT", loaded.convention)
    prompts = tuple(prompt.to_json() for prompt in simulate(truth, "box"))
    kept = made()
    records = [
        make_record("S1", dice=0.4),
        make_record(subject.id, dice=0.9, prompts=prompts, data=data_hash(loaded.image, loaded.labels)),
    ]
    run = make_run(records, cohort=replace(made_header([]).cohort, root=str(small_cohort)))
    write_cases([kept], run.directory)
    with RunServer(run, StoredScripts(run)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.address.rstrip("/"), records
        server.shutdown()
        thread.join()


def test_the_list_is_filtered_and_leads_to_a_case(browser_page, address):
    base, records = address
    browser_page.goto(base)
    assert browser_page.locator("tbody tr").all_inner_texts()[0].split() == ["0.400", records[0].id]
    browser_page.fill("#filter", "s1/T1CE")
    assert browser_page.locator("tbody tr:visible").count() == 1
    browser_page.click(f"text={records[0].id}")
    browser_page.wait_for_function("window.viewer", timeout=PATIENCE_MS)
    pixels = picture(browser_page)
    assert near(pixels, TRUTH).sum() > 300
    assert near(pixels, PREDICTION).sum() > 300


def test_a_case_without_data_is_shown_with_what_is_missing(browser_page, address):
    base, records = address
    browser_page.goto(base + page_of(records[1]))
    browser_page.wait_for_function("window.viewer", timeout=PATIENCE_MS)
    name = browser_page.inner_text(".medsam-name")
    assert "the prediction was not saved; score the case again with --medsam-save-masks" in name
    pixels = picture(browser_page)
    assert near(pixels, TRUTH).sum() > 300
    assert near(pixels, PREDICTION).sum() == 0
