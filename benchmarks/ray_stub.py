"""What the actors of `ray_driver` run: a predictor that fills boxes, and an actor that repeats its first answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.data.volume import Volume
from medsam_core.plugin.ray_actor import SubjectActor
from medsam_core.plugin.streaming import Answer, Work
from medsam_core.predictors.contract import PlainPrediction, PredictorIdentity


class Filler:
    """Fills boxes and squares around points."""

    identity = PredictorIdentity("filler", "1", "0" * 64)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def encode(self, volume: Volume) -> Any:
        return volume.shape

    def predict(self, shape: Any, prompts: Any, *, protocol: str) -> list[PlainPrediction]:  # noqa: ARG002
        masks = [np.zeros(shape, bool) for _ in prompts]
        for mask, prompt in zip(masks, prompts, strict=True):
            ys, xs = (1, 3), (0, 2)
            x = [prompt.box[i] for i in xs] if prompt.box is not None else [point[0] for point in prompt.points]
            y = [prompt.box[i] for i in ys] if prompt.box is not None else [point[1] for point in prompt.points]
            mask[:, int(min(y)) : int(max(y)) + 1, int(min(x)) : int(max(x)) + 1] = True
        return [PlainPrediction(mask) for mask in masks]


def make() -> Filler:
    return Filler()


class EchoActor(SubjectActor):
    """Scores its first subject, and gives those scores to every other one."""

    first: Answer | None = None

    def evaluate(
        self,
        work: Work,
        files: Mapping[Path, Any] | None = None,
        following: Work | None = None,
        its_files: Mapping[Path, Any] | None = None,
    ) -> Answer:
        if self.first is None:
            self.first = super().evaluate(work, files, following, its_files)
            return self.first
        kept = []
        for case, one in zip(work.cases, self.first.kept, strict=True):
            record = replace(one.evaluated.record, case=case)
            kept.append(replace(one, evaluated=replace(one.evaluated, record=record)))
        return Answer(work, tuple(kept))
