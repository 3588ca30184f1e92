"""Predictors for actors of Ray: `--medsam-predictor=tests.plugin.ray_predictors:make`."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medsam_core.data.volume import Volume
from medsam_core.predictors.choosing import PredictorRequest
from medsam_core.predictors.contract import PlainPrediction
from medsam_core.prompts.prompt import Prompt
from tests.predictors.toys import BoxFiller


class Mortal(BoxFiller):
    """Takes what is bright in a box; on a volume of a certain mark its process kills itself.

    times: how many processes do so, all together.
    """

    def __init__(self, mark: str, times: int, folder: Path | None, seconds: float) -> None:
        super().__init__()
        self.mark, self.times, self.folder, self.seconds = mark, times, folder, seconds

    def encode(self, volume: Volume) -> Any:
        time.sleep(self.seconds)
        if self.folder is not None and mark_of(volume) == self.mark:
            for number in range(self.times):
                try:
                    (self.folder / f"death-{number}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return volume

    def predict(self, encoded: Volume, prompts: Sequence[Prompt], *, protocol: str) -> list[PlainPrediction]:
        boxes = super().predict(encoded.shape, prompts, protocol=protocol)
        return [PlainPrediction(box.mask & (encoded.voxels > encoded.voxels[box.mask].mean())) for box in boxes]


def make(request: PredictorRequest) -> Mortal:
    options = request.options
    folder = Path(options["folder"]) if "folder" in options else None
    return Mortal(options.get("mark", ""), int(options.get("times", 0)), folder, float(options.get("seconds", 0)))


def mark_of(volume: Volume) -> str:
    return hashlib.blake2b(volume.voxels.tobytes(), digest_size=8).hexdigest()
