"""Where the cases of a session are scored: device, precision and environment of the process that runs the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medsam_core.header import Decisions, Environment
from medsam_core.plugin.identity import environment

if TYPE_CHECKING:
    from medsam_core.plugin.configuration import Configuration


@dataclass(frozen=True)
class Placement:
    """Of one process."""

    device: str
    """As torch names it: cpu, cuda, cuda:1."""
    precision: str
    """fp32 or bf16."""
    decided: Decisions
    """Why, and with how many threads."""
    environment: Environment


def placement_of(configuration: Configuration) -> Placement:
    """Where this process scores. Raises DeviceError if it cannot."""
    from medsam_core.inference import ambient, devices

    device = devices.resolve_device(configuration.device)
    workers = devices.devices_of_workers(configuration.device, configuration.workers)
    passed_on = configuration.choice.passed_on
    return Placement(
        device=str(device),
        precision=devices.resolve_precision(configuration.precision, device),
        decided=Decisions(
            device=passed_on or devices.why_device(configuration.device, device, workers),
            precision=passed_on or devices.why_precision(configuration.precision, device),
            threads=devices.threads_for(configuration.workers)[1],
            compiled="asked for" if configuration.compiled else "",
            ambient=", ".join(ambient.differences()),
            options=configuration.ini,
            workers=workers,
        ),
        environment=environment(device),
    )
