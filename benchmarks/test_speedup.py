"""This engine against sam2's own predictor in MedSAM2's flow: same weights, same volume, same process, in turns.

    tox -e speedup        the CPU; minutes
    tox -e speedup-gpu    CUDA, where a cohort of full size is scored; an error where there is none

Twelve prompts: WT, TC and ET of a phantom by box, point, three points and mask, bidirectional. sam2 takes them one by
one and encodes every slice again in each pass; the engine takes all of them at once. Both start from the voxels and
end with masks on the host. Speed is printed, not asserted: it belongs to the machine. What is asserted is that both
found the same masks, without which a ratio means nothing.
"""

from __future__ import annotations

import functools
import statistics

import pytest
import torch

from benchmarks import speedup
from benchmarks.conftest import COHORT, SAM2_PROMPTS, SUBJECTS
from benchmarks.lively_model import lively_model
from medsam_core.data.regions import REGIONS
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.checkpoints import embedded_path
from medsam_core.inference.devices import resolve_device, resolve_precision
from medsam_core.inference.model import LoadedModel, load_model
from medsam_core.phantoms.cohort import FULL_SIZE
from medsam_core.plugin.options import value_of

pytestmark = pytest.mark.latency

ROUNDS = 3
LONG_ROUNDS = 1  # of the long volumes on a CPU
GROWTH = (155, 310)  # slices
AGREEMENT = 0.995
THIN, THIN_SUBJECTS = (24, *FULL_SIZE[1:]), 6  # on the CPU
GROWN = 1.25  # times what the process holds after the second subject
# (model, slices, the places of the prompts that sam2 runs): on the CPU few stand for all, and the output says so
CPU_JOBS = [
    *(("embedded", slices, (0, 5)) for slices in (20, 80)),
    *(("embedded", slices, (0,)) for slices in (155, 310)),
    ("medsam2", 16, (0,)),
]
CUDA_JOBS = [(model, slices) for model in ("embedded", "medsam2") for slices in (20, 80, 155, 310)]


def pytest_generate_tests(metafunc):
    cuda = value_of(metafunc.config, "device").startswith("cuda")
    if "job" in metafunc.fixturenames:
        count = metafunc.config.getoption("--sam2-prompts", SAM2_PROMPTS)
        jobs = [(*job, speedup.spread(count, SAM2_PROMPTS)) for job in CUDA_JOBS] if cuda else CPU_JOBS
        metafunc.parametrize("job", jobs, ids=[f"{model}-{slices}" for model, slices, _ in jobs])


@pytest.fixture(scope="module")
def device(medsam_configuration):
    return resolve_device(medsam_configuration.device)


@pytest.fixture(scope="module")
def say(pytestconfig):
    """Print past pytest's capture."""
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")

    def write(lines):
        with capture.global_and_fixture_disabled():
            print("", *lines, sep="\n")

    return write


@pytest.fixture(scope="module")
def make_model(device):
    """The embedded checkpoint, or made-up weights of MedSAM2's full size, at a precision."""

    def make(name: str, precision: str) -> LoadedModel:
        if name == "embedded":
            return load_model(embedded_path(), device=device, precision=precision)
        return lively_model(ARCHITECTURES[name], seed=0, device=device, precision=precision)

    return make


@pytest.fixture(scope="module")
def encoder(device, make_model):
    """(model's name) -> precision -> what `encoder_throughput` tells; measured once for all volumes."""

    @functools.cache
    def measure(name: str) -> dict[str, dict[str, float]]:
        batch, rounds = (16, 20) if device.type == "cuda" else (4, 3)
        return {
            precision: speedup.encoder_throughput(make_model(name, precision), batch=batch, rounds=rounds)
            for precision in precisions(device)
        }

    return measure


def precisions(device: torch.device) -> tuple[str, ...]:
    """Those that the device has instructions for: elsewhere bf16 is emulated, for agreement and not for speed."""
    return ("fp32", "bf16") if speedup.has_bf16(device) else ("fp32",)


def test_speedup(job, device, make_model, encoder, benchmark, say, pytestconfig):
    name, slices, only = job
    rounds = LONG_ROUNDS if device.type == "cpu" and slices > 100 else ROUNDS
    volume, prompts = speedup.volume_and_prompts(slices)
    models = {precision: make_model(name, precision) for precision in precisions(device)}
    own = resolve_precision("auto", device)  # MedSAM2 runs under bf16 on a GPU; on the CPU it has fp32
    reference = speedup.sam2(models[own], volume, prompts, only)
    engines = {precision: speedup.engine(models[precision], volume, prompts) for precision in models}
    # where launching kernels takes longer than running them; on the CPU a compilation takes minutes
    if device.type == "cuda" and "bf16" in models and not pytestconfig.getoption("--no-compiled", False):
        engines["bf16 compiled"] = speedup.engine(models["bf16"], volume, prompts, compiled=True)

    for one in (reference, *engines.values()):  # cold: compiled kernels, caches, the memory pool
        if device.type == "cuda":
            one.turn(device)
    cold = {one.name: one.seconds.pop() for one in (reference, *engines.values()) if one.seconds}

    def others_first():
        reference.turn(device)
        for way, one in engines.items():
            if way != own:
                one.turn(device)

    benchmark.pedantic(engines[own].turn, (device,), setup=others_first, rounds=rounds)

    agreement = {
        one.name: min(speedup.dice(one.masks[at], mask) for at, mask in zip(only, reference.masks, strict=True))
        for one in engines.values()
    }
    contestants = [reference, *engines.values()]
    title = (
        f"{name}, {models[own].architecture.image_size} px, {slices} slices × {len(prompts)} prompts, "
        f"{_where(device)}; medians of {rounds} rounds in turns"
    )
    ratios = {way: reference.median / one.median for way, one in engines.items()}
    lines = speedup.table(title, contestants, agreement, slices * len(prompts))
    lines.append(f"  {reference.name} / engine: " + ", ".join(f"{ratio:.2f}× {way}" for way, ratio in ratios.items()))
    if cold:
        lines.append("  first run, cold: " + ", ".join(f"{one} {seconds:.2f} s" for one, seconds in cold.items()))
    lines += [f"  encoder {precision}: {speedup.told(found)}" for precision, found in encoder(name).items()]
    if "bf16" not in models:
        lines.append("  bf16 is left out: this processor has no instructions for it")
    say(lines)
    benchmark.extra_info |= {
        "slices": slices,
        "prompts": len(prompts),
        "contestants": speedup.as_json(contestants, agreement),
        "ratio": {way: round(ratio, 3) for way, ratio in ratios.items()},
        "encoder": encoder(name),
        "cold_s": {one: round(seconds, 3) for one, seconds in cold.items()},
    }
    assert all(mask.any() for mask in reference.masks), "empty masks agree about nothing"
    assert agreement[engines[own].name] >= AGREEMENT


def test_growth(device, make_model, benchmark, say):
    """Twice the slices, in turns, so that whatever the machine does meanwhile meets both; a box for each region."""
    jobs = [speedup.volume_and_prompts(slices) for slices in GROWTH]
    pairs = {}
    for precision in precisions(device):
        model = make_model("embedded", precision)
        pairs[precision] = [speedup.engine(model, volume, prompts[:: len(speedup.MODES)]) for volume, prompts in jobs]

    everyone = [one for pair in pairs.values() for one in pair]

    def turn():
        for one in everyone:
            one.turn(device)

    if device.type == "cuda":  # cold, as above
        turn()
        for one in everyone:
            one.seconds.clear()
    benchmark.pedantic(turn, rounds=ROUNDS)
    short, long = GROWTH
    ratios = {
        precision: statistics.median(b / a for a, b in zip(one.seconds, other.seconds, strict=True))
        for precision, (one, other) in pairs.items()
    }
    lines = [f"growth: embedded, {len(REGIONS)} boxes, {_where(device)}; the median of {ROUNDS} pairs"]
    for precision, (one, other) in pairs.items():
        lines.append(
            f"  engine {precision}: {one.median:.2f} s for {short} slices, {other.median:.2f} s for {long}: "
            f"{ratios[precision]:.2f} times as long"
        )
    say(lines)
    benchmark.extra_info |= {
        "slices": list(GROWTH),
        "seconds": {precision: [one.seconds, other.seconds] for precision, (one, other) in pairs.items()},
        "ratio": {precision: round(ratio, 3) for precision, ratio in ratios.items()},
    }
    assert all(mask.any() for one in everyone for mask in one.masks)


def test_cohort(device, make_model, medsam_configuration, benchmark, say, tmp_path, pytestconfig):
    """Reading, prompting, segmenting and scoring phantoms as the gate does it; on CUDA of full size, for the time that
    a cohort takes; on the CPU thin ones with the embedded checkpoint, for the memory: it shall not grow."""
    cuda = device.type == "cuda"
    model = make_model("medsam2", "bf16") if cuda else make_model("embedded", "fp32")
    subjects = pytestconfig.getoption("--speedup-subjects", SUBJECTS) if cuda else THIN_SUBJECTS
    size = FULL_SIZE if cuda else THIN
    cohort = speedup.Cohort(model, medsam_configuration, speedup.MODES, subjects, size, tmp_path)
    benchmark.pedantic(cohort.score, rounds=1)
    told = {
        "subjects": subjects,
        "size": list(size),
        "cases": len(cohort.plan),
        "s_per_subject": round(cohort.seconds_per_subject, 3),
        "resident_mib": [round(mib) for mib in cohort.resident_mib],
    }
    lines = [
        f"cohort: {subjects} phantoms of {' × '.join(map(str, size))}, {len(cohort.plan)} cases, read and scored, "
        f"{_where(device)}",
        f"  {cohort.seconds_per_subject:.2f} s per subject after the first, which is cold",
        f"  resident after each subject, MiB: {', '.join(f'{mib:.0f}' for mib in cohort.resident_mib)}",
    ]
    if cuda:
        told["cohort_minutes"] = round(COHORT * cohort.seconds_per_subject / 60, 2)
        lines.append(f"  {COHORT} subjects would take {told['cohort_minutes']:.1f} min")
    benchmark.extra_info |= told
    say(lines)
    assert len(cohort.records) == subjects * len(REGIONS) * len(speedup.MODES)
    _, settled, *_, last = cohort.resident_mib  # NaN where the system does not tell
    assert not last > GROWN * settled, "the process holds more with every subject"


def _where(device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
