"""What a session says about Ray: `--medsam-ray` and the options that go with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import OptionError

if TYPE_CHECKING:
    from medsam_core.plugin.choice import PredictorChoice

LOCAL = "local"
"""The address of a Ray that the session starts on this machine and ends again."""

CLUSTER = "auto"
"""The address of the cluster that this machine belongs to."""


@dataclass(frozen=True)
class RayOptions:
    """How the subjects are spread over actors of Ray."""

    address: str = LOCAL
    """LOCAL, CLUSTER, or HOST:PORT of a cluster's head."""
    actors: int | None = None
    """How many actors; None for as many as there are free GPUs, or free CPUs where no GPU is used."""
    gpus: float | None = None
    """The share of a GPU for each actor, 0 for none; None: a whole one where there are GPUs."""
    ship_data: bool = False
    """Whether the session reads the subjects' files and sends their bytes; else the actors read the same paths."""

    def check(self, choice: PredictorChoice, device: str) -> None:
        """Raise OptionError if Ray is not installed, or if the actors could not do what the session asks."""
        if importlib.util.find_spec("ray") is None:
            raise OptionError(
                "--medsam-ray: got no package ray, expected it to be installed; pip install 'medsam-core[ray]', or "
                "leave the option out."
            )
        if choice.name is None and choice.hook is not None:
            raise OptionError(
                f"--medsam-ray: got the predictor of the hook in {', '.join(map(str, choice.files)) or 'a plugin'}, "
                "expected one that every actor can make; name it with --medsam-predictor=module:factory."
            )
        if device.startswith("cuda:"):
            raise OptionError(
                f"--medsam-ray: got --medsam-device={device}, expected auto, cpu or cuda because Ray gives each actor "
                "its GPU; leave the number out."
            )
        if device == "cpu" and self.gpus:
            raise OptionError(
                f"--medsam-ray-gpus: got {self.gpus:g} with --medsam-device=cpu, expected 0; leave one of them out."
            )


def ray_options(get: Callable[[str], Any], number: Callable[..., Any], workers: int) -> RayOptions | None:
    """From the options of a session; None without --medsam-ray.

    get: the value of an option by its name. number: the same as a checked number (name, kind, least).
    workers: processes of pytest-xdist.
    Raises OptionError for options that contradict each other.
    """
    address = get("ray")
    if address is None:
        for name in ("ray-actors", "ray-gpus", "ship-data"):
            if get(name):
                raise OptionError(
                    f"--medsam-{name}: got no --medsam-ray, expected both; add --medsam-ray or leave it out."
                )
        return None
    if workers:
        raise OptionError(
            f"--medsam-ray: got -n {workers} too, expected one of them because each spreads the subjects; leave -n out."
        )
    if "://" in address:
        raise OptionError(
            f"--medsam-ray: got {address!r}, expected auto or HOST:PORT because a session joins the cluster itself; "
            "start pytest on a machine of the cluster, for example with `ray job submit`."
        )
    if Path(address).exists():
        raise OptionError(
            f"--medsam-ray: got {address!r}, a path, expected an address; write --medsam-ray={LOCAL}, with an equals "
            "sign, before a path."
        )
    return RayOptions(
        address=address,
        actors=number("ray-actors", least=1),
        gpus=number("ray-gpus", float),
        ship_data=bool(get("ship-data")),
    )
