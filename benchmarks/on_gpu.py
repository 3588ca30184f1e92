"""The measurements of `benchmarks/gpu.sh`, each a command that needs no pytest-benchmark and prints one line of JSON.

    python -m benchmarks.on_gpu engine --way graphs
    python -m benchmarks.on_gpu sam2 --sam2-prompts 2
    python -m benchmarks.on_gpu cohort --subjects 4
    python -m benchmarks.on_gpu trace

With --device cpu and --model tiny all of it runs on a CPU, to try the script and not to time anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import speedup
from benchmarks.arguments import whole
from benchmarks.lively_model import lively_model
from benchmarks.operations import TINY
from medsam_core.errors import MedsamError
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.inference.devices import resolve_device, resolve_precision
from medsam_core.inference.model import LoadedModel
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictor import Predictor
from medsam_core.phantoms.cohort import FULL_SIZE
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.settings import Settings

WAYS = {
    "graphs": Plan(fixed=True, replayed=True),
    "fixed": Plan(fixed=True),
    "narrow": Plan(fixed=True, narrow_values=True),
    "growing": Plan(),
}
COHORT = 369  # subjects of BraTS 2020's training data


def environment(_options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The versions, and the device's name and memory."""
    found: dict[str, Any] = {"python": sys.version.split()[0], "torch": torch.__version__, "device": str(device)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "memory_mib": properties.total_memory >> 20,
            "capability": list(torch.cuda.get_device_capability(device)),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def engine(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """One subject through one way of the engine: the cold run, warm ones, peak memory, shapes and notes."""
    model = _model(options, device)
    volume, prompts = speedup.volume_and_prompts(options.slices)
    predictor = Predictor(model, plan=_plan(options.way, device))
    prompts = prompts[: options.prompts]
    one = speedup.Contestant(options.way, lambda: [found.mask for found in predictor.predict(volume, prompts)])
    for _ in range(options.rounds + 1):
        one.turn(device)
    cold, *warm = one.seconds
    shapes = {} if predictor.fixed is None else predictor.fixed.shapes
    return {
        "way": options.way,
        "cold_s": round(cold, 3),
        "warm_s": [round(seconds, 3) for seconds in warm],
        "median_s": round(statistics.median(warm), 3),
        "peak_mib": round(one.peak_mib),
        "steps_by_shape": {f"{rows} rows{', filling' if filling else ''}": n for (rows, filling), n in shapes.items()},
        "notes": predictor.notes,
    }


def sam2(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The engine against sam2's own predictor in turns, and the worst Dice between their masks."""
    model = _model(options, device)
    volume, prompts = speedup.volume_and_prompts(options.slices)
    prompts = prompts[: options.prompts]
    only = speedup.spread(options.sam2_prompts, len(prompts))
    reference, own = speedup.sam2(model, volume, prompts, only), speedup.engine(model, volume, prompts)
    own.turn(device)  # cold
    cold = own.seconds.pop()
    for _ in range(options.rounds):
        own.turn(device)
        if not reference.seconds:  # once: it takes most of the time
            reference.turn(device)
    agreement = [speedup.dice(own.masks[place], mask) for place, mask in zip(only, reference.masks, strict=True)]
    return {
        "sam2_s": round(reference.median, 3),
        "scaled_by": round(reference.share, 3),
        "engine_s": round(own.median, 3),
        "engine_cold_s": round(cold, 3),
        "ratio": round(reference.median / own.median, 2),
        "min_dice": round(min(agreement), 5),
        "peak_mib": {"sam2": round(reference.peak_mib), "engine": round(own.peak_mib)},
    }


def cohort(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Phantoms read, prompted, segmented and scored as the gate does it."""
    model, size = _model(options, device), (options.slices, *FULL_SIZE[1:])
    modes = speedup.MODES[: max(1, options.prompts // 3)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        configuration = Configuration(Settings(), PhantomCohort(place / "phantoms"), place / "run")
        found = speedup.Cohort(model, configuration, modes, options.subjects, size, place)
        found.score()
    return {
        "subjects": options.subjects,
        "cases": len(found.plan),
        "s_per_subject": round(found.seconds_per_subject, 3),
        "cohort_minutes": round(COHORT * found.seconds_per_subject / 60, 2),
        "resident_mib": [round(mib) for mib in found.resident_mib],
    }


def trace(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The share of a warm subject's time in which the device does nothing, and what it did most."""
    model = _model(options, device)
    volume, prompts = speedup.volume_and_prompts(options.slices)
    predictor = Predictor(model, plan=_plan(options.way, device))
    run: Callable[[], Any] = lambda: predictor.predict(volume, prompts[: options.prompts])  # noqa: E731
    run()
    speedup.synchronise(device)
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        started = time.perf_counter()
        run()
        speedup.synchronise(device)
        seconds = time.perf_counter() - started
    wanted = torch.autograd.DeviceType.CUDA if cuda else torch.autograd.DeviceType.CPU
    events = [event for event in seen.events() if event.device_type == wanted]
    busy = covered((event.time_range.start, event.time_range.end) for event in events) / 1e6
    by_name: dict[str, float] = {}
    for event in events:
        by_name[event.name] = by_name.get(event.name, 0) + event.time_range.elapsed_us() / 1e3
    most = sorted(by_name.items(), key=lambda item: -item[1])[:12]
    return {
        "way": options.way,
        "traced_s": round(seconds, 3),
        "busy_s": round(busy, 3),
        "idle_share": round(max(0.0, 1 - busy / seconds), 3),
        "events": len(events),
        "most_ms": {name[:80]: round(ms, 2) for name, ms in most},
    }


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length that is in at least one of the spans (start, end)."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _plan(way: str, device: torch.device) -> Plan:
    """On a CPU nothing can be recorded."""
    plan = WAYS[way]
    return plan if device.type == "cuda" else Plan(fixed=plan.fixed, narrow_values=plan.narrow_values)


def _model(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    precision = resolve_precision(options.precision, device)
    architecture = ARCHITECTURES["medsam2"].with_image_size(TINY if options.model == "tiny" else 512)
    return lively_model(architecture, seed=0, device=device, precision=precision)


PARTS: dict[str, Callable[[argparse.Namespace, torch.device], dict[str, Any]]] = {
    part.__name__: part for part in (environment, engine, sam2, cohort, trace)
}


def main(words: Sequence[str] | None = None) -> int:
    """The command line. Returns its exit code: 2 for a user's mistake, said in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--model",
        choices=("medsam2", "tiny"),
        default="medsam2",
        help=f"of made-up weights; tiny: its layers at {TINY} px",
    )
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--way", choices=WAYS, default="graphs")
    parser.add_argument("--slices", type=whole(16), default=FULL_SIZE[0])
    parser.add_argument("--prompts", type=whole(1, 12), default=12)
    parser.add_argument("--sam2-prompts", type=whole(1, 12), default=2, help="of them, for sam2; its time is scaled")
    parser.add_argument("--subjects", type=whole(2), default=4)
    parser.add_argument("--rounds", type=whole(1), default=3)
    options = parser.parse_args(words)
    try:
        found = PARTS[options.part](options, resolve_device(options.device))
    except MedsamError as error:
        print(f"on_gpu: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"part": options.part, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
