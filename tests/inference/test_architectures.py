import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsam_core.errors import CheckpointError, OptionError
from medsam_core.inference.architectures import ARCHITECTURES, Architecture, architecture_named


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_json_round_trip_is_exact(name):
    architecture = ARCHITECTURES[name]
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert architecture.name == name


@given(st.integers(-64, 5000))
def test_only_multiples_of_32_are_image_sizes(size):
    if 0 < size <= 4096 and size % 32 == 0:
        assert ARCHITECTURES["medsam2"].with_image_size(size).feature_size == size // 16
    else:
        with pytest.raises(OptionError, match=f"got {size}, expected a positive multiple of 32"):
            ARCHITECTURES["medsam2"].with_image_size(size)


def test_medsam2_is_sam21_tiny_at_512():
    tiny = ARCHITECTURES["sam2.1-tiny"]
    assert dataclasses.replace(tiny, name="medsam2", image_size=512) == ARCHITECTURES["medsam2"]
    assert (ARCHITECTURES["medsam2"].feature_size, ARCHITECTURES["medsam2"].mask_size) == (32, 128)


def with_value(field, value):
    return json.dumps(json.loads(ARCHITECTURES["embedded"].to_json()) | {field: value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "got text that is not JSON"),
        ("[" * 100_000, "got JSON that is nested too deep"),
        ('{"name": ' * 100_000, "got JSON that is nested too deep"),
        (with_value("stages", [[[[1]]]]), r"stages.* got array where int belongs"),
        (with_value("image_size", "big"), "image_size: got str where int belongs"),
        (with_value("image_size", 10**30), "expected JSON with the fields of this version"),
        (with_value("num_heads", 0), "got num_heads 0, expected a positive number"),
        (with_value("fpn_interp_model", "cubic"), "got fpn_interp_model 'cubic', expected one of nearest, bilinear"),
        (with_value("image_size", 1 << 20), "got 1048576, expected a positive multiple of 32 up to 4096"),
        (with_value("memory_dim", 0), "got memory_dim 0, expected a positive number"),
        (with_value("stages", []), r"got stages \(\), expected numbers from 1 to 512"),
        (with_value("stages", [1, 2, 10**9, 1]), "expected numbers from 1 to 512"),
        (with_value("window_spec", [8, 4, 10**6, 4]), "expected numbers from 1 to 256"),
        (with_value("dropout", float("nan")), "got text that is not JSON"),
    ],
    ids=lambda value: value[:20],
)
def test_metadata_beyond_sense_is_one_sentence(text, said):
    with pytest.raises(CheckpointError, match=f"^architecture in the checkpoint's metadata: .*{said}") as raised:
        Architecture.from_json(text)
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}'])
def test_foreign_json_is_a_checkpoint_error(text):
    with pytest.raises(CheckpointError, match="architecture in the checkpoint's metadata"):
        Architecture.from_json(text)


def test_numbers_that_do_not_belong_together_are_refused():
    with pytest.raises(OptionError, match="d_model 128 with memory_dim 48"):
        dataclasses.replace(ARCHITECTURES["embedded"], memory_dim=48)
    with pytest.raises(OptionError, match="3 stages and 4 window sizes"):
        dataclasses.replace(ARCHITECTURES["embedded"], stages=(1, 2, 3))


def test_the_field_of_view_that_was_once_written_may_only_be_the_slice():
    values = json.loads(ARCHITECTURES["medsam2"].to_json())
    assert Architecture.from_json(json.dumps(values | {"field_of_view": "slice"})) == ARCHITECTURES["medsam2"]
    with pytest.raises(CheckpointError, match=r"unknown fields \['field_of_view'\]"):
        Architecture.from_json(json.dumps(values | {"field_of_view": "foreground"}))


def test_an_unknown_name_lists_the_presets():
    with pytest.raises(OptionError, match=r"'sam3', expected one of sam2-tiny.*embedded"):
        architecture_named("sam3")
