import re
from pathlib import Path

import pytest

from medsam_core.errors import CheckpointError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.checkpoints import NAMES, CheckpointFile, Weights
from medsam_core.inference.model import build
from medsam_core.inference.recognition import recognise


@pytest.fixture(scope="module")
def hiera_tiny():
    return build(ARCHITECTURES["medsam2"]).state_dict()


def weights(state_dict, name="weights.pt", sha256="", metadata=None):
    return Weights(CheckpointFile(name, Path("/nowhere") / name, sha256), state_dict, metadata or {})


@pytest.mark.parametrize(
    "name",
    [
        "sam2-tiny",
        "sam2.1-small",
        pytest.param("sam2-base+", marks=pytest.mark.slow),
        pytest.param("sam2.1-large", marks=pytest.mark.slow),
    ],
)
def test_size_and_generation_are_seen_in_the_tensors(name):
    assert recognise(weights(build(ARCHITECTURES[name]).state_dict())) == (ARCHITECTURES[name], ())


@pytest.mark.parametrize(
    ("file", "architecture", "reason"),
    [
        ("MedSAM2_latest.pt", "medsam2", "its file name says MedSAM2"),
        ("my_MedSAM2_finetune.safetensors", "medsam2", "its file name says MedSAM2"),
        ("sam2.1_hiera_tiny.pt", "sam2.1-tiny", r"its file name says SAM 2\.1"),
        ("checkpoint.pt", "medsam2", r"nothing in the file distinguishes it from SAM 2\.1 tiny, which has 1024"),
    ],
)
def test_medsam2_and_tiny_are_stored_apart_by_name_with_a_note(hiera_tiny, file, architecture, reason):
    found, (note,) = recognise(weights(hiera_tiny, file))
    assert found == ARCHITECTURES[architecture]
    size = ARCHITECTURES[architecture].image_size
    assert note.startswith(f"{file} is treated as {architecture} with image size {size}, because ")
    assert note.endswith("give --image-size for another.")
    assert re.search(reason, note)
    assert recognise(weights(hiera_tiny, file), image_size_given=True) == (found, ())


def test_a_published_hash_decides_over_a_misleading_name(hiera_tiny):
    sha256 = NAMES["sam2.1-tiny"].sha256
    assert recognise(weights(hiera_tiny, "medsam2.pt", sha256)) == (ARCHITECTURES["sam2.1-tiny"], ())
    assert recognise(weights(hiera_tiny, "x.pt", NAMES["medsam2-latest"].sha256)) == (ARCHITECTURES["medsam2"], ())


def test_the_name_asked_for_decides(hiera_tiny):
    assert recognise(weights(hiera_tiny, "medsam2-ct-lesion")) == (ARCHITECTURES["medsam2"], ())


def test_metadata_decides_over_everything(hiera_tiny):
    stored = ARCHITECTURES["medsam2"].with_image_size(256)
    assert recognise(weights(hiera_tiny, "medsam2-latest", metadata={"architecture": stored.to_json()})) == (stored, ())


def test_the_embedded_shape_without_metadata_is_noted():
    state_dict = build(ARCHITECTURES["embedded"]).state_dict()
    found, (note,) = recognise(weights(state_dict, "mine.pt"))
    assert found == ARCHITECTURES["embedded"]
    assert "image size 320 is assumed" in note


def test_other_networks_say_what_they_are(hiera_tiny):
    with pytest.raises(CheckpointError, match="got tensors such as conv1, fc, expected those of SAM 2 "):
        recognise(weights({"conv1": hiera_tiny["no_mem_embed"], "fc": hiera_tiny["no_mem_embed"]}))
    fewer = {key: value for key, value in hiera_tiny.items() if "trunk.blocks.11." not in key}
    with pytest.raises(CheckpointError, match=r"width 96 with stages \(1, 2, 7, 1\) of SAM 2\.1, expected one of"):
        recognise(weights(fewer))
