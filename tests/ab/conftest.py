"""Comparisons of runs built by hand."""

from __future__ import annotations

import shutil

import pytest

from medsam_core.ab.question import Question
from medsam_core.gates.comparison import Rule
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.settings import Settings


@pytest.fixture
def ask(tmp_path, make_run):
    """ask(old records, new records, plan=…): the question about two stored runs with these records."""

    def make(old, new, *, plan=None, by_gates=False, overlays=4, **rule):
        plan = [record.id for record in old] if plan is None else plan
        for name, records, digit in (("old", old, "c"), ("new", new, "d")):
            shutil.rmtree(tmp_path / "ab" / name, ignore_errors=True)
            make_run(records, plan=plan, name=f"ab/{name}", checkpoint={"name": f"{name}.pt", "sha256": digit * 64})
        configuration = Configuration(Settings(), PhantomCohort(tmp_path), tmp_path, overlays=overlays)
        texts = {"old": "old.pt", "new": "new.pt"}
        return Question(texts, tmp_path / "ab", Rule(**rule), configuration, by_gates)

    return make
