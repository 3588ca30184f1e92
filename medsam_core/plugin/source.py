"""Fingerprints of code: of this package, and of what predicts. A commit does not see what was changed since."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medsam_core.errors import OptionError
from medsam_core.files import read_input

OWN = "medsam_core"
ENGINE = ("sam2",)
"""Packages that the predictors of this package run, apart from torch, which is known by its version."""


def package_source() -> str:
    """SHA-256 of the source files of this package, in hex."""
    return digest_of(_files_of(OWN))


def predictor_source(predictor: Any, files: Iterable[Path] = ()) -> str:
    """SHA-256 of the source of what predicts, in hex: of sam2 for a predictor of this package.

    predictor: for another one it is the source of the package that its class is in, or of the Python files in the
        folder of its module if that is in no package. Wrappers are looked through.
    files: further files, such as the conftest.py that makes it. Compiled code and what a package imports from another
    are known by the version that the predictor gives, or not at all.
    """
    found = set(files)
    inner: Any = predictor
    while inner is not None:
        module = type(inner).__module__
        found |= _files_of(module) if module.partition(".")[0] != OWN else set()
        inner = getattr(inner, "predictor", None)
    for name in ENGINE if not found else ():
        found |= _files_of(name)
    return digest_of(found)


def digest_of(files: Iterable[Path]) -> str:
    """SHA-256 of the names and contents of files, in hex; where the common folder is does not matter."""
    ordered = sorted(files)
    digest = hashlib.sha256()
    for path in ordered:
        content = read_input(path, what="a source file", error=OptionError)
        digest.update(f"{path.parent.name}/{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _files_of(module: str) -> set[Path]:
    """The Python files of the package that a module is in, or of the module's folder if it is in no package."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    init = getattr(loaded, "__file__", None) if loaded else _origin(top)
    if init and Path(init).name.startswith("__init__."):
        return set(Path(init).parent.rglob("*.py"))
    own = getattr(sys.modules.get(module), "__file__", None) or init
    return set(Path(own).parent.glob("*.py")) if own else set()


def _origin(package: str) -> str | None:
    """The file of a package that is not imported yet; None if there is none."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return found.origin if found else None
