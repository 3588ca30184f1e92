"""The parts of benchmarks/speedup.py, on models that take no time."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks import speedup
from medsam_core.prompts.prompt import Prompt

CPU = torch.device("cpu")
PROMPTS = [Prompt("box", 1, box=(8, 10, 20, 25)), Prompt("point", 2, points=((14, 18),))]


def test_contestants_find_the_same_masks_and_a_share_is_scaled(small_model, make_volume):
    volume = make_volume((4, 40, 36))
    engine = speedup.engine(small_model, volume, PROMPTS)
    reference = speedup.sam2(small_model, volume, PROMPTS, only=[1])
    for one in (engine, reference):
        one.turn(CPU)
    assert reference.share == 2
    assert reference.masks[0].any()
    assert np.array_equal(engine.masks[1], reference.masks[0])
    lines = speedup.table("title", [reference, engine], {engine.name: 1.0}, 8)
    assert [("scaled" in line) for line in lines] == [False, False, True, False]
    assert set(speedup.as_json([reference, engine], {engine.name: 1.0})) == {"sam2 fp32", "engine fp32"}


def test_times_are_scaled_medians():
    one = speedup.Contestant("c", list, share=6.0)
    assert np.isnan(one.median)
    one.seconds += [6.0, 60.0, 12.0]
    assert one.median == 12.0


def test_dice_by_hand():
    one, other = np.array([True, True, False]), np.array([True, False, False])
    assert speedup.dice(one, other) == pytest.approx(2 / 3)
    assert speedup.dice(~one & one, ~one & one) == 1
    assert speedup.dice(one, ~one & one) == 0


def test_the_flops_of_one_linear_layer(small_model):
    """A 1 x 1 convolution alone as the encoder: two for each of its multiply-adds."""

    class Encoder(torch.nn.Module):
        image_size = 8

        def __init__(self):
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 5, 1, bias=False)

        def forward_image(self, images):
            return self.convolution(images)

    model = dataclasses.replace(small_model, module=Encoder())
    assert speedup.encoder_gflop(model) == pytest.approx(2 * 64 * 3 * 5 / 1e9)
    found = speedup.encoder_throughput(small_model, batch=1, rounds=1)
    assert found["tflops"] > 0
    assert found["share_of_product"] > 0
    assert "share_of_peak" not in found
    assert "GFLOP" in speedup.told(found)


def test_a_cohort_is_scored_as_a_session_does(small_model, medsam_configuration, tmp_path):
    cohort = speedup.Cohort(small_model, medsam_configuration, ["box"], 2, (16, 32, 32), tmp_path)
    cohort.score()
    assert [record.id for record in cohort.records] == [case.id for case in cohort.plan]
    assert len({record.case.subject for record in cohort.records}) == len(cohort.resident_mib) == 2
    assert cohort.seconds_per_subject > 0
