"""How a stage is timed, and what a measurement says of the machine it was made on."""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arguments import whole
from medsam_core.plugin.options import value_of

RESULTS = Path(__file__).parent / "results"
SECONDS = 6.0  # what the warm rounds of one stage may take, if that leaves enough rounds
ROUNDS = (5, 40)
SAM2_PROMPTS, SUBJECTS = 12, 16  # of the speedup on CUDA
COHORT = 369  # BraTS 2020's training cases
SMI = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_event_reasons.active")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--keep-as", metavar="NAME", help="keep pytest-benchmark's JSON as benchmarks/results/NAME-<device>.json"
    )
    parser.addoption(
        "--latency-against",
        metavar="REV_OR_CHECKPOINT",
        help="time this code in turn with another git revision's, or with other weights, and compare",
    )
    parser.addoption("--latency-pairs", type=int, default=5, metavar="N", help="rounds of each side (%(default)s)")
    parser.addoption("--latency-factor", type=float, default=1.1, help="how much slower a stage may be (%(default)s)")
    parser.addoption("--latency-seconds", type=float, default=SECONDS, help="warm timing of a stage (%(default)s s)")
    parser.addoption(
        "--sam2-prompts",
        type=whole(1, SAM2_PROMPTS),
        default=SAM2_PROMPTS,
        metavar="N",
        help="speedup on CUDA: how many of the twelve prompts sam2 runs; its time is scaled (%(default)s)",
    )
    parser.addoption(
        "--speedup-subjects",
        type=whole(3, COHORT),
        default=SUBJECTS,
        metavar="N",
        help="phantoms of its cohort, 3 or more (%(default)s)",
    )
    parser.addoption(
        "--no-compiled", action="store_true", help="speedup on CUDA without --medsam-compile, which takes minutes"
    )
    parser.addoption("--latency-rounds", type=int, default=ROUNDS[0], metavar="N", help="at least (%(default)s)")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With --latency-against the session times nothing itself: it runs both sides in processes of their own."""
    against = config.getoption("--latency-against", None)
    if against is None:
        return None
    from benchmarks.against import main

    return main(config, against)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name the results file after the machine, before pytest-benchmark looks where to write."""
    name = config.getoption("--keep-as", None)
    if name:
        RESULTS.mkdir(exist_ok=True)
        config.option.benchmark_json = RESULTS / f"{name}-{_device_name(config)}.json"
    if not config.pluginmanager.hasplugin("benchmark"):
        config.pluginmanager.register(WithoutBenchmark())


class WithoutBenchmark:
    """In place of pytest-benchmark where it is not installed."""

    @pytest.fixture
    def benchmark(self) -> None:
        pytest.fail(
            'pytest-benchmark is not installed, expected it to time the stages; pip install "medsam-core[suite]"',
            pytrace=False,
        )


def _device_name(config: pytest.Config) -> str:
    """E.g. `nvidia-h200` or `amd-epyc-avx2-2-cores`."""
    import torch

    from medsam_core.plugin.identity import environment

    seen = environment()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"{seen.cpu} {torch.backends.cpu.get_cpu_capability()} {cores} cores"
    cuda = value_of(config, "device").startswith("cuda") and torch.cuda.is_available()
    return re.sub(r"[^a-z0-9]+", "-", (seen.gpu if cuda else cpu).lower()).strip("-")


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """What has to be equal for two measurements to be compared, under the key `medsam`."""
    import torch

    from medsam_core.plugin.identity import environment

    configuration = config.pluginmanager.get_plugin("medsam-session").configuration  # type: ignore[union-attr]
    header, seen = configuration.header(), environment()
    weights, device = header.checkpoint, torch.device(header.device)
    cuda = device.type == "cuda"
    machine_info.pop("node", None)  # the machine's name on its network is nobody's business
    machine_info["medsam"] = {
        "cpu": seen.cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": seen.gpu if cuda else None,
        "driver": _smi(device, ("driver_version",)).get("driver_version") if cuda else None,
        "cuda": seen.cuda if cuda else None,
        "torch": seen.torch,
        "sam2": seen.sam2,
        "device": header.device,
        "precision": header.precision,
        **({"compiled": True} if configuration.compiled else {}),
        # older measurements are all of the engine and do not say so
        **({} if header.predictor.name == "engine" else {"predictor": header.predictor.name}),
        "checkpoint": weights.sha256,
        "architecture": f"{weights.architecture} at {weights.image_size} px" if weights.architecture else "not known",
        "cohort": header.cohort.fingerprint,
        "cases": ", ".join("/".join(case.id.split("/")[1:]) for case in configuration.settings.cases("subject")),
    }


@pytest.fixture(scope="session")
def engine(medsam_predictor: Any) -> Any:
    """The engine itself, for its stages; with another predictor the test fails in a sentence."""
    from medsam_core.errors import PredictorError
    from medsam_core.predictors.engine import engine_of

    try:
        return engine_of(medsam_predictor, what="the stages of the engine")
    except PredictorError as error:
        sentence = str(error)
    return pytest.fail(sentence, pytrace=False)


@pytest.fixture
def stage(benchmark: Any, medsam_configuration: Any, pytestconfig: pytest.Config) -> Callable[..., None]:
    """`stage(run, slices=D)` times `run()` cold once, then warm, and says in `extra_info` what one should know.

    before: makes what `run` takes as its only argument, again for each round and outside of the timing.
    """
    from medsam_core.inference.devices import resolve_device

    device = resolve_device(medsam_configuration.device)
    # with defaults, because `pytest .` reads this file too late for its options
    seconds = pytestconfig.getoption("--latency-seconds", SECONDS)
    least = pytestconfig.getoption("--latency-rounds", ROUNDS[0])

    def measure(run: Callable[..., object], *, slices: int, before: Callable[[], object] | None = None) -> None:
        if benchmark.disabled:
            pytest.fail("nothing is timed under xdist or --benchmark-disable; run without them", pytrace=False)
        timed = _synchronised(run, device)
        _reset_peak(device)
        started = time.perf_counter()
        timed(*(() if before is None else (before(),)))
        cold = time.perf_counter() - started
        device_ms: list[float] = []
        clocks = _smi(device, SMI)
        benchmark.pedantic(
            _with_events(timed, device, device_ms),
            setup=None if before is None else lambda: ((before(),), {}),
            rounds=max(least, min(ROUNDS[1], int(seconds / cold))),
        )
        ms = sorted(1000 * seconds for seconds in benchmark.stats.stats.data)
        benchmark.extra_info |= {
            "cold_ms": round(1000 * cold, 3),
            "p50_ms": round(statistics.median(ms), 3),
            "p95_ms": round(statistics.quantiles(ms, n=20, method="inclusive")[-1], 3),
            "ms_per_slice": round(statistics.median(ms) / slices, 4),
            "slices": slices,
            "rounds": len(ms),
            "host_peak_mib": _host_peak_mib(),
            **_device_memory(device),
        }
        if device_ms:
            benchmark.extra_info["device_p50_ms"] = round(statistics.median(device_ms), 3)
        if clocks:
            benchmark.extra_info |= {"gpu_before": clocks, "gpu_after": _smi(device, SMI)}

    return measure


def _synchronised(run: Callable[..., object], device: Any) -> Callable[..., None]:
    """A GPU works on after the call has returned: without this the next stage would pay for it."""
    import torch

    def timed(*arguments: object) -> None:
        run(*arguments)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return timed


def _with_events(timed: Callable[..., None], device: Any, device_ms: list[float]) -> Callable[..., None]:
    """On CUDA also the time between two events on the device's own clock."""
    import torch

    if device.type != "cuda":
        return timed

    def run(*arguments: object) -> None:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        timed(*arguments)
        end.record()
        end.synchronize()
        device_ms.append(start.elapsed_time(end))

    return run


def _reset_peak(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


def _device_memory(device: Any) -> dict[str, float]:
    import torch

    if device.type != "cuda":
        return {}
    return {
        "device_peak_mib": round(torch.cuda.max_memory_allocated(device) / 2**20, 1),
        "device_reserved_mib": round(torch.cuda.max_memory_reserved(device) / 2**20, 1),
    }


def _host_peak_mib() -> float:
    """Of the process since its start: it never falls from one stage to the next."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _smi(device: Any, fields: tuple[str, ...]) -> dict[str, str]:
    """What the driver says of the GPU, by nvidia-smi's own names; {} where it is not there or says nothing."""
    import torch

    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        return {}
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    if uuid is not None:
        command.append(f"--id=GPU-{uuid}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.strip().splitlines()
    values = [value.strip() for value in lines[0].split(",")] if done.returncode == 0 and lines else []
    return dict(zip(fields, values, strict=True)) if len(values) == len(fields) else {}
