"""Small predictors that are right, and volumes for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np

from medsam_core.data.volume import Grid, Volume
from medsam_core.predictors.contract import PlainPrediction, PredictorIdentity
from medsam_core.prompts.prompt import Prompt
from medsam_core.runs import read_run

IDENTITY = PredictorIdentity("box-filler", "1", "ab" * 32)
SHAPE = (5, 12, 9)
BOX = Prompt("box", 2, box=(1.0, 3.0, 4.0, 6.0))
POINT = Prompt("point", 1, points=((2.0, 8.0),))


def volume(shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = (3.0, 2.0, 1.0)) -> Volume:
    """Noise in an ellipsoid's place, background 0. spacing: (dz, dy, dx) in mm."""
    voxels = np.zeros(shape, np.float32)
    inner = tuple(slice(1, n - 1) for n in shape)
    voxels[inner] = np.random.default_rng(5).uniform(10, 90, voxels[inner].shape)
    dz, dy, dx = spacing
    affine = np.diag([-dx, -dy, dz, 1.0])
    return Volume(voxels, affine, Grid(shape[::-1], affine, "LPS", nibabel.Nifti1Header()))


class BoxFiller:
    """Fills the box, or the square around the points, on every slice that the protocol sees."""

    identity = IDENTITY

    def __init__(self) -> None:
        self.notes: list[str] = []

    def encode(self, volume: Volume) -> Any:
        return volume.shape

    def predict(self, encoded: Any, prompts: Sequence[Prompt], *, protocol: str) -> list[Any]:
        return [self.one(encoded, prompt, protocol) for prompt in prompts]

    def one(self, shape: tuple[int, int, int], prompt: Prompt, protocol: str) -> Any:
        mask = np.zeros(shape, bool)
        x0, y0, x1, y1 = map(int, box_of(prompt))
        seen = prompt.slices_seen(shape[0], protocol)
        mask[seen.start : seen.stop, max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = True
        return PlainPrediction(mask, np.full(shape[0], 0.5, np.float32))


def box_of(prompt: Prompt) -> tuple[float, ...]:
    if prompt.box is not None:
        return prompt.box
    if prompt.mask is not None:
        ys, xs = np.nonzero(prompt.mask)
        return xs.min(), ys.min(), xs.max(), ys.max()
    x, y = np.array(prompt.points).T
    return x.min() - 2, y.min() - 2, x.max() + 2, y.max() + 2


TOY = """\
import hashlib
from pathlib import Path
import numpy as np
from medsam_core.predictors.contract import PlainPrediction, PredictorIdentity

class Toy:
    identity = PredictorIdentity("toy", "1", hashlib.sha256(Path(__file__).read_bytes()).hexdigest())
    notes = []
    def encode(self, volume):
        return np.zeros(volume.shape, bool)
    def predict(self, empty, prompts, *, protocol):
        masks = [empty.copy() for _ in prompts]
        for mask, (x0, y0, x1, y1) in zip(masks, [map(int, prompt.box) for prompt in prompts]):
            mask[:, y0 : y1 + 1, x0 : x1 + 1] = True
        return [PlainPrediction(mask) for mask in masks]
"""
SUITE = """
def test_case(medsam_case, medsam_evaluate, medsam_check):
    medsam_check(medsam_evaluate(medsam_case))
"""
FLOOR = 'version = 1\n[[gate]]\nmetric = "dice"\nmean_minimum = 0.1\n'


def said(result) -> str:
    return result.stdout.str() + result.stderr.str()


def scores(folder):
    return {record.id: record.scores for record in read_run(folder).records}
