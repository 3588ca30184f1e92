"""The runs beside a run, as charts."""

import shutil

import pytest

from medsam_core.gates.verdict import Verdict
from medsam_core.outcome import Outcome
from medsam_core.page.trend import trend
from medsam_core.runs import VERDICT, RunWriter
from tests.headers import made_header


@pytest.fixture
def ended(make_record, tmp_path):
    """ended(name, day, dice): a run that left a verdict."""

    def make(name, day, dice, **changes):
        record = make_record("S1", dice=dice, seconds=1.0)
        header = made_header([record.id], created=f"2026-01-{day:02}T00:00:00+00:00", **changes)
        writer = RunWriter(tmp_path / name, header)
        writer.append(record)
        writer.write(VERDICT, {"outcome": "PASS"})
        writer.close()
        return writer.run()

    return make


VERDICT_NOW = Verdict(Outcome.FAIL)


def test_earlier_runs_of_the_same_cohort_are_drawn_and_this_one_by_its_verdict(ended):
    ended("a", 1, 0.8)
    ended("later", 9, 0.1)
    drawn = trend(ended("now", 3, 0.7), VERDICT_NOW)
    assert "WT/box 0.800" in drawn
    assert "WT/box 0.700" in drawn
    assert "0.100" not in drawn
    assert "FAIL: 2026-01-03" in drawn


def test_there_is_no_trend_of_one_run_nor_of_another_cohort(ended):
    cohort = {"root": "else", "subjects": ["S1"], "fingerprint": "e" * 64}
    ended("other", 1, 0.8, cohort=cohort)
    assert trend(ended("now", 3, 0.7), VERDICT_NOW) == ""


def test_a_damaged_neighbour_is_left_out(ended, tmp_path):
    ended("a", 1, 0.8)
    ended("b", 2, 0.9)
    (tmp_path / "b" / "run.json").write_text("{")
    drawn = trend(ended("now", 3, 0.7), VERDICT_NOW)
    assert "WT/box 0.800" in drawn
    assert "0.900" not in drawn


def test_a_run_in_a_folder_that_cannot_be_read_has_no_trend(ended, tmp_path):
    run = ended("deep/now", 3, 0.7)
    shutil.rmtree(tmp_path / "deep")
    assert trend(run, VERDICT_NOW) == ""
