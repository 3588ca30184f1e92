"""The long phantom of the default gate: its tracks run on, and its features are encoded again."""

from __future__ import annotations

import pytest

from medsam_core.data.cohort import load
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.predictors.engine import engine_of
from medsam_core.prompts.simulation import simulate
from medsam_core.settings import Settings


@pytest.mark.slow
def test_the_gates_long_phantom_has_features_that_were_dropped_encoded_again(tmp_path):
    made = Configuration(
        Settings(prompts=("box",)), PhantomCohort(tmp_path, subjects=2), tmp_path / "run", device="cpu"
    )
    loaded = load(max(made.cohort, key=lambda one: one.id == "Phantom_s19_0007"), "t1ce")
    engine = engine_of(made.predictor, what="this test")
    volume = engine.encode(loaded.image)
    depth = volume.shape[0]
    labels = loaded.labels.voxels
    truths = [labels > 0, (labels == 1) | (labels == 4), labels == 4]
    asked = [prompt for truth in truths for mode in ("box", "point") for prompt in simulate(truth, mode)]
    engine.predict(volume, asked)
    assert max(max(one.key_slice, depth - 1 - one.key_slice) for one in asked) >= 60
    assert volume.encoded > 1.2 * depth
