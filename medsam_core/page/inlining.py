"""What is put into the page itself: scripts, styles, data and pictures, so that one file works anywhere, offline."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from medsam_core.errors import RunError
from medsam_core.files import read_input
from medsam_core.reports.overlay import FIRST_COLOUR, panels_of

HERE = Path(__file__).resolve().parent
ASSETS = HERE / "assets"
"""Libraries from npm as they were published; `assets.json` names version, licence and SHA-256 of each file."""
LIBRARIES = ("uPlot.iife.min.js", "tabulator.min.js")
OWN = ("data.js", "chart.js", "panel.js", "table.js", "dots.js", "start.js")
"""The page's own scripts, in the order in which they need each other."""
STYLES = ("assets/uPlot.min.css", "assets/tabulator_simple.min.css", "styles/page.css")
_PICTURE_PIXELS, _LARGEST_PICTURE = 760, 32 * 1024**2


@cache
def scripts() -> tuple[Markup, ...]:
    """The text of each inlined script."""
    libraries = [_text(f"assets/{name}") for name in LIBRARIES]
    own = "\n".join(_text(f"scripts/{name}") for name in OWN)
    return tuple(Markup(text) for text in (*libraries, f'(() => {{\n"use strict";\n{own}\n}})();\n'))


@cache
def style() -> Markup:
    """The text of the page's style sheet."""
    return Markup("\n".join(map(_text, STYLES)))


def policy(texts: Iterable[str]) -> str:
    """A content security policy under which only the inlined scripts and the files beside the page run.

    texts: of the inlined scripts. Nothing may be requested from elsewhere, even if a name in the run's files got past
    the escaping.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in texts)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {hashes} 'self' file: blob: 'wasm-unsafe-eval'",
            "style-src 'unsafe-inline'",
            "img-src 'self' file: data: blob:",
            "font-src data:",
            "connect-src 'self' file: data: blob:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def json_script(data: Any) -> Markup:
    """JSON that can stand in a script element: it cannot end the element and has no line separator of its own."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for letter in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def small_picture(path: Path) -> str | None:
    """The panels of an overlay as a data URL of some 40 kB, None if the file is no picture."""
    try:
        content = read_input(path, largest=_LARGEST_PICTURE, what="an overlay", error=RunError)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            panels = _bold(panels_of(picture)).convert("RGB")
    except (RunError, OSError, ValueError, Image.DecompressionBombError):
        return None
    panels.thumbnail((_PICTURE_PIXELS, _PICTURE_PIXELS))
    into = io.BytesIO()
    panels.save(into, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(into.getvalue()).decode()}"


def _bold(panels: Image.Image) -> Image.Image:
    """The contours three pixels wide: of one pixel nothing is left in a small view."""
    if panels.mode != "P":
        return panels
    pixels = np.array(panels)
    grown = pixels.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = np.roll(pixels, (down, right), (0, 1))
            grown = np.where(moved >= FIRST_COLOUR, np.maximum(grown, moved), grown)
    bold = Image.fromarray(grown, mode="P")
    bold.putpalette(panels.getpalette() or [])
    return bold


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
