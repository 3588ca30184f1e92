"""Five rounds of corrections against one round's tracking, and against sam2's own predictor.

    tox -e speedup        with the other comparisons, on the CPU
    tox -e speedup-gpu    on CUDA

Twelve prompts as in test_speedup.py, each corrected five times by the rule of the CVPR 2025 challenge. The slices are
encoded before anything is timed, so the engine's times are of tracking alone; sam2's predictor encodes every slice in
every pass of every round. On the CPU the times are CPU seconds, which other processes hardly change.
"""

from __future__ import annotations

import gc
import statistics
import time

import pytest

from benchmarks import speedup
from benchmarks.conftest import SAM2_PROMPTS
from benchmarks.lively_model import lively_model
from medsam_core.data.regions import CONVENTIONS, NESTED, region_mask
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.checkpoints import embedded_path
from medsam_core.inference.devices import resolve_device, resolve_precision
from medsam_core.inference.model import load_model
from medsam_core.inference.predictor import Predictor
from medsam_core.phantoms.cohort import FULL_SIZE, subject
from medsam_core.plugin.options import value_of
from medsam_core.predictors.sam2_flow import Sam2Flow
from medsam_core.prompts.corrections import next_correction
from medsam_core.prompts.simulation import simulate
from medsam_core.prompts.truth import Truth

pytestmark = pytest.mark.latency

ROUNDS, TURNS = 5, 3
WANTED = 6.3
"""Times one round's tracking: five rounds of corrections, and the first."""
AGREEMENT = 0.98
CPU_JOBS = [("embedded", 20, 1), ("medsam2", 16, 0)]
"""(model, slices, how many prompts sam2 runs)."""
CUDA_JOBS = [("embedded", 155, 2), ("medsam2", 155, 1)]


def pytest_generate_tests(metafunc):
    if "job" in metafunc.fixturenames:
        jobs = CUDA_JOBS if value_of(metafunc.config, "device").startswith("cuda") else CPU_JOBS
        metafunc.parametrize("job", jobs, ids=[f"{model}-{slices}" for model, slices, _ in jobs])


def timed(run, device):
    """Seconds, of the CPU alone where that does the work, and what `run` gives."""
    gc.collect()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    found = run()
    speedup.synchronise(device)
    return clock() - started, found


def test_refining(job, medsam_configuration, benchmark, pytestconfig):
    name, slices, of_sam2 = job
    device = resolve_device(medsam_configuration.device)
    precision = resolve_precision("auto", device)
    if name == "embedded":
        model = load_model(embedded_path(), device=device, precision=precision)
    else:
        model = lively_model(ARCHITECTURES[name], seed=0, device=device, precision=precision)
    phantom = subject(19, 0, (slices, *FULL_SIZE[1:]))
    truths = [Truth(region_mask(phantom.labels, region, CONVENTIONS["brats2019"])) for region in NESTED]
    asked = [(truth, prompt) for truth in truths for mode in speedup.MODES for prompt in simulate(truth, mode)]
    assert len(asked) == SAM2_PROMPTS
    prompts = [prompt for _, prompt in asked]
    predictor = Predictor(model)
    encoded = predictor.encode(phantom.images["t1ce"])
    predictor.predict(encoded, prompts)
    once = encoded.encoded
    corrections = []

    def refined():
        rounds = predictor.refine(encoded, prompts)
        for number in range(ROUNDS):
            if number == len(corrections):
                pairs = zip(rounds.predictions, asked, strict=True)
                corrections.append([next_correction(one.mask, truth) for one, (truth, _) in pairs])
            rounds.correct(corrections[number])
        return rounds.predictions

    refined()  # finds the clicks, which are not the device's work
    speedup.reset_peak(device)
    one_round, all_rounds = [], []

    def turn():
        one_round.append(timed(lambda: predictor.predict(encoded, prompts), device)[0])
        seconds, found = timed(refined, device)
        all_rounds.append(seconds)
        return found

    found = benchmark.pedantic(turn, rounds=TURNS)
    ratio = statistics.median(after / before for before, after in zip(one_round, all_rounds, strict=True))
    given = [one for row in corrections for one in row]
    lines = [
        f"refining: {name}, {model.architecture.image_size} px {precision}, {slices} slices × {len(prompts)} prompts, "
        f"{ROUNDS} rounds, {sum(one is not None for one in given)} of {len(given)} corrections given",
        f"  engine: one round {statistics.median(one_round):.2f} s, all {statistics.median(all_rounds):.2f} s: "
        f"{ratio:.2f} times as long (wanted: at most {WANTED}); slices encoded again: {encoded.encoded - once}",
    ]

    def by_sam2(place):
        rounds = Sam2Flow(model, phantom.images["t1ce"]).rounds(prompts[place])
        mask = rounds.mask()
        for row in corrections:
            if row[place] is not None:
                rounds.correct(row[place])
                mask = rounds.mask()
        return mask

    agreement = []
    for place in speedup.spread(of_sam2, SAM2_PROMPTS):
        seconds, mask = timed(lambda place=place: by_sam2(place), device)
        agreement.append(speedup.dice(mask, found[place].mask))
        whole = seconds * SAM2_PROMPTS
        longer = whole / statistics.median(all_rounds)
        lines.append(
            f"  sam2: {seconds:.2f} s for one prompt, {whole:.1f} s for all, {longer:.1f} times the engine's; "
            f"Dice with the engine's mask {agreement[-1]:.4f}"
        )
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("", *lines, sep="\n")
    benchmark.extra_info |= {"slices": slices, "one_round_s": one_round, "all_rounds_s": all_rounds, "ratio": ratio}
    assert encoded.encoded == once, "a slice was encoded again"
    assert all(value >= AGREEMENT for value in agreement)
