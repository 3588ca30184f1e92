"""GPUs that are not there: `-p tests.plugin.fake_gpus` shows torch the models in FAKE_GPUS, with commas between.

With it a session chooses devices as it would on such a machine; what scores must not use them, as the box filler.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest


def show(patch: pytest.MonkeyPatch, models: Sequence[str]) -> list[int]:
    """Make torch see these models. Returns a list to which the number of each device made current is added."""
    import torch

    used: list[int] = []
    patch.setattr(torch.cuda, "is_available", lambda: bool(models))
    patch.setattr(torch.cuda, "device_count", lambda: len(models))
    patch.setattr(torch.cuda, "get_device_name", lambda device=0: models[torch.device("cuda", device or 0).index])
    patch.setattr(torch.cuda, "get_device_capability", lambda _=None: (9, 0))
    patch.setattr(torch.cuda, "set_device", lambda device: used.append(torch.device(device).index))
    return used


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    show(patch, os.environ["FAKE_GPUS"].split(","))
