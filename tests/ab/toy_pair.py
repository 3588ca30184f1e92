"""Predictors to compare: `predictor:tests.ab.toy_pair:old`."""

from __future__ import annotations

import numpy as np

from medsam_core.errors import DataError
from medsam_core.predictors.contract import PlainPrediction, PredictorIdentity
from tests.predictors.toys import BoxFiller, box_of

ENCODED = []
"""The name and shape of every volume that was encoded, in order; a test empties it."""
REACH = 3
"""Slices on both sides of the prompted one that are filled."""


class Filler(BoxFiller):
    """Fills the prompt's box, widened by some voxels if it is a box, on the slices around the prompted one."""

    def __init__(self, name, digit, wider=0, image_size=None):
        super().__init__()
        self.identity = PredictorIdentity(name, "1", digit * 64, image_size)
        self.wider = wider

    def encode(self, volume):
        ENCODED.append(self.identity.name)
        return super().encode(volume)

    def one(self, shape, prompt, _):
        mask = np.zeros(shape, bool)
        x0, y0, x1, y1 = map(int, box_of(prompt))
        wider = self.wider if prompt.mode == "box" else 0
        near = slice(max(0, prompt.key_slice - REACH), prompt.key_slice + REACH + 1)
        rows = slice(max(0, y0 - wider), max(0, y1 + 1 + wider))
        mask[near, rows, max(0, x0 - wider) : max(0, x1 + 1 + wider)] = True
        return PlainPrediction(mask)


class Stopping(Filler):
    """Is stopped by the user while it works on its second volume, but only once."""

    left = 1

    def predict(self, encoded, prompts, *, protocol):
        if ENCODED.count(self.identity.name) == 2 and Stopping.left:
            Stopping.left = 0
            raise KeyboardInterrupt
        return super().predict(encoded, prompts, protocol=protocol)


class Refusing(Filler):
    """Cannot use its first volume."""

    def predict(self, encoded, prompts, *, protocol):
        if ENCODED.count(self.identity.name) == 1:
            raise DataError("made up: cannot be used, expected another; replace it.")
        return super().predict(encoded, prompts, protocol=protocol)


def old():
    return Filler("old-toy", "a", image_size=512)


def new():
    """As good as old."""
    return Filler("new-toy", "b", image_size=512)


def small():
    """As good as old, on smaller images."""
    return Filler("small-toy", "c", image_size=256)


def worse():
    """Worse than old where it is given a box."""
    return Filler("worse-toy", "d", wider=6)


def stopping():
    return Stopping("stopping-toy", "e", wider=6)


def refusing():
    return Refusing("refusing-toy", "f")
