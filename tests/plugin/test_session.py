"""The evaluator: the same records with and without reading ahead, a subject's error its own, memory that stays flat."""

import dataclasses
import gc
import shutil
import threading
import weakref
from pathlib import Path

import pytest

from medsam_core.errors import MedsamError
from medsam_core.evaluation import subject as evaluation
from medsam_core.inference.predictor import Predictor
from medsam_core.phantoms.cohort import write_cohort
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.plugin.evaluator import Evaluator
from medsam_core.settings import Settings
from tests.plugin.box_filler import BoxFiller

ROOT = Path(__file__).parents[2]
SUBJECTS = 5


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Five phantoms of 16 × 40 × 40."""
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, subjects=SUBJECTS, size=(16, 40, 40), seed=5)
    return root


@pytest.fixture
def configure(cohort, small_checkpoint, tmp_path):
    """configure(name, **changed): a configuration on the five phantoms; model=True for the small model."""

    def make(name, *, model=False, **changed):
        configuration = Configuration(
            **{
                "settings": Settings(prompts=("box",), modalities=("t1ce", "flair")),
                "phantom": PhantomCohort(tmp_path),
                "run_dir": tmp_path / name,
                "brats_root": cohort,
                "checkpoint": str(small_checkpoint),
                "device": "cpu",
                "reading": "here",
                **changed,
            }
        )
        if not model:
            configuration.__dict__["predictor"] = BoxFiller()
        return configuration

    return make


def evaluated(configuration, *, cases=None):
    """What each case of the plan came to, in order: its record but for the seconds, or the error's text."""
    evaluator = Evaluator(configuration)
    plan = configuration.plan if cases is None else cases
    found = []
    for case in plan:
        try:
            found.append(dataclasses.replace(evaluator.evaluate(case, plan).record, seconds=None))
        except MedsamError as error:
            found.append(f"{case.id}: {error}")
    evaluator.close()
    return found


def files(configuration):
    return {path.name: path.read_bytes() for path in configuration.run_dir.glob("*/*")}


AHEAD = pytest.mark.parametrize("reading", ["threads", "processes"])


@AHEAD
def test_reading_ahead_changes_no_record_and_no_file(configure, reading):
    asked = {"save_masks": True, "viewer": "all", "gates": ROOT / "benchmarks" / "gates" / "phantom.toml"}
    in_turn, ahead = configure("in_turn", **asked), configure("ahead", reading=reading, **asked)
    found = evaluated(in_turn)
    assert len(found) == SUBJECTS * 6
    assert any(record.diagnosis for record in found)
    assert evaluated(ahead) == found
    assert len(files(in_turn)) == (3 * 6 + 2) * SUBJECTS  # three of each case, and two images for the viewer
    assert files(ahead) == files(in_turn)


@AHEAD
def test_a_models_scores_do_not_depend_on_what_is_done_beside_it(configure, reading):
    one_region = Settings(prompts=("box",), regions=("WT",))
    found = evaluated(configure("in_turn", model=True, settings=one_region))
    assert evaluated(configure("ahead", model=True, settings=one_region, reading=reading)) == found
    assert len({record.score("volume_ml") for record in found}) > 1


@AHEAD
@pytest.mark.parametrize("damaged", [0, 2, SUBJECTS - 1])
def test_a_damaged_subject_has_the_same_error_and_touches_no_other(damaged, configure, cohort, tmp_path, reading):
    root = tmp_path / "damaged"
    shutil.copytree(cohort, root)
    image = sorted(root.glob("*/*_flair.nii.gz"))[damaged]
    image.write_bytes(image.read_bytes()[:2000])
    in_turn = evaluated(configure("in_turn", brats_root=root))
    assert evaluated(configure("ahead", brats_root=root, reading=reading)) == in_turn
    broken = [text for text in in_turn if isinstance(text, str)]
    assert len(broken) == 6
    assert all(image.name in text for text in broken)


@pytest.fixture
def opened(monkeypatch):
    """The ids of the subjects whose files were read, in order."""
    ids, load = [], evaluation.load

    def noted(subject, *given, **more):
        ids.append(subject.id)
        return load(subject, *given, **more)

    monkeypatch.setattr(evaluation, "load", noted)
    return ids


def test_only_selected_cases_are_read_ahead(configure, opened):
    configuration = configure("run", settings=Settings(prompts=("box",)), reading="threads")
    ids = [subject.id for subject in configuration.cohort]
    chosen = [case for case in configuration.plan if case.subject in (ids[0], ids[2], ids[3])]
    evaluated(configuration, cases=chosen)
    assert opened == [ids[0], ids[2], ids[3]]


def test_on_the_cpu_nothing_is_read_ahead_unless_asked_for(configure, opened):
    configuration = configure("run", reading="auto")
    evaluator = Evaluator(configuration)
    evaluator.evaluate(configuration.plan[0], configuration.plan)
    assert opened == [configuration.cohort[0].id] * 2, "its two modalities"


@pytest.mark.parametrize(("reading", "most"), [("here", 1), ("threads", 3)])
def test_nothing_of_an_earlier_subject_stays_in_memory(configure, monkeypatch, reading, most):
    """Without the garbage collector's help: arrays in a cycle of references would pile up until it comes by."""
    volumes, encodings, seen, lock = weakref.WeakSet(), weakref.WeakSet(), [], threading.Lock()
    load, encode, predict = evaluation.load, Predictor.encode, Predictor.predict

    def noted_load(*given, **more):
        loaded = load(*given, **more)
        with lock:
            volumes.update((loaded.image, loaded.labels))
        return loaded

    def noted_encode(self, volume):
        encoded = encode(self, volume)
        with lock:
            encodings.add(encoded)
        return encoded

    def noted_predict(self, *given, **more):
        with lock:
            with_features = [one for one in encodings if one.encoded]
            seen.append((len(volumes), len(encodings), len(with_features)))
        del with_features
        return predict(self, *given, **more)

    monkeypatch.setattr(evaluation, "load", noted_load)
    monkeypatch.setattr(Predictor, "encode", noted_encode)
    monkeypatch.setattr(Predictor, "predict", noted_predict)
    one_region = Settings(prompts=("box",), regions=("WT",))
    configuration = configure("run", model=True, settings=one_region, reading=reading)
    _ = configuration.predictor
    gc.collect()
    gc.disable()
    try:
        evaluated(configuration)
        assert len(seen) == SUBJECTS
        most_volumes, most_encodings, most_features = map(max, zip(*seen, strict=True))
        assert most_volumes <= 2 * most, "image and labels of each"
        assert most_encodings <= min(most, 2), "its own, and the one read ahead"
        assert most_features == 0, "features of an earlier volume when the next goes to the device"
        assert (len(volumes), len(encodings)) == (0, 0)
    finally:
        gc.enable()
