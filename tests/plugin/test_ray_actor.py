"""What runs in an actor of Ray, here without Ray: the session's results, and refusals in sentences."""

from __future__ import annotations

import pickle
import shutil
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medsam_core.inference import ambient
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.plugin.evaluator import Evaluator
from medsam_core.plugin.ray_actor import Order, Ready, SubjectActor, code_of_this_process, sendable
from medsam_core.plugin.streaming import work_of
from medsam_core.settings import Settings
from medsam_core.viewer.names import image_script

STUB = PredictorChoice("tests.plugin.ray_predictors:make")


@pytest.fixture
def configuration(tmp_path):
    """Two phantoms of 16 × 40 × 40; the predictor takes what is bright in the box."""
    write_cohort(tmp_path / "cohort", subjects=2, size=(16, 40, 40), seed=5)
    settings = Settings(regions=("WT", "TC"), prompts=("box",), modalities=("t1ce", "flair"))
    return Configuration(
        settings,
        PhantomCohort(tmp_path),
        tmp_path / "run",
        brats_root=tmp_path / "cohort",
        choice=STUB,
        save_masks=True,
    )


@pytest.fixture
def started():
    """started(configuration): an actor that is ready, and what it says."""
    made = []

    def start(configuration, checkpoint=None, settings=None):
        made.append(SubjectActor())
        order = Order(sendable(configuration), settings or ambient.process_settings(), torch.get_num_threads())
        said = made[-1].start(code_of_this_process(), sys.path, pickle.dumps(order), checkpoint)
        assert isinstance(said, Ready), said
        return made[-1], said

    yield start
    for actor in made:
        actor.close()


def works(configuration):
    by_subject = {
        one.id: [case for case in configuration.plan if case.subject == one.id] for one in configuration.cohort
    }
    return [work_of(one, by_subject[one.id], configuration.content_marks) for one in configuration.cohort]


def files_of(work):
    return {path: np.fromfile(path, np.uint8) for path in work.marks}


def same(record):
    return replace(record, seconds=None)


def test_an_actor_comes_to_the_sessions_records_with_the_files_that_they_name(configuration, started):
    evaluator = Evaluator(configuration)
    expected = [same(evaluator.evaluate(case, configuration.plan).record) for case in configuration.plan]
    own = {path.relative_to(configuration.run_dir): path.read_bytes() for path in configuration.run_dir.glob("*/*")}
    actor, said = started(configuration)
    kept = [one for work in works(configuration) for one in actor.evaluate(work).kept]
    assert [same(one.evaluated.record) for one in kept] == expected
    assert {Path(name): content for one in kept for name, content in one.files.items()} == own
    shown = [path for path in own if path.parts[0] == "viewer"]
    assert {path.name for path in shown} >= {Path(image_script(record.case)).name for record in expected}
    assert len(own) - len(shown) == 2 * len(expected), "an overlay and a mask each"
    left = [path for ending in ("png", "js", "nii.gz") for path in actor.folder.rglob(f"*.{ending}")]
    assert left == [], "nothing stays on the actor's machine"
    assert said.identity == configuration.predictor_identity


def test_files_that_are_sent_are_used_in_place_of_the_paths(configuration, started):
    first, second = works(configuration)
    sent = files_of(first), files_of(second)
    actor, _ = started(configuration)
    expected = [same(one.evaluated.record) for one in actor.evaluate(first).kept]
    shutil.rmtree(configuration.brats_root)
    answer = actor.evaluate(first, sent[0], second, sent[1])
    assert answer.error == ""
    assert [same(one.evaluated.record) for one in answer.kept] == expected
    assert actor.evaluate(second, sent[1]).error == ""
    assert not [path for path in (actor.folder / "data").rglob("*") if path.is_file()], "deleted with their subject"


def test_a_file_that_is_not_the_sessions_is_refused(configuration, started):
    first, second = works(configuration)
    (image,) = [path for path in first.marks if "t1ce" in path.name]
    (other,) = [path for path in second.marks if "t1ce" in path.name]
    image.write_bytes(other.read_bytes())
    actor, said = started(configuration)
    answer = actor.evaluate(first)
    assert answer.kept == ()
    assert answer.error.startswith(f"{image}: on the Ray node {said.node} its content has the mark ")
    assert answer.error.endswith("give every node the same files, or add --medsam-ship-data.")
    assert actor.evaluate(second).error == ""


def test_a_file_that_the_node_does_not_have_is_named(configuration, started):
    first, second = works(configuration)
    image = next(path for path in first.marks if "flair" in path.name)
    image.unlink()
    actor, said = started(configuration)
    assert actor.evaluate(second, None, first).error == "", "the next subject's fault is not this one's"
    assert actor.evaluate(first).error == (
        f"{image}: no such file on the Ray node {said.node}, expected the session's; mount the cohort at the same path "
        "on every node, or add --medsam-ship-data."
    )


def test_a_damaged_file_that_was_sent_has_the_sessions_sentence(configuration, started):
    for path in configuration.brats_root.glob("*/*_seg.nii.gz"):
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(Exception, match="seg") as caught:
        Evaluator(configuration).evaluate(configuration.plan[0], configuration.plan)
    actor, _ = started(configuration)
    work = works(configuration)[0]
    assert actor.evaluate(work).error == str(caught.value)
    assert actor.evaluate(work, files_of(work)).error == str(caught.value)


@pytest.mark.parametrize("what", ["medsam_core's source", "torch", "numpy", "Python"])
def test_another_code_is_refused_before_anything_is_unpacked(what):
    code = code_of_this_process()
    actor = SubjectActor()
    said = actor.start({**code, what: "another"}, [], b"no pickle")
    assert said == (
        f"Ray node {actor.node}: got {what} {code[what]}, expected another as in the session; install the same "
        "environment on every node."
    )
    actor.close()


def test_a_predictor_that_cannot_be_made_is_a_sentence_with_the_node(configuration):
    wrong = replace(configuration, choice=PredictorChoice("tests.plugin.ray_predictors:nothing"))
    order = pickle.dumps(Order(sendable(wrong), ambient.process_settings(), 1))
    actor = SubjectActor()
    said = actor.start(code_of_this_process(), [], order)
    assert str(said).startswith(f"Ray node {actor.node}: predictor ")
    assert "has no nothing" in str(said)
    assert "folder" not in vars(actor), "it left no files"


def test_a_checkpoint_that_is_sent_is_the_one_that_runs(configuration, started, small_checkpoint, tmp_path):
    elsewhere = shutil.copy(small_checkpoint, tmp_path / small_checkpoint.name)
    engine = replace(configuration, choice=PredictorChoice(), checkpoint=str(elsewhere), device="cpu")
    expected, content = engine.predictor_identity, {elsewhere.name: np.fromfile(elsewhere, np.uint8)}
    gone = replace(engine, checkpoint=str(tmp_path / "gone" / elsewhere.name))
    _, said = started(gone, content)
    assert said.identity == expected


def test_an_actor_is_set_to_what_the_session_is_set_to(configuration, started):
    found = ambient.process_settings()
    process = {**found[0], "default dtype": torch.float64, "mkldnn.enabled": False}
    try:
        _, said = started(configuration, settings=(process, *found[1:]))
        assert said.placement.decided.ambient == "default dtype float64, mkldnn.enabled False"
    finally:
        ambient.apply_settings(found)
    assert ambient.differences() == ()


def test_what_is_sent_can_be_pickled_and_names_neither_cohort_nor_run(configuration, tmp_path):
    phantom = replace(configuration.phantom, prepare=lambda: None, progress=lambda: nullcontext())
    prepared = replace(configuration, phantom=phantom, resume=True)
    made = pickle.loads(pickle.dumps(sendable(prepared)))
    assert (made.cohort, made.run_dir, made.resume) == ((), Path(), False)
    assert str(tmp_path / "run") not in str(vars(made))
