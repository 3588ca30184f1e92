"""`-m gpu` selects the tests of cases, although a guest's test file does not mark them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from _pytest.mark.expression import Expression


def mark_for_gpu(items: Sequence[pytest.Item], expression: str) -> None:
    """Mark with gpu the tests that -m selects only if they are so marked; none if some are marked in their file.

    items: the tests of cases. expression: what -m was given, "" for nothing.
    """
    if "gpu" not in expression or any(item.get_closest_marker("gpu") for item in items):
        return
    try:
        compiled = Expression.compile(expression)
    except Exception:  # pytest reports the mistake itself
        return
    for item in items:
        names = {mark.name for mark in item.iter_markers()}
        if _selects(compiled, names | {"gpu"}) and not _selects(compiled, names):
            item.add_marker(pytest.mark.gpu)


def _selects(expression: Expression, names: set[str]) -> bool:
    def has(name: str, /, **_: object) -> bool:
        return name in names

    return expression.evaluate(has)
