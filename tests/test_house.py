"""The order of the house: imports point one way, and what must be cheap to import is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medsam_core"
ORDER = (
    "errors",
    "text",
    "files",
    "decoding",
    "outcome",
    "metrics",
    "data",
    "phantoms",
    "prompts",
    "inference",
    "cases",
    "header",
    "evaluation",
    "runs",
    "gates",
    "latency",
    "reports",
    "plugin",
    "commands",
    "cli",
    "__main__",
)
SIDEWAYS = {("metrics", "data"), ("metrics", "inference")}


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "medsam_core" and len(parts) > 1 else None


def wrong_imports(room: str, source: str) -> list[str]:
    """Imports in the source of a module of `room` that point up the order, or into a room that is not in it."""
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
            target = room_of(module)
            if target is None or target == room:
                continue
            if target not in ORDER or ORDER.index(target) > ORDER.index(room) or (room, target) in SIDEWAYS:
                found.append(module)
    return found


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
    ],
)
def test_an_import_against_the_order_is_found(room, source):
    assert len(wrong_imports(room, source)) == 1


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["medsam_core", "medsam_core.plugin.plugin", "medsam_core.inference"])
def test_importing_is_cheap(module):
    heavy = {"torch", "sam2", "torchvision", "matplotlib", "huggingface_hub"}
    assert imported_by(f"import {module}") & heavy == set()


def test_the_package_and_the_plugin_do_not_even_import_numpy():
    assert "numpy" not in imported_by("import medsam_core, medsam_core.plugin.plugin")


def test_the_model_is_loaded_without_torchvision():
    assert "torchvision" not in imported_by("import medsam_core.inference.model")
