"""What the process was set to changes no bit of a prediction, is put back afterwards, and is noted."""

import threading
from contextlib import ExitStack, nullcontext

import numpy as np
import pytest
import torch

from medsam_core.inference import ambient
from medsam_core.inference.predictor import Predictor, load_predictor
from medsam_core.prompts.prompt import Prompt

PROMPTS = [
    Prompt("box", key_slice=1, box=(8, 8, 30, 34)),
    Prompt("point", key_slice=2, points=((20, 20),), point_labels=(1,)),
]
NEW = pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9 has no such setting")


def restored(write, before, value):
    """A context that sets something and then sets it back."""
    stack = ExitStack()
    stack.callback(write, before)
    write(value)
    return stack


def backend(path, value):
    *parents, name = path.split(".")
    owner = torch.backends
    for parent in parents:
        owner = getattr(owner, parent)
    return restored(lambda one: setattr(owner, name, one), getattr(owner, name), value)


STATES = {
    "float32 matmul precision medium": lambda: restored(torch.set_float32_matmul_precision, "highest", "medium"),
    "float32 matmul precision high": lambda: restored(torch.set_float32_matmul_precision, "highest", "high"),
    "cuda.conv ieee, cuda.rnn ieee": lambda: backend("cudnn.allow_tf32", False),
    "mkldnn.matmul bf16": lambda: backend("mkldnn.matmul.fp32_precision", "bf16"),
    "mkldnn.conv tf32": lambda: backend("fp32_precision", "tf32"),
    "default dtype float64": lambda: restored(torch.set_default_dtype, torch.float32, torch.float64),
    "default dtype bfloat16": lambda: restored(torch.set_default_dtype, torch.float32, torch.bfloat16),
    "default device meta": lambda: restored(torch.set_default_device, None, "meta"),
    "default device meta, by a context": lambda: torch.device("meta"),
    "deterministic mode 2": lambda: restored(torch.set_deterministic_debug_mode, 0, 2),
    "deterministic mode 1": lambda: restored(torch.set_deterministic_debug_mode, 0, "warn"),
    "cudnn.benchmark True": lambda: backend("cudnn.benchmark", True),
    "cudnn.deterministic True": lambda: backend("cudnn.deterministic", True),
    "mkldnn.enabled False": lambda: backend("mkldnn.enabled", False),
    "flash attention False": lambda: restored(torch.backends.cuda.enable_flash_sdp, True, False),
    "autocast cpu bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast cpu float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "2 threads": lambda: restored(torch.set_num_threads, torch.get_num_threads(), 2),
}
HARMLESS = {"inference mode": torch.inference_mode, "no gradients": torch.no_grad}
NEEDS_NEW = ("cuda.conv", "mkldnn.matmul", "mkldnn.conv")


def state():
    """What the tests set, read without the module under test."""
    precision = []
    for path in ("matmul", "conv", "rnn"):
        precision += [getattr(getattr(torch.backends.mkldnn, path), "fp32_precision", None)]
    try:
        legacy = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        legacy = None
    return {
        "precision": (legacy, precision, getattr(torch.backends, "fp32_precision", None)),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "mkldnn": torch.backends.mkldnn.enabled,
        "attention": torch.backends.cuda.flash_sdp_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "threads": torch.get_num_threads(),
    }


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So that two are another number on every machine, and "highest" is spelled as after it was set."""
    torch.set_float32_matmul_precision("highest")
    with restored(torch.set_num_threads, torch.get_num_threads(), 1):
        yield


@pytest.fixture(scope="module")
def volume(make_volume):
    return make_volume((4, 48, 48))


def numbers(predictor, volume):
    predictions = predictor.predict(predictor.encode(volume), PROMPTS, keep_logits=True)
    return [np.concatenate([p.logits.ravel(), p.predicted_iou, p.object_score]) for p in predictions]


def load(small_checkpoint, precision="fp32"):
    return load_predictor(small_checkpoint, device="cpu", precision=precision)


@pytest.fixture(scope="module")
def model(small_checkpoint):
    return load(small_checkpoint).model


@pytest.fixture(scope="module")
def plain(model, volume):
    """The numbers of a process that is set to nothing."""
    assert ambient.differences() == ()
    predictor = Predictor(model)
    found = numbers(predictor, volume)
    assert predictor.notes == list(predictor.model.notes)
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=NEW if n.startswith(NEEDS_NEW) else ()) for n in STATES])
def test_a_setting_changes_no_bit_is_put_back_and_noted(name, model, small_checkpoint, volume, plain):
    predictor, before = Predictor(model), state()
    with STATES[name]():
        set_to = state()
        found = numbers(predictor, volume)
        assert state() == set_to
        loaded_inside = load(small_checkpoint)
        assert state() == set_to
        loaded_inside.threads = predictor.threads
        found_inside = numbers(loaded_inside, volume)
    assert state() == before
    assert set_to != before
    for one, other, wanted in zip(found, found_inside, plain, strict=True):
        assert np.array_equal(one, wanted, equal_nan=True)
        assert np.array_equal(other, wanted, equal_nan=True)
    (note,) = set(predictor.notes) - set(predictor.model.notes)
    assert note.startswith("set aside while the model works: ")
    assert name.partition(", by")[0] in note
    assert note in loaded_inside.notes


@pytest.mark.parametrize("name", HARMLESS)
def test_gradients_and_inference_mode_change_nothing_and_are_not_noted(name, small_checkpoint, volume, plain):
    with HARMLESS[name]():
        predictor, set_to = load(small_checkpoint), state()
        encoded = predictor.encode(volume)
        found = numbers(predictor, volume)
        assert state() == set_to
    predictor.predict(encoded, PROMPTS)  # what was made inside can be used outside
    assert all(np.array_equal(one, wanted, equal_nan=True) for one, wanted in zip(found, plain, strict=True))
    assert predictor.notes == list(predictor.model.notes)


@pytest.mark.parametrize("name", ["autocast cpu bfloat16", "mkldnn.enabled False", "default dtype float64"])
def test_without_the_context_a_setting_changes_the_numbers(name, model, volume, plain, monkeypatch):
    """So the tests above can fail."""
    predictor = Predictor(model)
    monkeypatch.setattr(ambient, "set_aside", lambda _=None: nullcontext(()))
    with STATES[name]():
        try:
            found = numbers(predictor, volume)
        except RuntimeError:  # the types do not fit
            return
    assert not all(np.array_equal(one, wanted, equal_nan=True) for one, wanted in zip(found, plain, strict=True))


def test_bf16_is_that_of_the_precision_and_not_of_the_surrounding_autocast(small_checkpoint, volume):
    alone = numbers(load(small_checkpoint, "bf16"), volume)
    with torch.autocast("cpu", dtype=torch.float16):
        found = numbers(load(small_checkpoint, "bf16"), volume)
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(found, alone, strict=True))


def test_several_settings_are_all_set_aside(small_checkpoint, volume, plain):
    names = ("float32 matmul precision medium", "default dtype float64", "autocast cpu bfloat16", "default device meta")
    before = state()
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(STATES[name]())
        predictor = load(small_checkpoint)
        found = numbers(predictor, volume)
    assert state() == before
    assert all(np.array_equal(one, wanted, equal_nan=True) for one, wanted in zip(found, plain, strict=True))
    assert all(name in predictor.notes[-1] for name in names)


def test_after_an_error_everything_is_put_back(model, volume, monkeypatch):
    def fails(*_):
        assert torch.get_float32_matmul_precision() == "highest"
        raise RuntimeError("enough")

    predictor = Predictor(model)
    with STATES["float32 matmul precision medium"](), STATES["autocast cpu bfloat16"]():
        set_to = state()
        monkeypatch.setattr(predictor, "_run", fails)
        with pytest.raises(RuntimeError, match="enough"):
            predictor.predict(volume, PROMPTS)
        assert state() == set_to
    monkeypatch.undo()
    assert len(predictor.predict(volume, PROMPTS)) == 2


def test_a_thread_that_leaves_does_not_put_back_what_another_still_needs():
    inside, left = threading.Event(), threading.Event()
    seen = []

    def first():
        with ambient.set_aside() as found:
            seen.append(found)
            inside.set()
            assert left.wait(60)

    with STATES["float32 matmul precision medium"]():
        thread = threading.Thread(target=first)
        thread.start()
        assert inside.wait(60)
        with ambient.set_aside() as found:
            left.set()
            thread.join(60)
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    assert seen == [found] == [("float32 matmul precision medium",)]


def test_the_context_within_itself_does_nothing():
    with ambient.set_aside(), torch.autocast("cpu", dtype=torch.bfloat16):
        with ambient.set_aside() as found:
            assert torch.is_autocast_enabled("cpu"), "the model's own"
        assert found == ()
