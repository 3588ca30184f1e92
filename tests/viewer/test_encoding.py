"""The scripts of a case: what is decoded equals the arrays, sizes are bounded, names are safe."""

import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsam_core.cases import Case
from medsam_core.data.volume import Grid, Volume
from medsam_core.prompts.prompt import Prompt
from medsam_core.prompts.simulation import simulate
from medsam_core.viewer.encoding import LARGEST, bounds, case_text, image_text
from medsam_core.viewer.names import case_script, image_script, safe_name, viewer_script

PREFIX, SUFFIX = "MedsamViewer.add(", ");\n"


def content(text):
    assert text.startswith(PREFIX)
    assert text.endswith(SUFFIX)
    assert text.isascii()
    return json.loads(text[len(PREFIX) : -len(SUFFIX)])


def unpacked(text):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def decoded_mask(stored, shape):
    bits = np.unpackbits(unpacked(stored["bits"]), count=int(np.prod(stored["size"])))
    whole = np.zeros(shape, bool)
    place = tuple(slice(o, o + n) for o, n in zip(stored["origin"], stored["size"], strict=True))
    whole[place] = bits.reshape(stored["size"])
    return whole


def decoded_image(stored):
    """Voxel by voxel, in the order in which a neighbour must be known before it is used."""
    size = [-(-n // step) for n, step in zip(stored["size"], stored["step"], strict=True)]
    difference = unpacked(stored["voxels"]).reshape(size)
    greys = np.zeros(size, int)
    for z, y, x in np.ndindex(*size):
        before = (greys[z - 1, y, x] if z else 0, greys[z, y - 1, x] if y else 0, greys[z, y, x - 1] if x else 0)
        greys[z, y, x] = (int(difference[z, y, x]) + sum(map(int, before)) // 3) % 256
    return greys


def volume(voxels, affine=None):
    affine = np.diag([-1.0, -1.0, 2.5, 1.0]) if affine is None else affine
    return Volume(np.asarray(voxels, np.float32), affine, Grid(voxels.shape[::-1], affine, "LPS", None))


@pytest.fixture
def head():
    """An image of 12 x 20 x 18 with a noisy head in voxels 2 … 9, 5 … 15, 7 … 11, on background 0."""
    voxels = np.zeros((12, 20, 18), np.float32)
    voxels[2:10, 5:16, 7:12] = np.random.default_rng(4).uniform(10, 900, (8, 11, 5))
    return volume(voxels)


def test_greys_and_their_place_are_decoded_as_they_were(head):
    stored = content(image_text(head, []))
    assert (stored["step"], stored["shift"]) == ([1, 1, 1], 0)
    assert stored["shape"] == [12, 20, 18]
    assert stored["affine"] == head.affine.tolist()
    low, high = stored["window"]
    box = tuple(slice(o, o + n) for o, n in zip(stored["origin"], stored["size"], strict=True))
    expected = np.round(np.clip((head.voxels[box] - low) / (high - low), 0, 1) * 255)
    assert np.abs(decoded_image(stored) - expected).max() <= 1  # a half may be rounded either way
    outside = head.voxels.copy()
    outside[box] = 0
    assert not outside.any(), "the box holds the whole head"
    assert np.prod(stored["size"]) < head.voxels.size


def test_the_box_also_holds_a_region_outside_of_the_head(head):
    truth = np.zeros(head.shape, bool)
    truth[0, 0, 0] = truth[11, 19, 17] = True
    stored = content(image_text(head, [truth]))
    assert (stored["origin"], stored["size"]) == ([0, 0, 0], [12, 20, 18])


def test_an_image_that_does_not_fit_loses_greys_and_then_detail_but_no_extent(head):
    whole = content(image_text(head, []))
    small = image_text(head, [], largest=900)
    stored = content(small)
    assert len(small) <= 900
    assert stored["shift"] == 2
    assert stored["step"] == [1, 2, 1], "the finest axes at first: 1 mm in the slice, 2.5 mm between slices"
    assert (stored["origin"], stored["size"]) == (whole["origin"], whole["size"])
    greys = decoded_image(whole)
    block = greys[3, 2:4, 4].mean()
    assert abs((decoded_image(stored)[3, 1, 4] << 2) - block) < 4


def test_noise_of_full_size_stays_below_the_limit():
    voxels = np.random.default_rng(1).uniform(0, 1, (155, 240, 240))
    assert 100_000 < len(image_text(volume(voxels), [])) <= LARGEST < 2 * 1024**2


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_masks_are_decoded_as_they_were(data):
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    truth, prediction = (
        np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n))).reshape(shape)
        for n in [int(np.prod(shape))] * 2
    )
    stored = content(case_text("S/t1ce/WT/box", "S__t1ce.image.js", truth, prediction, ()))
    assert (decoded_mask(stored["truth"], shape) == truth).all()
    assert (decoded_mask(stored["prediction"], shape) == prediction).all()
    assert stored["shape"] == list(shape)


def test_prompts_and_slices_are_those_of_the_overlay():
    truth = np.zeros((9, 16, 16), bool)
    truth[2:7, 4:9, 5:12] = True
    prediction = truth.copy()
    prediction[6, 4:8] = False
    prompts = simulate(truth, "box")
    stored = content(case_text("S/t1ce/WT/box", "i.js", truth, prediction, prompts))
    assert (stored["keySlice"], stored["worstSlice"]) == (prompts[0].key_slice, 6)
    assert [Prompt.from_json(one) for one in stored["prompts"]] == list(prompts)


def test_an_unknown_prediction_is_said_to_be_unknown():
    truth = np.zeros((3, 4, 4), bool)
    stored = content(case_text("S/t1ce/WT/box", "i.js", truth, None, (), missing="no saved mask"))
    assert (stored["prediction"], stored["worstSlice"], stored["missing"]) == (None, None, "no saved mask")


def test_bounds_of_an_empty_mask_are_empty_and_a_margin_ends_at_the_volume():
    mask = np.zeros((4, 5, 6), bool)
    assert bounds(mask) == (slice(0, 0),) * 3
    mask[1, 0, 5] = True
    assert bounds(mask) == (slice(1, 2), slice(0, 1), slice(5, 6))
    assert bounds(mask, (1, 1, 2)) == (slice(0, 3), slice(0, 2), slice(3, 6))


HOSTILE = [
    "../../etc/x",
    "<script>alert(1)</script>",
    'a"b',
    "a\nb",
    "a b#c?d%20",
    "é",
    "C:\\x",
    "x" * 300,
    "~",
    "a__b",
    "\udc80",
]


@pytest.mark.parametrize("subject", HOSTILE)
def test_a_hostile_name_makes_one_plain_file_name(subject, make_record, tmp_path):
    record = make_record(subject=subject)
    for path in (case_script(record.id), image_script(record.case)):
        folder, name = path.split("/")
        assert folder == "viewer"
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-~")
        assert len(name) < 256
    assert viewer_script(tmp_path, record) is None
    (tmp_path / "viewer").mkdir()
    (tmp_path / case_script(record.id)).touch()
    assert viewer_script(tmp_path, record) == case_script(record.id)


def test_a_hostile_name_cannot_leave_its_string_in_a_script():
    truth = np.zeros((3, 4, 4), bool)
    text = case_text('");alert(1);//\u2028</script>', "i.js", truth, truth, ())
    assert content(text)["id"] == '");alert(1);//\u2028</script>'
    assert text.count("\n") == 1


def test_names_are_those_of_the_overlays_where_these_are_plain():
    case = Case("Brats18_2013_21_1", "t1ce", "WT", "box+point")
    assert case_script(case.id) == "viewer/Brats18_2013_21_1__t1ce__WT__box+point.js"
    assert image_script(case) == "viewer/Brats18_2013_21_1__t1ce.image.js"


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_characters="/")), min_size=2, max_size=2, unique=True))
def test_different_subjects_have_different_names(texts):
    one, other = (safe_name(f"{text}/t1ce") for text in texts)
    assert one != other
