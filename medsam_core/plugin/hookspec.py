"""The hook that a conftest.py or a plugin may define."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from medsam_core.predictors.choosing import PredictorRequest
    from medsam_core.predictors.contract import Predictor


@pytest.hookspec(firstresult=True)
def pytest_medsam_predictor(config: pytest.Config, request: PredictorRequest) -> Predictor | None:
    """Make the predictor that scores the cases; None leaves that to the next hook, and without one to the engine.

    Called once in each process, and only where --medsam-predictor is not given. It belongs into a conftest.py that
    pytest loads at the start, such as the root's, or into a plugin: one that is found later is an error.
    request: checkpoint, device, precision and what else the session's options ask of the predictor.
    """
