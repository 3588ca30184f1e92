"""The connection of a session to Ray, and how many actors it asks for. Imports ray when it is made."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from medsam_core.errors import OptionError
from medsam_core.plugin.ray_options import CLUSTER, LOCAL, RayOptions

NO_STATISTICS = "RAY_USAGE_STATS_ENABLED"
KNOCKING_SECONDS = 20.0
"""How long the head of a cluster may take to accept a connection."""


@dataclass(frozen=True)
class Share:
    """What each actor gets."""

    actors: int
    gpus: float
    """GPUs of one actor."""
    threads: int
    """Threads of torch in one actor."""


class Cluster:
    """A Ray that was joined, or started on this machine."""

    def __init__(self, options: RayOptions) -> None:
        """Raises OptionError if Ray cannot be reached."""
        import ray

        self.ray: Any = ray
        self.options = options
        self.joined = not ray.is_initialized()
        """Whether `close` is to leave: a connection that was there before stays."""
        if self.joined:
            self._join()

    def _join(self) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.options.address == LOCAL:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            with _without_statistics():
                count = max(cores, self.options.actors or 1)
                self.ray.init(address=LOCAL, num_cpus=count, include_dashboard=False, **quiet)
            return
        try:
            if self.options.address != CLUSTER:
                _knock(self.options.address)
            self.ray.init(address=self.options.address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise OptionError(
                f"--medsam-ray={self.options.address}: got no connection ({lines[0].rstrip('.')}), expected a Ray "
                "cluster at HOST:PORT that lets this session in; check the address and, where the cluster asks for a "
                "token, Ray's own settings for it, or leave the address out to start Ray on this machine."
            ) from None

    def share(self, device: str, most: int) -> Share:
        """What each actor gets. device: as the session's option says. most: how many actors are of use.

        Raises OptionError if no GPU is there for a share of one.
        """
        from medsam_core.inference.devices import THREAD_VARIABLES, threads_for

        total, free = self.ray.cluster_resources(), self.ray.available_resources()
        gpus = self.options.gpus
        if gpus is None:
            gpus = 1.0 if device != "cpu" and total.get("GPU") else 0.0
        if self.options.actors is not None:
            count = self.options.actors
        elif gpus:
            if total.get("GPU", 0) < gpus:
                raise OptionError(
                    f"--medsam-ray-gpus: got {gpus:g} where Ray has {total.get('GPU', 0):g} GPUs, expected no more; "
                    "ask for less, or give --medsam-ray-actors to wait for nodes that are still to come."
                )
            free_gpus = free.get("GPU", 0)
            count = int(free_gpus) * int(1 / gpus) if gpus < 1 else int(free_gpus / gpus)
        else:
            count = int(free.get("CPU", 1))
        count = max(1, min(count, most))
        if any(os.environ.get(name) for name in THREAD_VARIABLES):
            return Share(count, gpus, threads_for()[0])
        return Share(count, gpus, max(1, int(total.get("CPU", 1)) // count))

    def close(self) -> None:
        """Leave the cluster; one that was started here ends with all its processes."""
        if self.joined:
            self.ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError or ValueError if nothing listens there: Ray itself would wait for minutes, then end the process."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=KNOCKING_SECONDS).close()


@contextmanager
def _without_statistics() -> Iterator[None]:
    """Ray's processes that start now report nothing about their use over the network, unless the user says so."""
    if NO_STATISTICS in os.environ:
        yield
        return
    os.environ[NO_STATISTICS] = "0"
    try:
        yield
    finally:
        del os.environ[NO_STATISTICS]
