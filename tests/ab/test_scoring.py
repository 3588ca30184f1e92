"""One reading for two evaluators."""

from __future__ import annotations

import threading

import pytest

from medsam_core.ab.scoring import SharedFiles
from medsam_core.errors import DataError
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.settings import Settings


@pytest.fixture
def files(tmp_path, small_cohort, monkeypatch):
    """The shared files of two phantoms, and the cases that were read."""
    settings = Settings(regions=("WT",))
    configuration = Configuration(settings, PhantomCohort(tmp_path), tmp_path, brats_root=small_cohort)
    read = []

    def read_cases(subject, _, part, *__, **___):
        read.append(part)
        if subject.id.endswith("1"):
            raise DataError("made up: cannot be read.")
        return object()

    monkeypatch.setattr("medsam_core.ab.scoring.read_cases", read_cases)
    parts = [settings.cases(subject.id) for subject in configuration.part]
    return SharedFiles(configuration), parts, read


def test_the_second_evaluator_gets_what_the_first_had_read(files):
    shared, (part, _), read = files
    assert shared(part) is shared(part)
    assert read == [part]


def test_nothing_is_kept_once_both_have_it(files):
    shared, (part, _), _ = files
    shared(part)
    shared(part)
    assert shared._kept == {}


def test_what_only_one_evaluator_needed_is_dropped_with_the_subject(files):
    shared, (part, _), _ = files
    shared(part)
    shared.forget("another")
    assert list(shared._kept) == [part]
    shared.forget(part[0].subject)
    assert shared._kept == {}


def test_an_error_is_that_of_both(files):
    shared, (_, damaged), read = files
    for _ in range(2):
        with pytest.raises(DataError, match="made up"):
            shared(damaged)
    assert len(read) == 2


def test_two_threads_read_once(files):
    shared, (part, _), read = files
    found = []
    threads = [threading.Thread(target=lambda: found.append(shared(part))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]
    assert read == [part]
