"""The golden scores and the masks they belong to."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "fixtures" / "golden"


@pytest.fixture(scope="session")
def blobs() -> ModuleType:
    """fixtures/golden/blobs.py, which draws the masks."""
    spec = importlib.util.spec_from_file_location("golden_blobs", FOLDER / "blobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden() -> Any:
    """fixtures/golden/golden.json, what the reference packages made of them."""
    return json.loads((FOLDER / "golden.json").read_text())
