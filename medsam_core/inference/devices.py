"""Which device, which precision: the two words of the user made definite. Imports torch, not sam2."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch

from medsam_core.errors import DeviceError

Result = TypeVar("Result")

PRECISIONS = ("auto", "fp32", "bf16")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # those that torch goes by


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """`auto` is CUDA where there is a GPU and the CPU elsewhere; `cpu`, `cuda`, `cuda:N` are taken as they are.

    Raises DeviceError for another word, for CUDA without a GPU and for a GPU that is not there.
    """
    name = str(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise DeviceError(f"device: got {name!r}, expected auto, cpu, cuda or cuda:N; choose one of them.")
    chosen = torch.device(name)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise DeviceError(
                f"device: got {name} where torch sees {count} CUDA devices, expected one that is there; "
                "use auto or cpu, or install a torch built for the GPU."
            )
    return chosen


def resolve_precision(precision: str, device: torch.device) -> str:
    """`fp32` or `bf16` for the precision asked for. `auto` is bf16 on a GPU that has it, as MedSAM2 runs, else fp32.

    bf16 means autocast: weights stay float32, matrix products are made in bfloat16 (on the CPU not those of the prompt
    encoder and the mask decoder). On the CPU `auto` is fp32
    everywhere, so that a run's scores do not depend on which processor it met.
    Raises DeviceError for another word and for bf16 on a GPU without it.
    """
    if precision not in PRECISIONS:
        raise DeviceError(f"precision: got {precision!r}, expected one of {', '.join(PRECISIONS)}; choose one of them.")
    if precision == "fp32" or device.type == "cpu":
        return "bf16" if precision == "bf16" else "fp32"
    # the capability and not torch.cuda.is_bf16_supported, which counts emulation as support
    supported = torch.cuda.get_device_capability(device) >= (8, 0)
    if precision == "bf16" and not supported:
        raise DeviceError(
            f"precision: got bf16 on {torch.cuda.get_device_name(device)}, expected a GPU of compute capability 8.0 "
            "or higher; use fp32."
        )
    return "bf16" if supported else "fp32"


def why_device(asked: str, device: torch.device) -> str:
    """What made `auto` choose `device`, in a few words; "" where it was not asked to choose."""
    if asked != "auto":
        return ""
    return "auto: torch sees no GPU" if device.type == "cpu" else "auto: the first GPU that torch sees"


def why_precision(asked: str, device: torch.device) -> str:
    """What made `auto` choose the precision on `device`, in a few words; "" where it was not asked to choose."""
    if asked != "auto":
        return ""
    if device.type == "cpu":
        return "auto: the CPU is always fp32, so that scores do not depend on the processor"
    if resolve_precision(asked, device) == "bf16":
        return "auto: the GPU has bf16, in which MedSAM2 runs"
    return "auto: bf16 needs a GPU of compute capability 8.0"


def threads_for(workers: int = 0) -> tuple[int, str]:
    """How many threads torch is to use in each of `workers` processes beside one another, and that in words.

    workers: 0 for one process alone. It takes what torch chose; workers share the cores that this process may run on,
    with at least one thread each; OMP_NUM_THREADS or MKL_NUM_THREADS, where set, overrule both.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = next((name for name in THREAD_VARIABLES if os.environ.get(name)), None)
    if given or not workers:
        count, why = torch.get_num_threads(), given
    else:
        count, why = max(1, cores // workers), f"{workers} workers" if workers > 1 else "1 worker"
    return count, f"{count} of {cores}" + (f" ({why})" if why else "")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the model runs at `precision` (`fp32` or `bf16`)."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def on_device(numbers: Sequence[float], device: torch.device) -> torch.Tensor:
    """(n,) whole numbers (int64) or others (float32) on the device; the caller goes on while they are on their way.

    A plain copy to a GPU waits for everything that it still has to do.
    """
    made = torch.tensor(numbers)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made


def halving_on_exhaustion(run: Callable[[int], Result], batch_size: int, notes: list[str]) -> tuple[Result, int]:
    """`run(batch_size)`, with the batch halved and tried again whenever the device runs out of memory.

    Gives the result and the batch size that worked, to go on with. Each halving adds a sentence to `notes` (no
    warning: where warnings are errors it would stop the run that it is to save). Raises DeviceError if a batch of one
    does not fit either. `run` must be repeatable.
    """
    while True:
        try:
            return run(batch_size), batch_size
        except torch.OutOfMemoryError as error:
            if batch_size == 1:
                raise DeviceError(
                    "device memory: got no room for a batch of one, expected some; free the device, take a smaller "
                    "--image-size or run on the CPU."
                ) from error
        batch_size = (batch_size + 1) // 2
        torch.cuda.empty_cache()
        notes.append(f"out of device memory: went on with a batch of {batch_size}")
