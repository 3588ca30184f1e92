import os
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from medsam_core.errors import CheckpointError
from medsam_core.inference.weights import load_weights

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
        ({"epoch": 3}, "got epoch without a model, expected {'model': state_dict}"),
        ({}, "got an empty dict without a model"),
        ({"state_dict": {}}, "not a table of tensors"),
        ({"a": TENSORS["a"], "epoch": 3}, "not a table of tensors"),
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


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.tensor([1.0, float("nan")]), "1 tensor with NaN or infinity"),
        (torch.tensor([1.0, float("-inf")], dtype=torch.float16), "1 tensor with NaN or infinity"),
        (torch.tensor([1e300], dtype=torch.float64), "1 tensor with NaN or infinity"),
        (torch.ones(2, dtype=torch.int8), "1 tensor of type int8"),
        (torch.ones(2, dtype=torch.bool), "1 tensor of type bool"),
        (torch.ones(2, dtype=torch.complex64), "1 tensor of type complex64"),
        (torch.ones(2, dtype=torch.float8_e4m3fn), "1 tensor of type float8_e4m3fn"),
        (torch.eye(2).to_sparse(), "1 tensor in the layout sparse_coo"),
        (torch.empty(2, device="meta"), r"1 tensor without data \(on the device meta\)"),
    ],
)
def test_tensors_that_are_no_weights_are_refused_by_name(tmp_path, bad, said):
    torch.save({"model": {**TENSORS, "neck.bad": bad}}, tmp_path / "w.pt")
    with pytest.raises(
        CheckpointError,
        match=rf"w\.pt: got {said} \(neck\.bad\), expected dense floating-point tensors of finite numbers; save the",
    ):
        load_weights(tmp_path / "w.pt")


def test_every_kind_of_bad_tensor_is_named_in_one_sentence(tmp_path):
    nan, whole = torch.full((2,), float("nan")), torch.ones(2, dtype=torch.int64)
    save_file({"a": nan, "b": whole, "c": nan.clone(), "d": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"2 tensors with NaN or infinity \(a, c\); 1 tensor of type int64 \(b\)"):
        load_weights(tmp_path / "w.safetensors")


def test_half_precision_is_weights(tmp_path):
    torch.save({"model": {"a": torch.ones(2, dtype=torch.bfloat16)}}, tmp_path / "w.pt")
    assert load_weights(tmp_path / "w.pt").notes == ()


def test_a_safetensors_header_that_claims_more_than_the_file_is_damaged(tmp_path):
    (tmp_path / "w.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{" * 64)
    with pytest.raises(CheckpointError, match="got a damaged or cut-off file of 72 bytes"):
        load_weights(tmp_path / "w.safetensors")
