"""What is compiled is believed only after it agreed; the batch that it carries gives the masks of the plain one."""

import shutil

import pytest
import torch

from benchmarks.speedup import dice
from medsam_core.inference.compilation import MOST_SHAPES, Compiled, relative_difference
from medsam_core.inference.fixed_steps import WIDTHS
from medsam_core.inference.predictor import Predictor
from tests.inference.test_parity import LONG, assert_equal, prompts_for

CPU = torch.device("cpu")
ONE = torch.ones(3)


def compiled_as(compiler, monkeypatch, plain=lambda x: [2 * x]):
    """A Compiled whose compiler is `compiler`, and its notes."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: compiler(function))
    notes = []
    return Compiled(plain, "doubling", CPU, "fp32", notes), notes


def failing(error):
    def fails(_):
        raise error

    return fails


def test_what_agrees_is_used_from_the_second_call_on(monkeypatch):
    calls = []

    def compiler(function):
        return lambda x: calls.append(x) or [1.00005 * y for y in function(x)]

    doubling, notes = compiled_as(compiler, monkeypatch)
    assert doubling("s", ONE)[0].tolist() == [2, 2, 2]  # the plain result
    torch.testing.assert_close(doubling("s", ONE)[0], 2.0001 * ONE)
    assert len(calls) == 2
    assert doubling.checks == {"s": pytest.approx(5e-5, rel=1e-2)}
    assert notes == []


def test_what_disagrees_is_never_used(monkeypatch):
    doubling, notes = compiled_as(lambda function: lambda x: [1.1 * y for y in function(x)], monkeypatch)
    for _ in range(3):
        assert doubling("s", ONE)[0].tolist() == [2, 2, 2]
    assert doubling.checks == {"s": None}
    assert notes == ["doubling: compiled for s it differs by 0.1, more than 0.0001; went on without compilation"]


def test_a_nan_is_a_disagreement(monkeypatch):
    doubling, notes = compiled_as(lambda function: lambda x: [y * torch.nan for y in function(x)], monkeypatch)
    doubling("s", ONE)
    assert doubling("s", ONE)[0].tolist() == [2, 2, 2]
    assert len(notes) == 1


def test_without_a_compiler_it_goes_on_and_says_so(monkeypatch):
    doubling, notes = compiled_as(lambda _: failing(RuntimeError("\n  no C++ compiler\nand more")), monkeypatch)
    for _ in range(2):
        assert doubling("s", ONE)[0].tolist() == [2, 2, 2]
    assert notes == ["doubling: not compiled (RuntimeError: no C++ compiler)"]


def test_exhausted_memory_is_raised_and_the_shape_is_tried_again(monkeypatch):
    doubling, notes = compiled_as(lambda _: failing(torch.OutOfMemoryError()), monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        doubling("s", ONE)
    assert doubling.checks == {}
    assert notes == []


def test_no_more_shapes_than_torch_compiles(monkeypatch):
    doubling, notes = compiled_as(lambda function: function, monkeypatch)
    for shape in range(MOST_SHAPES + 2):
        doubling(shape, ONE)
    assert [check is None for check in doubling.checks.values()] == [False] * MOST_SHAPES + [True] * 2
    assert [note for note in notes if "more than 8 shapes" in note] == notes
    assert len(notes) == 2


@pytest.mark.parametrize(("share", "used"), [((1.00005, 1.002), True), ((1.002, 1.00005), False)])
def test_only_what_is_rounded_may_differ_by_a_place_of_bfloat16(share, used, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda _, **__: lambda x: [share[0] * x, share[1] * x])
    notes = []
    both = Compiled(lambda x: [x, x], "copying", CPU, "fp32", notes, exact=1)
    both("s", ONE)
    assert (both.checks["s"] is not None) == used
    assert len(notes) == (not used)


def test_differences_by_hand():
    assert relative_difference(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0])) == 0
    assert relative_difference(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0])) == pytest.approx(0.2)  # 1 in 5
    assert relative_difference(torch.zeros(2), torch.zeros(2)) == 0
    assert relative_difference(torch.empty(0), torch.empty(0)) == 0


def test_a_batch_carried_past_its_tracks_ends_equals_sam2s_predictor(small_model, make_volume, oracle, monkeypatch):
    """The way of the compiled step, its compiler left out: tracks that have ended stay in the batch for a while."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    volume, prompts = make_volume(LONG), list(prompts_for(LONG[0]).values())
    predictor = Predictor(small_model, batch_size=32, compiled=True)
    for prediction in predictor.predict(volume, prompts, keep_logits=True):
        assert_equal(prediction, oracle(small_model, volume).logits(prediction.prompt))
    assert predictor.notes == []
    sizes = [shape[0] for shape in predictor.fixed.run.checks]
    assert sizes
    assert set(sizes) <= set(WIDTHS)
    assert list(predictor._encoder.checks) == [predictor.encoder_batch]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what inductor imports
def test_really_compiled_fp32_masks_are_the_plain_ones(small_model, make_volume):
    volume, prompts = make_volume((30, 40, 36)), list(prompts_for(30).values())
    predictor = Predictor(small_model, batch_size=32, compiled=True)
    predictor.predict(volume, prompts)
    assert predictor.notes == []
    print(predictor._encoder.checks, predictor.fixed.run.checks)  # with -s: what docs/engine.md quotes
    assert None not in predictor.fixed.run.checks.values()
    assert predictor.fixed.run.checks
    plain = Predictor(small_model, batch_size=32).predict(volume, prompts)
    for one, other in zip(predictor.predict(volume, prompts), plain, strict=True):
        assert dice(one.mask, other.mask) >= 0.9999
