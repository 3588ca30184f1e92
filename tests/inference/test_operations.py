"""A tracking step launches few operations, has few shapes that are the same for every subject, and never waits."""

from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.operations import Operations, shapes_of, steps_of, tiny_predictor
from benchmarks.speedup import volume_and_prompts
from medsam_core.prompts.prompt import Prompt

MOST_WORK, MOST_SHAPES = 300, 8
DEPTH = 44


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def subject():
    """A phantom's twelve prompts in fewer slices."""
    return volume_and_prompts(DEPTH)


@pytest.fixture(scope="module")
def steps(predictor, subject):
    return steps_of(predictor, *subject)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_launches_few_operations(precision, subject, steps):
    if precision == "bf16":
        steps = steps_of(tiny_predictor("bf16"), subject[0][:20], [Prompt("box", 9, box=(90, 90, 140, 140))])
    assert max(step.work.total() for step in steps) <= MOST_WORK
    assert min(step.work.total() for step in steps) > 100  # the whole step is seen


def test_nothing_in_a_step_waits_for_the_device(steps):
    assert sum((step.waits for step in steps), Counter()) == Counter()


def test_every_subject_has_shapes_of_the_same_few(predictor, subject, steps):
    """Another volume with other key slices, so with tracks of other lengths."""
    volume = subject[0][:-5]
    prompts = [Prompt("box", 16 + i // 2, box=(90.0 + i, 90, 140, 140)) for i in range(12)]
    others = steps_of(predictor, volume, prompts)
    assert len(others) != len(steps)
    assert set(predictor.fixed.shapes) == {(24, True), (24, False), (16, False), (8, False)}
    assert len(shapes_of(steps) | shapes_of(others)) == 4


def test_the_widest_batches_have_few_shapes_too(predictor, subject):
    """33 prompts in two batches of tracks."""
    prompts = [Prompt("point", 5 + i, points=((100.0 + i, 120),)) for i in range(33)]
    assert len(shapes_of(steps_of(predictor, subject[0], prompts))) <= MOST_SHAPES


def test_views_are_no_work_and_waits_are_noticed():
    x = torch.ones(3, 4)
    seen = Operations()
    with seen.watching():
        y = x.t()[1:] + 1
        float(y.sum())
        torch.nonzero(y)
        y.cpu()
        np.asarray(y.tolist())
    assert seen.work == Counter(
        {"aten.add.Tensor": 1, "aten.sum.default": 1, **dict.fromkeys(seen.waits & seen.work, 1)}
    )
    assert seen.waits == {"aten._local_scalar_dense.default": 1, "aten.nonzero.default": 1, "cpu": 1, "tolist": 1}
    assert seen.dispatched > seen.work.total()


def test_the_shapes_of_attention_tell_steps_apart():
    def attended(tokens):
        seen = Operations()
        with seen.watching(), torch.no_grad():
            x = torch.ones(1, 1, tokens, 8)
            torch.nn.functional.scaled_dot_product_attention(x, x, x)
        return seen

    assert len(shapes_of([attended(4), attended(4), attended(5)])) == 2
