"""Numbers on a command line, here and in fixtures/training: types for argparse whose errors are sentences."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number from `least` to `most`, both included, in digits alone."""

    def number(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() else None
        if value is None or value < least or (most is not None and value > most):
            upper = "" if most is None else f" and at most {most}"
            raise argparse.ArgumentTypeError(
                f"got {text!r}, expected a whole number of at least {least}{upper}; give one that is, e.g. {least}."
            )
        return value

    return number
