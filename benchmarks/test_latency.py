"""How long the stages take: `pytest benchmarks/test_latency.py -m latency --benchmark-json=latency.json`.

One subject, the first of the cohort, in the first modality. `medsam-core latency compare latency.json` compares with
an accepted measurement of the same machine; docs/latency.md says how. With another --medsam-predictor than the engine,
reading, scoring and the whole subject are timed; the stages that only the engine has fail in a sentence.
"""

from __future__ import annotations

import dataclasses

import pytest

from medsam_core.data.cohort import load
from medsam_core.data.regions import region_mask
from medsam_core.evaluation.scoring import score_case, score_controls
from medsam_core.plugin.evaluator import Evaluator
from medsam_core.prompts.simulation import simulate

pytestmark = pytest.mark.latency


@pytest.fixture(scope="module")
def settings(medsam_configuration):
    return medsam_configuration.settings


@pytest.fixture(scope="module")
def loaded(medsam_cohort, settings):
    return load(medsam_cohort[0], settings.modalities[0], convention=settings.labels)


@pytest.fixture(scope="module")
def truths(loaded, settings):
    return {region: region_mask(loaded.labels.voxels, region, loaded.convention) for region in settings.regions}


@pytest.fixture(scope="module")
def prompts(truths, settings):
    """Every region under every prompt mode, bidirectional; absent regions have none."""
    found = [
        (region, simulate(truth, mode, key_slice=settings.key_slice))
        for region, truth in truths.items()
        for mode in settings.prompts
    ]
    assert any(asked for _, asked in found), "the first subject has none of the regions"
    return found


@pytest.fixture(scope="module")
def every_prompt(prompts):
    return [prompt for _, asked in prompts for prompt in asked]


@pytest.fixture(scope="module")
def encoded(engine, loaded):
    """All slices encoded beforehand, so that a stage after it pays for itself alone."""
    volume = engine.encode(loaded.image)
    volume.fill()
    return volume


def test_load(stage, medsam_cohort, settings, loaded):
    """Read and check one modality and the segmentation."""
    stage(
        lambda: load(medsam_cohort[0], settings.modalities[0], convention=settings.labels),
        slices=loaded.image.shape[0],
    )


def test_encode(stage, engine, loaded):
    """Normalise, resize and encode every slice."""
    stage(lambda: engine.encode(loaded.image).fill(), slices=loaded.image.shape[0])


def test_prompt(stage, engine, encoded, every_prompt):
    """One prompt on its key slice, nothing tracked."""
    stage(lambda: engine.predict(encoded, every_prompt[0], protocol="slicewise"), slices=1)


def test_propagate_one(stage, engine, encoded, every_prompt):
    """One prompt to both ends of the volume."""
    stage(lambda: engine.predict(encoded, every_prompt[0]), slices=encoded.shape[0])


def test_propagate_all(stage, engine, encoded, every_prompt):
    """Every region × prompt mode to both ends, in one batch."""
    stage(lambda: engine.predict(encoded, every_prompt), slices=encoded.shape[0])


def test_score(stage, loaded, truths, prompts, settings):
    """Every case against its truth, and the controls; the masks are the truth moved by a slice."""
    predictions = {region: truth[[0, *range(len(truth) - 1)]] for region, truth in truths.items()}

    def score():
        for region, asked in prompts:
            score_case(predictions[region], truths[region], loaded.image.spacing_mm, asked, settings)
            score_controls(loaded.image.voxels, truths[region], asked, "bidirectional", settings)

    stage(score, slices=loaded.image.shape[0])


def test_subject(stage, medsam_configuration, medsam_predictor, loaded, settings, tmp_path):
    """A whole subject from its files to the records of all its cases, as the gate's evaluator makes them."""
    configuration = dataclasses.replace(
        medsam_configuration,
        brats_root=medsam_configuration.brats_root or medsam_configuration.phantom.root,  # a root has no default gates
        gates=None,
        overlays=0,  # without gates and overlays no picture is drawn, whatever the scores
        resume=False,
        run_dir=tmp_path,
    )
    vars(configuration)["predictor"] = medsam_predictor  # already loaded
    cases = [case for case in settings.cases(loaded.subject.id) if case.modality == settings.modalities[0]]

    def evaluate(evaluator):
        for case in cases:
            evaluator.evaluate(case, cases)
        evaluator.close()

    stage(evaluate, before=lambda: Evaluator(configuration), slices=loaded.image.shape[0])
