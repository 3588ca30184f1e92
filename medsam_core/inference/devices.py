"""Device, precision and threads: what the user's options mean on this machine. Imports torch, not sam2."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch

from medsam_core.errors import DeviceError
from medsam_core.text import counted

Result = TypeVar("Result")

PRECISIONS = ("auto", "fp32", "bf16")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # torch takes its number of threads from these


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is CUDA if there is a GPU, else the CPU.

    Raises DeviceError for another word, for CUDA without a GPU and for a GPU that does not exist.
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
                f"device: got {name} where torch sees {count} CUDA devices, expected an existing one; "
                "use auto or cpu, or install a torch built for the GPU."
            )
    return chosen


def resolve_precision(precision: str, device: torch.device) -> str:
    """`fp32` or `bf16` for `auto`, `fp32` or `bf16`; `auto` is bf16 on a GPU with bf16, as MedSAM2 runs, else fp32.

    bf16 means autocast: weights stay float32, matrix products are computed in bfloat16 (on the CPU except in the
    prompt encoder and the mask decoder). On every CPU `auto` is fp32, so that scores do not depend on the processor.
    Raises DeviceError for another word and for bf16 on a GPU without it.
    """
    if precision not in PRECISIONS:
        raise DeviceError(f"precision: got {precision!r}, expected one of {', '.join(PRECISIONS)}; choose one of them.")
    if precision == "fp32" or device.type == "cpu":
        return "bf16" if precision == "bf16" else "fp32"
    # not torch.cuda.is_bf16_supported, which also accepts emulation
    supported = torch.cuda.get_device_capability(device) >= (8, 0)
    if precision == "bf16" and not supported:
        raise DeviceError(
            f"precision: got bf16 on {torch.cuda.get_device_name(device)}, expected a GPU of compute capability 8.0 "
            "or higher; use fp32."
        )
    return "bf16" if supported else "fp32"


def device_of_worker(asked: str, worker: int) -> str:
    """The device of one of several parallel processes: worker i has GPU i modulo their count, if `asked` names none.

    asked: as for `resolve_device`; the CPU or a GPU by its number is the same for every worker. worker: from 0.
    Raises DeviceError as `resolve_device` does.
    """
    device = resolve_device(asked)
    if device.type != "cuda" or device.index is not None:
        return str(device)
    return f"cuda:{worker % torch.cuda.device_count()}"


def devices_of_workers(asked: str, workers: int) -> tuple[str, ...]:
    """The device of each of `workers` parallel processes; () for a single process, 0.

    Raises DeviceError if they are GPUs of different models, which round differently: the run's scores would depend on
    which worker was free, and no baseline would be of the same kind.
    """
    devices = tuple(device_of_worker(asked, worker) for worker in range(workers))
    gpus = sorted({torch.device(name).index for name in devices if name.startswith("cuda")})
    models = {f"cuda:{index}": torch.cuda.get_device_name(index) for index in gpus}
    if len(set(models.values())) > 1:
        found = ", ".join(f"{name} {model}" for name, model in models.items())
        raise DeviceError(
            f"device: got GPUs of different models for {counted(workers, 'worker')} ({found}), expected one model, "
            "because models round differently; name one with --medsam-device=cuda:N, or show torch those of one model "
            "with CUDA_VISIBLE_DEVICES."
        )
    return devices


def why_device(asked: str, device: torch.device, workers: Sequence[str] = ()) -> str:
    """Why `auto` chose `device`, in a few words; "" if the user chose it. workers: as `devices_of_workers`."""
    if asked != "auto":
        return ""
    if len(set(workers)) > 1:
        return f"auto: the workers share {counted(len(set(workers)), 'GPU')}"
    return "auto: torch sees no GPU" if device.type == "cpu" else "auto: the first GPU that torch sees"


def why_precision(asked: str, device: torch.device) -> str:
    """Why `auto` chose the precision on `device`, in a few words; "" if the user chose it."""
    if asked != "auto":
        return ""
    if device.type == "cpu":
        return "auto: the CPU is always fp32, so that scores do not depend on the processor"
    if resolve_precision(asked, device) == "bf16":
        return "auto: the GPU has bf16, in which MedSAM2 runs"
    return "auto: bf16 needs a GPU of compute capability 8.0"


def threads_for(workers: int = 0) -> tuple[int, str]:
    """(number, words): how many threads torch should use in each of `workers` parallel processes.

    workers: 0 for a single process, which keeps torch's choice. Workers share the cores that this process may use, with
    at least one thread each. If OMP_NUM_THREADS or MKL_NUM_THREADS is set, it decides in both cases.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    why = next((name for name in THREAD_VARIABLES if os.environ.get(name)), None)
    count = torch.get_num_threads()
    if workers and not why:
        count, why = max(1, cores // workers), counted(workers, "worker")
    return count, f"{count} of {cores}" + (f" ({why})" if why else "")


def use_device(device: str) -> None:
    """Make a GPU the current one of this process, for what is made on `cuda` without a number."""
    chosen = torch.device(device)
    if chosen.type == "cuda" and chosen.index is not None:
        torch.cuda.set_device(chosen)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the model computes at `precision`, `fp32` or `bf16`."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def on_device(numbers: Sequence[float], device: torch.device) -> torch.Tensor:
    """(n,) on the device: int64 for whole numbers, else float32; without waiting for the GPU's pending work."""
    made = torch.tensor(numbers)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made


def halving_on_exhaustion(run: Callable[[int], Result], batch_size: int, notes: list[str]) -> tuple[Result, int]:
    """(`run(batch_size)`, the batch size that worked): halves the batch and retries if the device runs out of memory.

    run: must be repeatable.
    notes: get a sentence for each halving; a warning would stop the run where warnings are errors.
    Raises DeviceError if a batch of one does not fit either.
    """
    while True:
        try:
            return run(batch_size), batch_size
        except torch.OutOfMemoryError as error:
            if batch_size == 1:
                raise DeviceError(
                    "device memory: got no room for a batch of one, expected enough; free the device, give a smaller "
                    "--medsam-image-size or run on the CPU."
                ) from error
        batch_size = (batch_size + 1) // 2
        torch.cuda.empty_cache()
        notes.append(f"out of device memory: went on with a batch of {batch_size}")
