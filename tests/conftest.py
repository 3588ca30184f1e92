"""What several rooms' tests share: a small cohort, and small models with made-up weights that truly run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.made_runs import command, make_record, make_run, recall

__all__ = ["command", "make_record", "make_run", "recall"]  # fixtures for every folder

# no test is timed: a busy machine would fail it; the rest is hypothesis's own profile, which is another one in CI
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_cases() -> Path:
    """The four real cases beside the checkout; skips where they are not."""
    root = Path(__file__).parents[2] / "shared" / "data" / "brats-real"
    if not root.is_dir():
        pytest.skip("no real cases at ../shared/data/brats-real")
    return root


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms of 20 × 64 × 64 in BraTS layout."""
    from medsam_core.phantoms.cohort import write_cohort

    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, subjects=2, size=(20, 64, 64), seed=11)
    return root


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded architecture at 64 pixels with made-up weights: fast, and of no use but to run."""
    import torch
    from safetensors.torch import save_file

    from medsam_core.inference.architectures import architecture_named
    from medsam_core.inference.model import build

    architecture = architecture_named("embedded").with_image_size(64)
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    weights = {name: tensor.contiguous() for name, tensor in build(architecture).state_dict().items()}
    save_file(weights, path, metadata={"architecture": architecture.to_json()})
    return path
