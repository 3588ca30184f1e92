"""sam2's own predictor behind the contract gives the engine's masks on the same weights."""

import numpy as np
import pytest

from benchmarks.lively_model import lively_model
from medsam_core.errors import DataError, OptionError, PredictorError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.predictor import Predictor
from medsam_core.phantoms.cohort import subject
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.choosing import PredictorRequest
from medsam_core.predictors.engine import EnginePredictor, engine_of
from medsam_core.predictors.postprocessing import PostProcessed
from medsam_core.predictors.sam2_flow import Sam2Predictor, from_request
from medsam_core.prompts.prompt import MODES, PROTOCOLS
from medsam_core.prompts.simulation import simulate

UNDECIDED = 1e-4  # a logit as near to 0 as this may fall on either side


@pytest.fixture(scope="module")
def model():
    return lively_model(ARCHITECTURES["embedded"].with_image_size(64))


@pytest.fixture(scope="module")
def phantom():
    return subject(19, 0, (16, 40, 36))


@pytest.fixture(scope="module")
def prompts(phantom):
    return [prompt for mode in MODES for prompt in simulate(phantom.labels > 0, mode)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_masks_are_the_engines(protocol, model, phantom, prompts):
    image = phantom.images["t1ce"]
    engine, sam2 = EnginePredictor(Predictor(model)), Checked(Sam2Predictor(model))
    expected = engine.predict(engine.encode(image), prompts, protocol=protocol)
    logits = Predictor(model).predict(image, prompts, protocol=protocol, keep_logits=True)
    found = sam2.predict(sam2.encode(image), prompts, protocol=protocol)
    assert len(found) == len(MODES)
    for mine, theirs, kept in zip(found, expected, logits, strict=True):
        assert 0.01 < mine.mask[kept.slices.start : kept.slices.stop].mean() < 0.99
        assert np.count_nonzero(mine.mask != theirs.mask) <= np.count_nonzero(np.abs(kept.logits) < UNDECIDED)
        assert np.isnan(mine.predicted_iou).all()


def test_engine_and_sam2_have_the_same_weights_and_their_own_names(model):
    engine, sam2 = EnginePredictor(Predictor(model)).identity, Sam2Predictor(model).identity
    assert (engine.name, sam2.name) == ("engine", "sam2")
    assert engine.sha256 == sam2.sha256
    assert engine.image_size == sam2.image_size == 64
    assert sam2.version == "1.1.0"


def test_the_engine_is_found_in_its_wrapper_and_not_in_another_predictor(model):
    engine = Predictor(model)
    assert engine_of(Checked(EnginePredictor(engine)), what="stages") is engine
    with pytest.raises(PredictorError, match="stages: got the predictor sam2, expected engine"):
        engine_of(Checked(Sam2Predictor(model)), what="stages")
    filled = PostProcessed(Checked(EnginePredictor(engine)), "fill-holes")
    with pytest.raises(PredictorError, match=r"got the predictor engine\+fill-holes:8, expected engine"):
        engine_of(filled, what="stages")


def test_a_background_that_is_not_0_is_noted(model, phantom):
    sam2 = Sam2Predictor(model)
    sam2.encode(phantom.images["t1ce"])
    assert sam2.notes == []
    sam2.encode(phantom.images["t1ce"].astype(np.float32) + 7)
    (note,) = sam2.notes
    assert note.startswith("the background of a volume is 7;")


def test_a_constant_image_is_refused_as_by_the_engine(model):
    with pytest.raises(DataError, match="expected contrast"):
        Sam2Predictor(model).encode(np.zeros((4, 8, 8)))


def test_an_unknown_protocol_is_refused(model, phantom, prompts):
    sam2 = Sam2Predictor(model)
    with pytest.raises(OptionError, match="got 'backward', expected one of bidirectional"):
        sam2.predict(sam2.encode(phantom.images["t1ce"]), prompts, protocol="backward")


def test_made_for_a_request(small_checkpoint):
    made = from_request(PredictorRequest(checkpoint=str(small_checkpoint), device="cpu", precision="fp32"))
    assert made.identity.name == "sam2"
    with pytest.raises(PredictorError, match="predictor sam2: got compiled True"):
        from_request(PredictorRequest(compiled=True))
