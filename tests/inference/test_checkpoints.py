import hashlib

import pytest
import torch
from safetensors.torch import save_file

from medsam_core import files
from medsam_core.errors import CheckpointError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.checkpoints import CheckpointFile, resolve
from medsam_core.inference.published import NAMES, Source

TENSORS = {"a": torch.arange(3.0), "b.weight": torch.ones(2, 2)}


def test_resolving_a_path_gives_its_name_and_hash(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2
    assert resolve(tmp_path / "w.pt") == CheckpointFile("w.pt", tmp_path / "w.pt", sha256)


def test_a_missing_file_and_an_unknown_name_list_the_names(tmp_path):
    with pytest.raises(
        CheckpointError,
        match=r"medsam3: got no such file, expected a \.pt .* medsam2-latest, .*correct the path or the name",
    ):
        resolve("medsam3")
    with pytest.raises(CheckpointError, match="got a folder"):
        resolve(tmp_path)


def test_no_network_says_repository_file_and_the_way_by_hand(monkeypatch):
    import huggingface_hub

    def offline(*_args, **_kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(
        CheckpointError,
        match=r"medsam2-latest: got no download \(ConnectionError\), expected MedSAM2_latest\.pt from the Hugging Face "
        r"repository wanglab/MedSAM2 at revision e4a6f35.*give --medsam-checkpoint=PATH\.",
    ):
        resolve("medsam2-latest")


def test_a_named_download_is_pinned_and_checked(monkeypatch, tmp_path):
    import huggingface_hub

    path = tmp_path / "f.pt"
    path.write_bytes(b"weights")
    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(path))
    sha256 = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(NAMES, "mine", Source("me/mine", "c0ffee", "f.pt", "medsam2", sha256))
    assert resolve("mine") == CheckpointFile("mine", path, sha256, published="mine")
    assert asked == [(("me/mine", "f.pt"), {"revision": "c0ffee"})]
    monkeypatch.setitem(NAMES, "mine", Source("me/mine", "c0ffee", "f.pt", "medsam2", "0" * 64))
    with pytest.raises(CheckpointError, match=f"got a download with SHA-256 {sha256[:12]}, expected 000000000000"):
        resolve("mine")


def test_without_a_known_hash_the_copy_by_hand_needs_the_image_size(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_a, **_k: 1 / 0)
    with pytest.raises(CheckpointError, match=r"give --medsam-checkpoint=PATH --medsam-image-size=512\.$"):
        resolve("medsam2-us-heart")


def test_a_folder_of_transformers_names_the_file_in_it(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"got a folder, expected a file; give .*/model\.safetensors\.$"):
        resolve(tmp_path)


def test_a_part_of_a_file_has_a_name_and_a_hash_of_its_own(tmp_path):
    whole = CheckpointFile("w.pt", tmp_path / "w.pt", "0" * 64)
    part = whole.part("ema")
    # printf '%064d:ema' 0 | sha256sum
    assert part == CheckpointFile(
        "w.pt (ema)", whole.path, "3f6610929a4080113787b6fb0bf011dfddd1d1ef4877239d367590daa307c87d"
    )


def test_every_named_checkpoint_has_a_known_architecture_and_a_pin():
    assert {source.architecture for source in NAMES.values()} <= ARCHITECTURES.keys()
    for source in NAMES.values():
        assert len(source.revision) == 40 or source.sha256, "pinned by commit or by content"


def test_a_missing_embedded_file_says_where_it_was_sought(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "medsam_core")
    with pytest.raises(
        CheckpointError,
        match=r"got no embedded\.safetensors in .* or .*, expected .*install it again",
    ):
        resolve(None)
    (tmp_path / "fixtures").mkdir()
    save_file(TENSORS, tmp_path / "fixtures" / "embedded.safetensors")
    assert resolve(None).name == "embedded"
