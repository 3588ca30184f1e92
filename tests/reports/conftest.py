"""Cases made by hand: a bright region in a head, and whatever a test wants to have been predicted there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.data.volume import Grid, Volume
from medsam_core.evaluation.subject import ScoredCase, score_case
from medsam_core.prompts.prompt import Prompt
from medsam_core.prompts.simulation import simulate
from medsam_core.settings import Settings


@pytest.fixture
def make_result() -> Callable[..., ScoredCase]:
    """A ScoredCase from a truth, a prediction and a prompt mode (or prompts), in memory."""

    def make(
        truth: np.ndarray,
        prediction: np.ndarray,
        *,
        mode: str = "box",
        prompts: tuple[Prompt, ...] | None = None,
        protocol: str = "bidirectional",
        subject: str = "Brats18_made_1",
    ) -> ScoredCase:
        if prompts is None:
            prompts = simulate(truth, mode, protocol=protocol)
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        voxels = np.zeros(truth.shape, np.float32)
        voxels[:, 3:-3, 4:-4] = 100 + 20 * np.random.default_rng(0).random(truth[:, 3:-3, 4:-4].shape)
        voxels[truth] += 80
        image = Volume(voxels, affine, Grid(truth.shape[::-1], affine, "LPS", None))
        record = CaseRecord(
            case=Case(subject, "t1ce", "WT", mode, protocol),
            scores=score_case(prediction, truth, (1.0, 1.0, 1.0), prompts, Settings()),
            key_slices=tuple(sorted({prompt.key_slice for prompt in prompts})),
        )
        return ScoredCase(record, image, prediction, truth, prompts)

    return make


@pytest.fixture
def make_record() -> Callable[..., CaseRecord]:
    """A CaseRecord from its Dice over the volume and on the key slice."""

    def make(
        subject: str = "S1",
        region: str = "WT",
        prompt: str = "box",
        dice: float = 0.9,
        *,
        key_slice_dice: float | None = None,
        protocol: str = "bidirectional",
        absent: bool = False,
        **more: object,
    ) -> CaseRecord:
        scores = {
            "brats2019/dice@volume": dice,
            "brats2019/dice@key_slice": dice if key_slice_dice is None else key_slice_dice,
        }
        case = Case(subject, "t1ce", region, prompt, protocol)
        return CaseRecord(case=case, scores=scores, key_slices=() if absent else (7,), **more)

    return make
