"""A stand-in for the model: it fills what it is prompted with. `-p tests.plugin.box_filler` gives it to a session.

Only the default, the engine on the embedded checkpoint, is replaced; a session that names another gets that one.
"""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.configuration import Configuration
from medsam_core.predictors.contract import PredictorIdentity
from medsam_core.prompts.prompt import Prompt

REACH = 6  # voxels around the points of a prompt that has no box


class BoxFiller:
    """Each prompt's box, or the square around its points, filled on every slice."""

    identity = PredictorIdentity("box-filler", "1", "b" * 64)
    notes: tuple[str, ...] = ()

    def encode(self, image: Any) -> Any:
        return image

    def predict(self, image: Any, prompts: list[Prompt], protocol: str) -> list[SimpleNamespace]:
        assert protocol == "bidirectional"
        predictions = []
        for prompt in prompts:
            mask = np.zeros(image.shape, bool)
            x0, y0, x1, y1 = box_of(prompt)
            mask[:, y0 : y1 + 1, x0 : x1 + 1] = True
            predictions.append(SimpleNamespace(mask=mask, predicted_iou=np.ones(len(mask))))
        return predictions


def box_of(prompt: Prompt) -> tuple[int, ...]:
    if prompt.box is not None:
        edges = prompt.box
    else:
        x, y = np.array(prompt.points).T
        edges = (x.min() - REACH, y.min() - REACH, x.max() + REACH, y.max() + REACH)
    return tuple(max(0, int(edge)) for edge in edges)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Replace the embedded model for this session, before the options are resolved; imports no torch."""
    predictor, identity = Configuration.__dict__["predictor"].func, Configuration.__dict__["predictor_identity"].func

    def chosen(configuration: Configuration) -> Any:
        named = configuration.checkpoint or configuration.architecture or configuration.choice != PredictorChoice()
        return predictor(configuration) if named or configuration.choice.hook else BoxFiller()

    def identified(configuration: Configuration) -> Any:
        _ = configuration.predictor  # where it is loaded, its own identity is taken
        return identity(configuration)

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for name, made in (("predictor", chosen), ("predictor_identity", identified)):
        kept = cached_property(made)
        kept.__set_name__(Configuration, name)
        patch.setattr(Configuration, name, kept)
