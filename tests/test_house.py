"""The order of the house: imports point one way, and what must be cheap to import is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medsam_core"
ORDER = (
    "text",
    "errors",
    "files",
    "progress",
    "decoding",
    "outcome",
    "modalities",
    "metrics",
    "data",
    "doctor",
    "phantoms",
    "prompts",
    "inference",
    "predictors",
    "testing",
    "cases",
    "settings",
    "header",
    "sharding",
    "recount",
    "slices",
    "plausibility",
    "evaluation",
    "case_table",
    "runs",
    "run_schema",
    "gates",
    "latency",
    "reports",
    "viewer",
    "page",
    "merging",
    "plugin",
    "suite",
    "ab",
    "commands",
    "cli",
    "__main__",
)
NEVER = {
    "data": {"phantoms"},
    "phantoms": {"data"},
    "cases": {"inference", "predictors", "testing"},
    "settings": {"inference", "predictors", "testing"},
    "gates": {"inference", "predictors", "testing"},
    "reports": {"inference", "predictors", "testing"},
    "page": {"inference", "predictors", "testing"},
}
"""What a room may not import although it may be below it in ORDER."""
ALONE = {"metrics": {"errors", "numpy", "scipy"}}
"""Rooms that import nothing but this, themselves and the standard library."""


def room_of(module: str) -> str | None:
    """The room of one of our modules, None for a module from outside."""
    parts = module.split(".")
    return parts[1] if parts[0] == "medsam_core" and len(parts) > 1 else None


def wrong_imports(room: str, source: str) -> list[str]:
    """Imports in the source of a module of `room` that the house forbids, those in functions and for types included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        modules = []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            if node.module == "medsam_core":
                modules = [f"medsam_core.{alias.name}" for alias in node.names if alias.name != "__version__"]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            if not allowed(room, module):
                found.append(module)
    return found


def allowed(room: str, module: str) -> bool:
    """Whether a module of `room` may import `module`."""
    target, outside = room_of(module), module.split(".")[0]
    if target == room or outside in sys.stdlib_module_names:
        return True
    if room in ALONE:
        return (target or outside) in ALONE[room]
    if target is None:
        return True
    return target in ORDER and ORDER.index(target) < ORDER.index(room) and target not in NEVER.get(room, ())


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_the_house(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in ORDER
    assert wrong_imports(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("data", "from medsam_core.gates.verdict import judge"),
        ("metrics", "import medsam_core.data.volume"),
        ("runs", "def f():\n    from medsam_core.plugin.recorder import Recorder"),
        ("errors", "from medsam_core import data"),
        ("gates", "from medsam_core.helpers import anything"),
        ("gates", "from medsam_core.inference.devices import resolve_device"),
        ("gates", "if TYPE_CHECKING:\n    from medsam_core.inference.model import Model"),
        ("reports", "def f():\n    from medsam_core import inference"),
        ("cases", "import medsam_core.inference.predictor"),
        ("cases", "from medsam_core.predictors.contract import Predictor"),
        ("gates", "import medsam_core.predictors.choosing"),
        ("reports", "def f():\n    from medsam_core.predictors import contract"),
        ("metrics", "import nibabel"),
        ("metrics", "from medsam_core.text import few"),
        ("data", "from medsam_core.phantoms.cohort import subject"),
        ("phantoms", "if TYPE_CHECKING:\n    from medsam_core.data.volume import Volume"),
    ],
)
def test_an_import_against_the_order_is_found(room, source):
    assert len(wrong_imports(room, source)) == 1


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("gates", "from medsam_core.metrics import METRICS"),
        ("metrics", "import math\nimport numpy as np\nfrom scipy.spatial import cKDTree"),
        ("metrics", "from medsam_core.errors import MaskError\nfrom medsam_core.metrics.masks import Mask"),
        ("phantoms", "from medsam_core.modalities import MODALITIES\nimport nibabel"),
    ],
)
def test_an_import_that_the_house_allows_is_not_found(room, source):
    assert wrong_imports(room, source) == []


HEAVY = {"torch", "sam2", "torchvision", "matplotlib", "huggingface_hub"}


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("medsam_core", HEAVY | {"numpy"}),
        ("medsam_core.plugin.plugin", HEAVY | {"numpy"}),
        ("medsam_core.inference", HEAVY),
        ("medsam_core.predictors.choosing", HEAVY | {"httpx"}),
        ("medsam_core.predictors.http", HEAVY | {"httpx"}),
        ("medsam_core.inference.model", {"torchvision"}),
    ],
)
def test_importing_is_cheap(module, never):
    assert imported_by(f"import {module}") & never == set()


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import medsam_core.data.volume", "numpy"),
        ("import medsam_core\nmedsam_core.Volume", "numpy"),
        ("import medsam_core.inference.model", "torch"),
        ("import medsam_core.plugin.plugin, medsam_core.inference.model", "torch"),
    ],
)
def test_an_expensive_import_is_found(statement, heavy):
    assert heavy in imported_by(statement)
