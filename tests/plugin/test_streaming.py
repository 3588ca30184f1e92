"""Results that come in any order: each test gets that of its case, and each is kept as soon as it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam_core.cases import Case
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.errors import MedsamError
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.plugin.evaluator import Evaluated
from medsam_core.plugin.streaming import Answer, Kept, StreamedEvaluator, moved, work_of
from medsam_core.runs import RunWriter
from medsam_core.settings import Settings
from tests.headers import made_header


class Backwards:
    """An executor that answers the subject that was queued last."""

    def __init__(self, make_record, errors=()):
        self.make_record, self.errors = make_record, dict(errors)
        self.queue, self.asked, self.notes, self.closed = [], [], [], False

    def add(self, work, *, first=False):  # noqa: ARG002 -- the last is answered first anyway
        self.asked.append((work.subject.id, [case.region for case in work.cases]))
        self.queue.append(work)

    def __next__(self):
        if not self.queue:
            raise StopIteration
        work = self.queue.pop()
        if work.subject.id in self.errors:
            return Answer(work, error=self.errors[work.subject.id])
        records = [self.make_record(case.subject, case.region, case.prompt) for case in work.cases]
        return Answer(work, tuple(Kept(Evaluated(record, ()), {"a.png": b"x"}) for record in records))

    def close(self):
        self.closed = True


@pytest.fixture
def configuration(tmp_path):
    """Three subjects of two cases each; nothing is read."""
    made = Configuration(Settings(regions=("WT", "TC"), prompts=("box",)), PhantomCohort(tmp_path), tmp_path / "run")
    image = ImageFile(Path("t1ce"))
    cohort = tuple(Subject(name, {"t1ce": image}, Path("seg"), "x", "brats2019") for name in ("A", "B", "C"))
    vars(made).update(cohort=cohort, content_marks={Path("t1ce"): "1", Path("seg"): "2"}, loaded_gates=None)
    return made


@pytest.fixture
def stream(configuration, make_record):
    """stream(errors={}): an evaluator whose executor answers backwards, with what it kept so far."""

    def make(changed=None, **errors):
        kept = []
        executor = Backwards(make_record, errors)
        evaluator = StreamedEvaluator(
            changed or configuration,
            executor,
            lambda scored: kept.extend((one.evaluated.record.id, dict(one.files)) for one in scored),
        )
        return evaluator, executor, kept

    return make


def test_each_test_gets_the_result_of_its_case_whatever_comes_first(stream, configuration):
    evaluator, executor, kept = stream()
    plan = configuration.plan
    found = [evaluator.evaluate(case, plan).record.case for case in plan]
    assert found == list(plan)
    assert executor.asked == [("A", ["WT", "TC"]), ("B", ["WT", "TC"]), ("C", ["WT", "TC"])]
    assert [case.partition("/")[0] for case, _ in kept] == ["C", "C", "B", "B", "A", "A"], "in order of completion"
    assert all(files == {"a.png": b"x"} for _, files in kept)


def test_only_selected_cases_are_queued(stream, configuration):
    evaluator, executor, _ = stream()
    chosen = [case for case in configuration.plan if case.subject != "B" and case.region == "TC"]
    for case in chosen:
        evaluator.evaluate(case, chosen)
    assert executor.asked == [("A", ["TC"]), ("C", ["TC"])]


def test_an_error_is_that_of_every_case_of_its_subject_alone(stream, configuration):
    evaluator, _, kept = stream(B="B: its image is damaged.")
    outcome = []
    for case in configuration.plan:
        try:
            outcome.append(evaluator.evaluate(case, configuration.plan).record.id)
        except MedsamError as error:
            outcome.append(str(error))
    assert outcome[2:4] == ["B: its image is damaged."] * 2
    assert len(kept) == 4


def test_a_case_that_nobody_announced_is_scored_when_a_test_asks_for_it(stream, configuration):
    evaluator, executor, _ = stream()
    plan = configuration.plan
    evaluator.evaluate(plan[0], plan[:2])
    other = Case("C", "t1ce", "ET", "point")
    assert evaluator.evaluate(other, plan[:2]).record.case == other
    assert executor.asked[-1] == ("C", ["ET"])


def test_results_that_all_tests_have_seen_are_dropped_and_scored_again_if_asked_for(stream, configuration):
    evaluator, executor, _ = stream()
    plan = configuration.plan
    for case in (plan[0], plan[1], plan[1]):  # a rerun of the same test needs no second scoring
        evaluator.evaluate(case, plan)
    assert len(executor.asked) == 3
    evaluator.evaluate(plan[2], plan)
    assert set(evaluator._results) == {"B", "C"}
    evaluator.evaluate(plan[0], plan)
    assert executor.asked[3:] == [("A", ["WT"])]


def test_tests_in_another_order_score_nothing_twice(stream, configuration):
    evaluator, executor, _ = stream()
    plan = configuration.plan
    for case in (plan[0], plan[2], plan[4], plan[1], plan[3], plan[5]):
        assert evaluator.evaluate(case, plan).record.case == case
    assert len(executor.asked) == 3


def test_a_resumed_run_queues_what_is_missing(stream, configuration, make_record):
    plan = configuration.plan
    writer = RunWriter(configuration.run_dir, made_header([case.id for case in plan]))
    for case in plan[:3]:
        writer.append(make_record(case.subject, case.region, case.prompt, dice=0.123))
    writer.close()
    resumed = Configuration(configuration.settings, configuration.phantom, configuration.run_dir, resume=True)
    vars(resumed).update({name: vars(configuration)[name] for name in ("cohort", "content_marks", "loaded_gates")})
    evaluator, executor, kept = stream(resumed)
    dice = [evaluator.evaluate(case, plan).record.score("dice") for case in plan]
    assert executor.asked == [("B", ["TC"]), ("C", ["WT", "TC"])]
    assert dice == [0.123] * 3 + [0.9] * 3
    assert len(kept) == 3


def test_the_end_of_the_session_ends_the_executor(stream):
    evaluator, executor, _ = stream()
    evaluator.close()
    assert executor.closed


def test_work_names_the_files_that_its_cases_need():
    paths = {name: Path(f"/data/{name}.nii.gz") for name in ("t1ce", "t2", "flair", "seg")}
    images = {name: ImageFile(paths[name]) for name in ("t1ce", "t2", "flair")}
    subject = Subject("A", images, paths["seg"], "x", None)
    work = work_of(subject, [Case("A", "flair", "WT", "box")], {path: name for name, path in paths.items()})
    assert work.marks == {paths["flair"]: "flair", paths["seg"]: "seg"}
    three = work_of(subject, [Case("A", "t1ce+t2+flair", "WT", "box")], {path: name for name, path in paths.items()})
    assert set(three.marks.values()) == {"t1ce", "t2", "flair", "seg"}


def test_a_moved_subject_has_its_files_at_the_new_places():
    subject = Subject("A", {"t1": ImageFile(Path("/a/x"), 2), "t2": ImageFile(Path("/a/y"))}, Path("/a/x"), "x", None)
    found = moved(subject, {Path("/a/x"): Path("/b/x")})
    assert found.images["t1"] == ImageFile(Path("/b/x"), 2)
    assert found.images["t2"].path == Path("/a/y")
    assert found.segmentation == Path("/b/x")
    assert moved(Subject("A", {}, None, "x", None), {}).segmentation is None
