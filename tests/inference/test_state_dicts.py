"""The forms in which trainers save weights, each as a file that is loaded."""

import pytest
import torch
from safetensors.torch import save_file

from medsam_core.errors import CheckpointError, OptionError
from medsam_core.inference.model import load_model
from medsam_core.inference.state_dicts import StateDict, without_prefixes
from medsam_core.inference.weights import load_weights


@pytest.fixture
def tensors():
    """A few of a model's, with their names: reading does not need more."""
    names = ("image_encoder.trunk.patch_embed.proj.weight", "image_encoder.neck.convs.0.conv.bias", "no_mem_embed")
    return {name: torch.full((2,), float(number)) for number, name in enumerate(names)}


@pytest.fixture
def averages(tensors):
    return halved(tensors)


def halved(tensors):
    return {name: value * 0.5 for name, value in tensors.items()}


@pytest.fixture
def saved(tmp_path):
    def save(content):
        torch.save(content, tmp_path / "w.pt")
        return tmp_path / "w.pt"

    return save


def prefixed(prefix, tensors):
    return {prefix + name: value for name, value in tensors.items()}


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "net.sam2."])
@pytest.mark.parametrize("wrap", [lambda table: {"model": table, "epoch": 3}, dict], ids=["in a dictionary", "bare"])
def test_a_prefix_is_left_out_with_a_note(saved, tensors, prefix, wrap):
    found = load_weights(saved(wrap(prefixed(prefix, tensors))))
    assert same(found.state_dict, tensors)
    (note,) = found.notes
    assert note.startswith("The names in w.pt have the prefix ")
    assert all(part in note for part in prefix.rstrip(".").split("."))
    assert note.endswith(", which was left out.")


def test_the_prefix_of_a_safetensors_file_is_left_out_too(tmp_path, tensors):
    save_file(prefixed("module.", tensors), tmp_path / "w.safetensors")
    found = load_weights(tmp_path / "w.safetensors")
    assert same(found.state_dict, tensors)
    assert found.notes == ("The names in w.safetensors have the prefix module., which was left out.",)


def test_the_prefix_of_a_part_that_was_compiled_alone_is_left_out(saved, tensors):
    compiled = {name.replace("image_encoder.", "image_encoder._orig_mod."): value for name, value in tensors.items()}
    found = load_weights(saved({"model": compiled}))
    assert same(found.state_dict, tensors)
    assert found.notes == ("The names in w.pt have the prefix _orig_mod., which was left out.",)


def test_plain_weights_have_no_note(saved, tensors):
    assert load_weights(saved({"model": tensors, "optimizer": {"state": {}}, "epoch": 3})).notes == ()
    assert load_weights(saved(tensors)).notes == ()


def test_a_lightning_checkpoint_has_its_state_dict_taken(saved, tensors):
    content = {"epoch": 2, "state_dict": prefixed("model.", tensors), "pytorch-lightning_version": "2.5.0"}
    found = load_weights(saved(content))
    assert same(found.state_dict, tensors)
    assert found.notes == (
        "The weights of w.pt are those under 'state_dict'.",
        "The names in w.pt have the prefix model., which was left out.",
    )


def test_a_table_of_settings_under_model_is_not_taken_for_the_weights(saved, tensors):
    assert same(
        load_weights(saved({"model": {"name": "tiny", "layers": {}}, "state_dict": tensors})).state_dict, tensors
    )


def test_what_else_lightning_holds_is_named_and_not_dropped(saved, small_model):
    tensors = small_model.module.state_dict()
    table = prefixed("model.", tensors) | {"criterion.weight": torch.ones(2), "model.lora.down": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"2 unexpected \(criterion\.weight, lora\.down\)"):
        load_model(saved({"state_dict": table}), image_size=96)


@pytest.mark.parametrize("key", ["ema", "model_ema", "ema_state_dict"])
@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        lambda table: {"decay": 0.999, "module": table},
        lambda table: prefixed("module.", table) | {"n_averaged": torch.tensor(12)},
    ],
    ids=["bare", "with its decay", "of AveragedModel"],
)
def test_model_or_ema_is_chosen_and_a_note_says_which(saved, tensors, averages, key, wrap):
    path = saved({"model": tensors, key: wrap(averages), "step": 12})
    both = f"w.pt holds weights under 'model' and under '{key}': "
    for choice, table, note in (
        (None, tensors, "'model' was taken; --medsam-weights=ema takes the other."),
        ("model", tensors, "'model' was taken; --medsam-weights=ema takes the other."),
        ("ema", averages, f"'{key}' was taken; --medsam-weights=model takes the other."),
    ):
        found = load_weights(path, choice=choice)
        assert same(found.state_dict, table)
        assert found.notes[0] == both + note


def test_model_and_ema_of_one_file_are_different_weights_to_a_run(saved, small_model):
    tensors = small_model.module.state_dict()
    path = saved({"model": tensors, "ema": halved(tensors)})
    model, ema = (load_model(path, image_size=96, weights=choice) for choice in ("model", "ema"))
    assert (model.checkpoint.name, ema.checkpoint.name) == ("w.pt", "w.pt (ema)")
    assert model.checkpoint.sha256 != ema.checkpoint.sha256
    assert not same(model.module.state_dict(), ema.module.state_dict())
    assert ema.notes == ("w.pt holds weights under 'model' and under 'ema': 'ema' was taken; "
                         "--medsam-weights=model takes the other.",)  # fmt: skip


def test_a_file_with_averages_alone_gives_them(saved, averages):
    found = load_weights(saved({"ema": averages}))
    assert same(found.state_dict, averages)
    assert (found.notes, found.file.name) == (("The weights of w.pt are those under 'ema'.",), "w.pt")


def test_a_choice_that_the_file_does_not_have_is_refused(saved, tensors):
    with pytest.raises(
        CheckpointError, match="got weights only under 'model', expected ema weights; leave out --medsam-weights=ema"
    ):
        load_weights(saved({"model": tensors}), choice="ema")
    with pytest.raises(CheckpointError, match="got only one set of weights, expected ema weights; leave out"):
        load_weights(saved(tensors), choice="ema")
    with pytest.raises(CheckpointError, match="got weights only under 'ema', expected model weights"):
        load_weights(saved({"ema": tensors}), choice="model")
    with pytest.raises(OptionError, match="--medsam-weights: got 'best', expected one of model, ema; choose one"):
        load_weights(saved(tensors), choice="best")


def test_two_models_in_one_state_dict_are_refused_by_their_prefixes(saved, tensors):
    table = prefixed("student.", tensors) | prefixed("teacher.", tensors)
    with pytest.raises(
        CheckpointError,
        match=r"got 2 models in one state dict \(under student\., teacher\.\), expected one; save the one to be judged",
    ):
        load_weights(saved({"state_dict": table}))


def test_names_that_become_one_are_refused(tmp_path, tensors):
    table = {name: tensors[name] for name in ("image_encoder.trunk.patch_embed.proj.weight", "no_mem_embed")}
    found = StateDict(prefixed("model.", table) | {"no_mem_embed": tensors["no_mem_embed"]})
    with pytest.raises(CheckpointError, match=r"got 3 tensors with 2 different names once the prefix model\. is left"):
        without_prefixes(found, tmp_path / "w.pt")
