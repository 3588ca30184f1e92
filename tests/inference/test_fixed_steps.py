"""The bank's schedule by hand, widths, and what is done for an architecture of another kind."""

import dataclasses

import numpy as np
import pytest
import torch

from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.fixed_heads import supports
from medsam_core.inference.fixed_steps import WIDTHS, ages, ring_place, width_for
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.prompts.prompt import Prompt


@pytest.mark.parametrize(
    ("t", "found"),
    [
        (1, [1, 0, 0, 0]),
        (2, [2, 1, 0, 0]),
        (4, [4, 3, 2, 1]),
        (5, [5, 1, 3, 2]),  # time 4 is over time 1
        (9, [9, 2, 1, 3]),
    ],
)
def test_a_ring_of_three_behind_the_prompted_slice(t, found):
    assert ages(t, 4).tolist() == found


def test_what_a_step_writes_is_the_newest_in_the_next():
    for t in range(1, 40):
        assert ages(t + 1, 7)[ring_place(t, 7)] == 1
        assert sorted(ages(t + 1, 7)[1:])[-min(t, 6) :] == list(range(1, min(t, 6) + 1))


def test_widths():
    assert [width_for(n) for n in (1, 8, 9, 24, 25, 40, 64, 65, 200)] == [8, 8, 16, 24, 32, 48, 64, 128, 256]
    assert len(WIDTHS) + 2 <= 8  # with the filling banks of a full batch and of the last one


def test_every_preset_is_supported():
    assert all(map(supports, ARCHITECTURES.values()))


@pytest.mark.parametrize("change", [{"pred_obj_scores_mlp": False}, {"multimask_min_pt_num": 1}, {"num_maskmem": 1}])
def test_another_architecture_goes_the_way_of_the_cpu_and_says_so(change, make_lively, make_volume):
    small = dataclasses.replace(ARCHITECTURES["embedded"].with_image_size(64), **change)
    assert not supports(small)
    model = make_lively(ARCHITECTURES["embedded"].with_image_size(64))
    model = dataclasses.replace(model, architecture=dataclasses.replace(model.architecture, **change))
    predictor = Predictor(model, plan=Plan(fixed=True))
    assert predictor.fixed is None
    assert predictor.notes == [
        "tracking step: embedded is not built like SAM 2's published models; every step has its own shape, which is "
        "slow on a GPU"
    ]
    volume, prompt = make_volume((4, 40, 36)), Prompt("box", 1, box=(8, 10, 20, 25))
    expected = Predictor(model).predict(volume, prompt, keep_logits=True)
    assert np.array_equal(predictor.predict(volume, prompt, keep_logits=True).logits, expected.logits)


def test_the_device_decides():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert Plan.for_device(cpu) == Plan()
    assert Plan.for_device(cuda) == Plan(fixed=True), "no graph was run on a GPU yet, so nobody gets one unasked"
    assert Plan.for_device(cuda, graphs=True) == Plan(fixed=True, replayed=True)
    assert Plan.for_device(cpu, graphs=True) == Plan()
    assert Plan.for_device(cuda, compiled=True, graphs=True) == Plan(fixed=True)
    assert Plan.for_device(cuda, compiled=True) == Plan.for_device(cpu, compiled=True) == Plan(fixed=True)
