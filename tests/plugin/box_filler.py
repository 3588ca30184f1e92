"""A stand-in for the model: it fills what it is prompted with. `-p tests.plugin.box_filler` gives it to a session.

Only the embedded checkpoint, the default, is replaced; a session that names a checkpoint loads that one.
"""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medsam_core.plugin.configuration import Configuration
from medsam_core.prompts.prompt import Prompt

REACH = 6  # voxels around the points of a prompt that has no box


class BoxFiller:
    """Each prompt's box, or the square around its points, filled on every slice."""

    notes = ()
    model = SimpleNamespace(
        checkpoint=SimpleNamespace(name="box-filler", sha256="b" * 64),
        architecture=SimpleNamespace(name="none", image_size=0),
        notes=(),
    )

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
    predictor, identity = Configuration.__dict__["predictor"].func, Configuration.__dict__["checkpoint_identity"].func

    def chosen(configuration: Configuration) -> Any:
        embedded = configuration.checkpoint is None and configuration.architecture is None
        return BoxFiller() if embedded else predictor(configuration)

    def identified(configuration: Configuration) -> Any:
        _ = configuration.predictor  # where it is loaded, its own identity is taken
        return identity(configuration)

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for name, made in (("predictor", chosen), ("checkpoint_identity", identified)):
        kept = cached_property(made)
        kept.__set_name__(Configuration, name)
        patch.setattr(Configuration, name, kept)
