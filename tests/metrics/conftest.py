"""The golden scores and the masks they belong to."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "fixtures" / "golden"


@pytest.fixture(scope="session")
def blobs() -> ModuleType:
    """fixtures/golden/blobs.py, which draws the masks."""
    return _module("blobs")


@pytest.fixture(scope="session")
def lesion_maps(blobs: ModuleType) -> Iterator[ModuleType]:
    """fixtures/golden/lesion_maps.py, which draws the label maps of the official packages with blobs.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "blobs", blobs)
        yield _module("lesion_maps")


@pytest.fixture(scope="session")
def golden() -> Any:
    """fixtures/golden/golden.json, what the reference packages made of them."""
    return json.loads((FOLDER / "golden.json").read_text())


@pytest.fixture(scope="session")
def official() -> Any:
    """fixtures/golden/official.json, the tables of the official packages."""
    return json.loads((FOLDER / "official.json").read_text())


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
