import json
import re
from pathlib import Path

import pytest

from medsam_core.errors import CheckpointError, OptionError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.checkpoints import CheckpointFile
from medsam_core.inference.model import build
from medsam_core.inference.published import NAMES
from medsam_core.inference.recognition import by_tensors, recognise
from medsam_core.inference.weights import Weights


@pytest.fixture(scope="module")
def hiera_tiny():
    return build(ARCHITECTURES["medsam2"]).state_dict()


@pytest.fixture(scope="module")
def embedded():
    return build(ARCHITECTURES["embedded"]).state_dict()


def weights(state_dict, name="weights.pt", sha256="", metadata=None, published=""):
    file = CheckpointFile(name, Path("/nowhere") / name, sha256, published)
    return Weights(file, state_dict, metadata or {})


@pytest.mark.parametrize(
    "name",
    [
        "sam2-tiny",
        "sam2.1-small",
        pytest.param("sam2-base+", marks=pytest.mark.slow),
        pytest.param("sam2.1-large", marks=pytest.mark.slow),
    ],
)
def test_size_and_generation_are_seen_in_the_tensors_but_not_the_image_size(name):
    found = weights(build(ARCHITECTURES[name]).state_dict(), f"{name}.pt")
    assert by_tensors(found.state_dict, "") == ARCHITECTURES[name]
    assert recognise(found, image_size=1024) == (ARCHITECTURES[name], ())
    assert recognise(found, image_size=512) == (ARCHITECTURES[name].with_image_size(512), ())
    sentence = (
        f"checkpoint /nowhere/{name}.pt: got tensors of {name} and no image size, expected the one they were trained "
        "for (they run at any, with other scores); give --medsam-image-size=512 (MedSAM2 and models trained from it) "
        "or --medsam-image-size=1024 (SAM 2 and 2.1)."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        recognise(found)


@pytest.mark.parametrize(
    "file",
    [
        "MedSAM2_latest.pt",
        "sam2.1_hiera_tiny_finetune512.pt",
        "sam2.1_hiera_tiny.pt",
        "medsam2-latest",
        "checkpoint.pt",
    ],
)
def test_a_file_name_says_nothing_of_the_image_size(hiera_tiny, file):
    with pytest.raises(CheckpointError, match=r"got tensors of SAM 2\.1 tiny and MedSAM2 and no image size"):
        recognise(weights(hiera_tiny, file))
    assert recognise(weights(hiera_tiny, file), image_size=512) == (ARCHITECTURES["medsam2"], ())
    assert recognise(weights(hiera_tiny, file), image_size=1024) == (ARCHITECTURES["sam2.1-tiny"], ())


def test_a_published_hash_decides_over_a_misleading_name(hiera_tiny):
    sha256 = NAMES["sam2.1-tiny"].sha256
    assert recognise(weights(hiera_tiny, "medsam2.pt", sha256)) == (ARCHITECTURES["sam2.1-tiny"], ())
    assert recognise(weights(hiera_tiny, "x.pt", NAMES["medsam2-latest"].sha256)) == (ARCHITECTURES["medsam2"], ())


def test_the_name_it_was_downloaded_by_decides(hiera_tiny):
    found = weights(hiera_tiny, "f.pt", published="medsam2-ct-lesion")
    assert recognise(found) == (ARCHITECTURES["medsam2"], ())


def test_a_preset_that_the_user_names_brings_its_image_size_with_a_note(hiera_tiny):
    found, (note,) = recognise(weights(hiera_tiny), name="sam2.1-tiny")
    assert found == ARCHITECTURES["sam2.1-tiny"]
    assert note == "The image size 1024 is that of the architecture sam2.1-tiny, which was given by name."
    named = recognise(weights(hiera_tiny), name="sam2.1-tiny", image_size=512)
    assert named == (ARCHITECTURES["sam2.1-tiny"].with_image_size(512), ())
    published = weights(hiera_tiny, sha256=NAMES["medsam2-latest"].sha256)
    assert recognise(published, name="medsam2") == (ARCHITECTURES["medsam2"], ())


def test_metadata_decides_over_the_hash(hiera_tiny):
    stored = ARCHITECTURES["medsam2"].with_image_size(256)
    found = weights(hiera_tiny, published="medsam2-latest", metadata={"architecture": stored.to_json()})
    assert recognise(found) == (stored, ())
    assert recognise(found, image_size=512) == (ARCHITECTURES["medsam2"], ())


def test_the_embedded_shape_without_metadata_names_its_usual_size(embedded):
    with pytest.raises(CheckpointError, match=r"give --medsam-image-size=320 \(the embedded checkpoint\)\.$"):
        recognise(weights(embedded, "mine.pt"))
    assert recognise(weights(embedded, "mine.pt"), image_size=320) == (ARCHITECTURES["embedded"], ())


def test_an_image_size_beyond_sense_is_an_option_error(hiera_tiny):
    with pytest.raises(OptionError, match="image size: got 3200000, expected a positive multiple of 32 up to 4096"):
        recognise(weights(hiera_tiny), image_size=3200000)


def test_other_networks_say_what_they_are(hiera_tiny):
    with pytest.raises(CheckpointError, match="got tensors such as conv1, fc, expected those of SAM 2 "):
        recognise(weights({"conv1": hiera_tiny["no_mem_embed"], "fc": hiera_tiny["no_mem_embed"]}))
    fewer = {key: value for key, value in hiera_tiny.items() if "trunk.blocks.11." not in key}
    with pytest.raises(CheckpointError, match=r"width 96 with stages \(1, 2, 7, 1\) of SAM 2\.1, expected one of"):
        recognise(weights(fewer))


@pytest.mark.parametrize(
    ("field", "value", "tensors"),
    [
        ("embed_dim", 4096, "32"),
        ("d_model", 1 << 20, "128"),
        ("memory_dim", 16, "32"),
        ("num_maskmem", 1 << 40, "7"),
        ("memory_attention_layers", 10**9, "2"),
        ("memory_attention_feedforward", 10**12, "512"),
        ("fuser_layers", 10**9, "2"),
        ("fuser_kernel", 10**6 + 1, "7"),
        ("stages", [1, 2, 500, 1], r"\(1, 2, 3, 1\)"),
        ("window_pos_embed_bkg_spatial_size", [10**6, 10**6], r"\(7, 7\)"),
    ],
)
def test_metadata_that_would_build_another_model_than_the_tensors_is_refused(embedded, field, value, tensors):
    stored = json.loads(ARCHITECTURES["embedded"].to_json()) | {field: value}
    with pytest.raises(
        CheckpointError, match=rf"got {field} .* in its metadata and {tensors} in its tensors, expected the same"
    ):
        recognise(weights(embedded, metadata={"architecture": json.dumps(stored)}))


def test_a_first_layer_of_another_shape_is_no_sam2(hiera_tiny):
    scalar = hiera_tiny | {"image_encoder.trunk.patch_embed.proj.weight": hiera_tiny["no_mem_embed"][0, 0, 0]}
    with pytest.raises(CheckpointError, match="expected those of SAM 2 "):
        recognise(weights(scalar))


def test_metadata_over_tensors_of_something_else_is_refused():
    stored = {"architecture": ARCHITECTURES["embedded"].to_json()}
    with pytest.raises(CheckpointError, match="embed_dim 32 in its metadata and no such tensor in its tensors"):
        recognise(weights({}, metadata=stored))
