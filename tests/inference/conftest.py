"""Lively small models, small volumes, and sam2's own predictor in MedSAM2's flow as the oracle."""

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.lively_model import lively_model
from medsam_core.inference.architectures import ARCHITECTURES
from medsam_core.predictors.sam2_flow import Sam2Flow

SMALL = ARCHITECTURES["embedded"].with_image_size(96)


def lively(architecture=SMALL, seed=1, presence=2.0):
    return lively_model(architecture, seed=seed, presence=presence)


def blobs(shape, seed=0):
    """(D, H, W) float32 with a smooth positive texture in an ellipsoid, 0 outside."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=shape), (1, 3, 3))
    grid = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")
    inside = sum(axis**2 for axis in grid) < 1.4
    return np.where(inside, 300 + 2000 * (texture - texture.min()), 0).astype(np.float32)


@pytest.fixture(scope="session")
def make_lively():
    return lively


@pytest.fixture(scope="session")
def make_volume():
    return blobs


@pytest.fixture(scope="session")
def small_model():
    return lively()


@pytest.fixture(scope="session")
def oracle():
    """(loaded model, volume, *, legacy=True) -> sam2's legacy predictor, MedSAM2's own, or its newer one."""
    return Sam2Flow
