"""Which device, which precision: the two words of the user made definite. Imports torch, not sam2."""

from __future__ import annotations

import contextlib
import re
from contextlib import AbstractContextManager

import torch

from medsam_core.errors import DeviceError

PRECISIONS = ("auto", "fp32", "bf16")


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

    bf16 means autocast: weights stay float32, matrix products are made in bfloat16. On the CPU `auto` is fp32
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


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the model runs at `precision` (`fp32` or `bf16`)."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
