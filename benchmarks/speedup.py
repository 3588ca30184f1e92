"""Contestants timed in turns, the memory that a turn took, the encoder beside the machine's limit, a cohort."""

from __future__ import annotations

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medsam_core.cases import CaseRecord
from medsam_core.data.regions import CONVENTIONS, REGIONS, region_mask
from medsam_core.inference.devices import autocast
from medsam_core.inference.model import LoadedModel
from medsam_core.inference.predictor import Predictor
from medsam_core.phantoms.cohort import FULL_SIZE, subject
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.evaluator import Evaluator
from medsam_core.predictors.sam2_flow import Sam2Flow
from medsam_core.prompts.prompt import Prompt
from medsam_core.prompts.simulation import simulate

MIB = 1 << 20
ENGINE, SAM2 = "engine", "sam2"
MODES = ("box", "point", "points3", "mask")
# dense bf16 FLOP/s of the makers' data sheets; of another GPU only the measured product is told
PEAK_BF16 = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


@dataclass
class Contestant:
    """One way through the job: `run` gives a mask for each of the prompts that it did.

    share: how many prompts of the whole job one of these stands for; above 1, times are scaled by it and say so.
    """

    name: str
    run: Callable[[], list[np.ndarray]]
    share: float = 1.0
    seconds: list[float] = field(default_factory=list)  # of the whole job, scaled
    peak_mib: float = 0.0
    masks: list[np.ndarray] = field(default_factory=list)

    def turn(self, device: torch.device) -> None:
        """Run once more, timed, the device's work included."""
        gc.collect()
        reset_peak(device)
        started = time.perf_counter()
        self.masks = self.run()
        synchronise(device)
        self.seconds.append((time.perf_counter() - started) * self.share)
        self.peak_mib = max(self.peak_mib, peak_mib(device))

    @property
    def median(self) -> float:
        """Seconds for the whole job; NaN without a turn."""
        return statistics.median(self.seconds) if self.seconds else float("nan")


def volume_and_prompts(slices: int) -> tuple[np.ndarray, list[Prompt]]:
    """T1ce of a phantom head cut into that many slices of 240 × 240, and its twelve prompts."""
    phantom = subject(19, 0, (slices, *FULL_SIZE[1:]))
    convention = CONVENTIONS["brats2019"]
    truths = [region_mask(phantom.labels, region, convention) for region in REGIONS]
    prompts = [prompt for truth in truths for mode in MODES for prompt in simulate(truth, mode)]
    assert len(prompts) == len(REGIONS) * len(MODES), "a region is absent"
    return phantom.images["t1ce"], prompts


def engine(model: LoadedModel, volume: np.ndarray, prompts: Sequence[Prompt], *, compiled: bool = False) -> Contestant:
    """This package: read nothing, keep nothing, so every turn normalises, resizes, encodes and tracks."""
    predictor = Predictor(model, compiled=compiled)
    name = f"{ENGINE} {model.precision}" + (" compiled" if compiled else "")
    return Contestant(name, lambda: [found.mask for found in predictor.predict(volume, list(prompts))])


def sam2(model: LoadedModel, volume: np.ndarray, prompts: Sequence[Prompt], only: Sequence[int]) -> Contestant:
    """sam2's predictor in MedSAM2's flow, for the prompts at the places `only`, scaled to all of them."""

    def run() -> list[np.ndarray]:
        flow = Sam2Flow(model, volume)
        return [flow.mask(prompts[place]) for place in only]

    return Contestant(f"{SAM2} {model.precision}", run, len(prompts) / len(only))


def spread(count: int, prompts: int) -> tuple[int, ...]:
    """The places of `count` of the prompts, 12 or another number that 5 does not divide: few are of several modes."""
    return tuple(sorted(5 * place % prompts for place in range(count)))


def has_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; of a CPU only Linux tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    told = Path("/proc/cpuinfo")
    words = set(told.read_text(encoding="utf-8").split()) if told.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two bool masks; 1 if both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def synchronise(device: torch.device) -> None:
    """Wait for what the device still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Forget the highest memory use so far: of the device, on the CPU of the process (Linux only)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mib(device: torch.device) -> float:
    """Highest memory use since `reset_peak`: allocated on the device, on the CPU resident; NaN where it is not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    return resident_mib("VmHWM")


def resident_mib(key: str = "VmRSS") -> float:
    """The process's memory by Linux's own name for it, in MiB; NaN elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:")), float("nan"))


def encoder_gflop(model: LoadedModel) -> float:
    """GFLOP of the image encoder for one slice: two for each multiply-add, attention included."""
    image = torch.zeros(1, 3, model.module.image_size, model.module.image_size, device=model.device)
    # the fused attention of the CPU is unknown to the counter; matrix products are not
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.module.forward_image(image)
    return counter.get_total_flops() / 1e9


def encoder_throughput(model: LoadedModel, *, batch: int, rounds: int) -> dict[str, float]:
    """The encoder's FLOP/s on ready pixels, beside a large matrix product's in the same precision and process."""
    size = model.module.image_size
    images = torch.rand(batch, 3, size, size, device=model.device).contiguous(memory_format=torch.channels_last)

    def encode() -> None:
        with torch.no_grad(), autocast(model.device, model.precision):
            model.module.forward_image(images)

    cuda = model.device.type == "cuda"
    side, dtype = (8192 if cuda else 1536), (torch.bfloat16 if model.precision == "bf16" else torch.float32)
    a, b = (torch.randn(side, side, device=model.device, dtype=dtype) for _ in range(2))
    with torch.no_grad():
        seconds = in_turns({"encoder": encode, "product": lambda: a @ b}, model.device, rounds)
    per_slice = encoder_gflop(model)
    found = {
        "gflop_per_slice": round(per_slice, 2),
        "ms_per_slice": round(1000 * seconds["encoder"] / batch, 3),
        "tflops": round(per_slice * batch / seconds["encoder"] / 1e3, 4),
        "product_tflops": round(2 * side**3 / seconds["product"] / 1e12, 4),
    }
    found["share_of_product"] = round(found["tflops"] / found["product_tflops"], 3)
    name = torch.cuda.get_device_name(model.device) if cuda else ""
    peak = next((peak for chip, peak in PEAK_BF16.items() if chip in name.split()), None)
    if peak and model.precision == "bf16":
        found["share_of_peak"] = round(found["tflops"] * 1e12 / peak, 3)
    return found


def told(found: Mapping[str, float]) -> str:
    """What `encoder_throughput` gave, in a line."""
    line = (
        f"{found['gflop_per_slice']:.1f} GFLOP and {found['ms_per_slice']:.2f} ms per slice: {found['tflops']:.3f} "
        f"TFLOP/s, {found['share_of_product']:.0%} of a large product's {found['product_tflops']:.3f}"
    )
    return line + (f", {found['share_of_peak']:.0%} of the data sheet's peak" if "share_of_peak" in found else "")


def in_turns(runs: Mapping[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, float]:
    """Median seconds of each after a warm-up, all of them once in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            synchronise(device)
            started = time.perf_counter()
            run()
            synchronise(device)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def table(title: str, contestants: Sequence[Contestant], agreement: Mapping[str, float], per: int) -> list[str]:
    """What a person reads; per: slices × prompts, to which the time of each is broken down."""
    lines = [
        title,
        f"  {'':<20} {'seconds':>9} {'rounds from-to':>17} {'ms/slice/prompt':>16} {'peak MiB':>9} {'Dice':>8}",
    ]
    for one in contestants:
        spread = f"{min(one.seconds):.2f}-{max(one.seconds):.2f}"
        told = f"{agreement[one.name]:8.5f}" if one.name in agreement else f"{'':>8}"
        scaled = f"  one prompt stands for {one.share:.3g}: scaled" if one.share > 1 else ""
        lines.append(
            f"  {one.name:<20} {one.median:9.2f} {spread:>17} {1000 * one.median / per:16.2f} {one.peak_mib:9.0f} "
            f"{told}{scaled}"
        )
    return lines


class Cohort:
    """Phantoms of one size scored as a session scores them: read, prompted, segmented, scored, the next read meanwhile.

    The cohort is written when this is made, so `score` times none of it. At least two subjects: the first is cold.
    """

    def __init__(
        self,
        model: LoadedModel,
        configuration: Configuration,
        modes: Sequence[str],
        subjects: int,
        size: tuple[int, int, int],
        folder: Path,
    ) -> None:
        checkpoint = folder / "made_up.pt"
        torch.save({"model": model.module.state_dict()}, checkpoint)
        phantom = dataclasses.replace(configuration.phantom, subjects=subjects, size=size)
        self.configuration = dataclasses.replace(
            configuration,
            settings=dataclasses.replace(configuration.settings, prompts=tuple(modes)),
            brats_root=phantom.write(),  # as a root, for which there are no gates: made-up weights would break all
            subjects=(),
            limit=None,
            checkpoint=str(checkpoint),
            architecture=model.architecture.name,
            image_size=model.architecture.image_size,
            device=str(model.device),
            precision=model.precision,
            gates=None,
            baseline=None,
            prompts_from=None,
            overlays=0,
            run_dir=folder / "run",
        )
        self.plan = self.configuration.plan
        self.records: list[CaseRecord] = []
        self.resident_mib: list[float] = []  # after each subject
        self._ends: list[float] = []

    def score(self) -> None:
        """Every case, in the plan's order."""
        evaluator = Evaluator(self.configuration)
        try:
            for case, following in zip(self.plan, [*self.plan[1:], None], strict=True):
                self.records.append(evaluator.evaluate(case, self.plan).record)
                if following is None or following.subject != case.subject:
                    self._ends.append(time.perf_counter())
                    self.resident_mib.append(resident_mib())
        finally:
            evaluator.close()

    @property
    def seconds_per_subject(self) -> float:
        """From the end of the first subject to the end of the last."""
        return (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)


def as_json(contestants: Sequence[Contestant], agreement: Mapping[str, float]) -> dict[str, Any]:
    """The same for `extra_info`."""
    return {
        one.name: {
            "median_s": round(one.median, 3),
            "seconds": [round(s, 3) for s in one.seconds],
            "scaled_by": round(one.share, 3),
            "peak_mib": round(one.peak_mib, 1),
            "min_dice_with_sam2": agreement.get(one.name),
        }
        for one in contestants
    }
