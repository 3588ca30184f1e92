"""The profile adds up: every part is timed on both sides, nothing twice, and the model is left as it was."""

from dataclasses import replace

import pytest
import torch

from benchmarks.profile import PARTS, REST, Clock, FullBank, main, profile, table
from benchmarks.speedup import engine, sam2, volume_and_prompts
from medsam_core.inference.attention import MemoryAttention
from medsam_core.inference.checkpoints import embedded_path
from medsam_core.inference.model import load_model


@pytest.fixture(scope="module")
def found():
    """The seconds of every part, of sam2's predictor and of the engine."""
    model = load_model(embedded_path(), device="cpu", precision="fp32")
    volume, prompts = volume_and_prompts(16)
    first = min(prompts[0].key_slice, 8)  # half of the slices are enough
    volume, prompts = volume[first : first + 8], [replace(p, key_slice=p.key_slice - first) for p in prompts[:2]]
    call = MemoryAttention.__call__
    both = {
        one.name: profile(one, model) for one in (sam2(model, volume, prompts, (0,)), engine(model, volume, prompts))
    }
    assert MemoryAttention.__call__ is call
    assert "forward" not in vars(model.module.image_encoder)
    return both


@pytest.mark.slow
def test_every_part_takes_its_time_on_both_sides(found):
    for parts in found.values():
        assert list(parts) == [*PARTS, REST]
        assert min(parts.values()) > 0  # and the rest is what the parts leave of the whole


def test_a_part_within_a_part_is_counted_once():
    clock = Clock(torch.device("cpu"))
    inner = clock.around(PARTS[1], lambda: sum(range(200_000)))
    clock.around(PARTS[0], inner)()
    assert clock.seconds[PARTS[0]] > 0
    assert clock.seconds[PARTS[1]] == 0


def test_the_table_by_hand():
    parts = dict(zip((*PARTS, REST), (0.6, 0.2, 0.1, 0.1, 0.0), strict=True))
    lines = table({"one": parts}, {"one": 10})
    assert lines[2] == "| image encoder | 60.0 | 60% |"
    assert lines[-1].startswith("| together | 100.0 |")


def test_all_ways_to_ask_a_full_bank_give_sam2s_answer():
    model = load_model(embedded_path(), device="cpu", precision="fp32")
    lines = FullBank(model, batch=2).compared(rounds=1)
    assert len(lines) == 4
    for line in lines:
        assert float(line.split("|")[4]) < 1e-5


@pytest.mark.parametrize(
    ("option", "value"),
    [("--slices", "5"), ("--prompts", "0"), ("--prompts", "13"), ("--batch", "0"), ("--rounds", "x")],
)
def test_a_number_that_cannot_be_is_one_sentence(option, value, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["profile", option, value])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"argument {option}: got {value!r}, expected a whole number" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["profile", "--device", "cuda:99"])
    assert main() == 2
    assert capsys.readouterr().err.startswith("profile: device: got cuda:99")
