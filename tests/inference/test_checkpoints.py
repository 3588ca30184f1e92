import hashlib
import os
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from medsam_core import files
from medsam_core.errors import CheckpointError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.checkpoints import NAMES, CheckpointFile, Source, load_weights, resolve

TENSORS = {"a": torch.arange(3.0), "b.weight": torch.ones(2, 2)}


class Payload:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return (os.mkdir, (str(self.victim),))


def test_a_pt_with_model_and_a_bare_safetensors_hold_the_same(tmp_path):
    torch.save({"model": TENSORS}, tmp_path / "w.pt")
    save_file(TENSORS, tmp_path / "w.safetensors", metadata={"made": "by hand"})
    pt, safe = load_weights(tmp_path / "w.pt"), load_weights(tmp_path / "w.safetensors")
    assert pt.state_dict.keys() == safe.state_dict.keys() == TENSORS.keys()
    assert all(torch.equal(pt.state_dict[key], safe.state_dict[key]) for key in TENSORS)
    assert (pt.metadata, safe.metadata) == ({}, {"made": "by hand"})


def test_resolving_a_path_gives_its_name_and_hash(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2
    assert resolve(tmp_path / "w.pt") == CheckpointFile("w.pt", tmp_path / "w.pt", sha256)


@pytest.mark.parametrize("wrap", [lambda p: {"model": {"a": p}}, lambda p: p])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, wrap):
    path = tmp_path / "evil.pt"
    torch.save(wrap(Payload(tmp_path / "was run")), path)
    with pytest.raises(CheckpointError, match=r"evil\.pt: got a pickle that calls posix\.mkdir \(not run\), expected"):
        load_weights(path)
    path.write_bytes(pickle.dumps(wrap(Payload(tmp_path / "was run"))))
    with pytest.raises(CheckpointError, match=r"evil\.pt: got a (pickle that calls posix\.mkdir|damaged)"):
        load_weights(path)
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("kept", [0, 1, 20, 400, 900])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_truncated_file_is_damaged(tmp_path, name, kept):
    path = tmp_path / name
    tensors = {"a": torch.zeros(500)}
    if name == "w.pt":
        torch.save({"model": tensors}, path)
    else:
        save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=f"got a damaged or cut-off file of {kept} bytes .*download it again"):
        load_weights(path)


@given(st.binary(max_size=300))
def test_noise_is_damaged_whatever_it_is(tmp_path_factory, noise):
    for suffix in ("pt", "safetensors"):
        path = tmp_path_factory.mktemp("noise") / f"w.{suffix}"
        path.write_bytes(noise)
        with pytest.raises(CheckpointError):
            load_weights(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {}}, "got state_dict without a model, expected {'model': state_dict}"),
        (TENSORS, r"got a, b\.weight without a model"),
        ({}, "got an empty dict without a model"),
        ([1], "got list without a model"),
        ({"model": {}}, "not a table of tensors"),
        ({"model": {"epoch": 3}}, "not a table of tensors"),
    ],
)
def test_a_file_without_a_model_says_what_it_has(tmp_path, content, said):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=said):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("architecture", ['{"field_of_view": "slice"}', "{}", "no JSON", "[]"])
def test_weights_that_see_the_whole_slice_are_read(tmp_path, architecture):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", metadata={"architecture": architecture})
    assert load_weights(tmp_path / "w.safetensors").state_dict.keys() == {"a"}


def test_weights_that_see_a_part_of_the_slice_are_refused(tmp_path):
    metadata = {"architecture": '{"field_of_view": "foreground"}'}
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", metadata=metadata)
    with pytest.raises(
        CheckpointError,
        match=r"w\.safetensors: got weights for the field of view 'foreground', expected ones that see the "
        "whole slice; use other weights, or an older version of medsam-core that has this field of view",
    ):
        load_weights(tmp_path / "w.safetensors")


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
        r"repository wanglab/MedSAM2 at revision e4a6f35.*give --medsam-checkpoint PATH\.",
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
    assert resolve("mine") == CheckpointFile("mine", path, sha256)
    assert asked == [(("me/mine", "f.pt"), {"revision": "c0ffee"})]
    monkeypatch.setitem(NAMES, "mine", Source("me/mine", "c0ffee", "f.pt", "medsam2", "0" * 64))
    with pytest.raises(CheckpointError, match=f"got a download with SHA-256 {sha256[:12]}, expected 000000000000"):
        resolve("mine")


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
