"""Images of three sequences: the model's red, green and blue, each normalised on its own."""

import numpy as np
import pytest

from medsam_core.data.grid import Grid, Volume
from medsam_core.errors import DataError
from medsam_core.inference.predictor import Predictor
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.sam2_flow import Sam2Flow, Sam2Predictor
from medsam_core.prompts.prompt import Prompt
from tests.inference.test_parity import BOX, POINT, assert_equal, assert_lively

SHAPE = (10, 40, 36)
PROMPTS = [Prompt("box", 4, box=BOX), Prompt("point", 6, points=POINT), Prompt("box-to-mask", 4, box=BOX)]


@pytest.fixture(scope="module")
def sequences(make_volume):
    """Three volumes of other textures and other ranges."""
    return tuple(make_volume(SHAPE, seed) * scale for seed, scale in ((0, 1), (1, 30), (2, 0.01)))


def volume_of(*channels):
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    grid = Grid(SHAPE[::-1], affine, "LPS", None)
    return Volume(channels[0], affine, grid, channels if len(channels) > 1 else ())


def test_three_sequences_equal_sam2s_predictor_on_an_rgb_image(small_model, sequences):
    predictor = Predictor(small_model)
    volume = volume_of(*sequences)
    frames, shape = Sam2Predictor(small_model).encode(volume)
    flow = Sam2Flow(small_model, frames=frames, shape=shape)
    for prediction in predictor.predict(volume, PROMPTS, keep_logits=True):
        assert_lively(prediction)
        assert_equal(prediction, flow.logits(prediction.prompt))


def test_the_predictor_sam2_gives_the_same_masks(small_model, sequences):
    engine, sam2 = Predictor(small_model), Checked(Sam2Predictor(small_model))
    volume = volume_of(*sequences)
    expected = engine.predict(volume, PROMPTS)
    for mine, theirs in zip(
        sam2.predict(sam2.encode(volume), PROMPTS, protocol="bidirectional"), expected, strict=True
    ):
        assert np.array_equal(mine.mask, theirs.mask)


def test_the_order_of_the_sequences_is_that_of_the_colours(small_model, sequences):
    predictor = Predictor(small_model)
    first, turned, alone = (
        predictor.predict(volume_of(*some), PROMPTS[0], keep_logits=True).logits
        for some in (sequences, sequences[::-1], sequences[:1])
    )
    assert np.abs(first - turned).max() > 0.01
    assert np.abs(first - alone).max() > 0.01


def test_one_sequence_three_times_is_that_sequence_alone(small_model, sequences):
    predictor = Predictor(small_model)
    thrice = predictor.predict(volume_of(*sequences[:1] * 3), PROMPTS, keep_logits=True)
    alone = predictor.predict(sequences[0], PROMPTS, keep_logits=True)
    for one, other in zip(thrice, alone, strict=True):
        assert np.array_equal(one.logits, other.logits)


def test_each_sequence_is_normalised_on_its_own(small_model, sequences):
    encoded = Predictor(small_model).encode(volume_of(*sequences))
    assert len(encoded.colours) == 3
    assert encoded.pixels is encoded.colours[0]
    for pixels in encoded.colours:
        assert (pixels.min(), pixels.max()) == (0, 255)


def test_slices_share_an_encoding_only_where_all_sequences_are_blank(small_model, sequences):
    red, green, blue = (one.copy() for one in sequences)
    for one in (red, green, blue):
        one[:3] = 0
    green[1] = sequences[1][4]
    predictor = Predictor(small_model)
    encoded = predictor.encode(volume_of(red, green, blue))
    predictor.predict(encoded, PROMPTS)
    assert encoded.encoded == SHAPE[0] - 1, "of slices 0 to 2 only 0 and 2 are blank in all three"


def test_a_constant_sequence_is_refused(small_model, sequences):
    with pytest.raises(DataError, match="expected contrast"):
        Predictor(small_model).encode(volume_of(*sequences[:2], np.zeros(SHAPE, np.float32)))
    with pytest.raises(DataError, match="expected contrast"):
        Sam2Predictor(small_model).encode(volume_of(*sequences[:2], np.zeros(SHAPE, np.float32)))


def test_sam2_notes_each_background_that_is_not_0(small_model, sequences):
    sam2 = Sam2Predictor(small_model)
    sam2.encode(volume_of(sequences[0], sequences[1] + 7, sequences[2] + 9))
    assert [note.split(";")[0] for note in sam2.notes] == [
        "the background of a volume is 7",
        "the background of a volume is 9",
    ]
