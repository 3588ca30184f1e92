"""Fingerprints of code: what is changed in a file shows, committed or not."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

import medsam_core
from medsam_core.plugin import source
from medsam_core.plugin.source import digest_of, package_source, predictor_source
from medsam_core.predictors.postprocessing import PostProcessed


@pytest.fixture
def changed_copy(tmp_path, monkeypatch):
    """`changed_copy(name, text)`: from then on the package is a copy in which that file has more text."""
    copy = tmp_path / "medsam_core"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(medsam_core.__file__).parent, copy, ignore=ignored)
    monkeypatch.setattr(medsam_core, "__file__", str(copy / "__init__.py"))

    def change(name, text):
        with (copy / name).open("a") as stream:
            stream.write(text)

    return change


def test_a_line_that_is_not_committed_changes_the_fingerprint_and_another_place_does_not(changed_copy, monkeypatch):
    copied = package_source()
    changed_copy("inference/tracking.py", "mask[:] = False\n")
    changed = package_source()
    assert changed != copied
    monkeypatch.undo()
    assert package_source() == copied


@pytest.fixture
def module(tmp_path, monkeypatch):
    """`module("name.py", text)` writes a module, imports it and gives it back."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        parts = Path(name).with_suffix("").parts
        for length in range(1, len(parts) + 1):
            monkeypatch.delitem(sys.modules, ".".join(parts[:length]), raising=False)
        return importlib.import_module(".".join(parts))

    return make


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_predictor_of_ones_own_is_known_by_its_package(module, wrapped, tmp_path):
    (tmp_path / "mine_pack").mkdir()
    (tmp_path / "mine_pack" / "__init__.py").touch()
    made = module("mine_pack/model.py", "class Mine: pass\n").Mine()
    if wrapped:
        made = PostProcessed(made, "")
    before = predictor_source(made)
    assert predictor_source(made) == before
    (tmp_path / "mine_pack" / "net.py").write_text("WEIGHT = 2\n")
    assert predictor_source(made) != before


def test_a_predictor_in_a_single_file_is_known_by_that_folder_and_by_the_hook_that_makes_it(module, tmp_path):
    made = module("mine_alone.py", "class Mine: pass\n").Mine()
    before = predictor_source(made)
    (tmp_path / "mine_alone.py").write_text("class Mine: mask = 0\n")
    changed = predictor_source(made)
    assert changed != before
    hook = tmp_path / "elsewhere" / "conftest.py"
    hook.parent.mkdir()
    hook.write_text("")
    assert predictor_source(made, [hook]) != changed


def test_the_engines_source_is_that_of_sam2():
    import sam2

    engine = type("Engine", (), {"__module__": "medsam_core.predictors.engine"})()
    assert predictor_source(engine) == digest_of(Path(sam2.__file__).parent.rglob("*.py"))
    assert source.ENGINE == ("sam2",)
