"""Lists, counts, differences and tables in text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def few(names: Sequence[str], limit: int = 3) -> str:
    """`a, b, c and 5 more`; `""` for an empty list."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def counted(number: int, one: str) -> str:
    """`1 case`, `3 cases`."""
    return f"{number} {one}{'' if number == 1 else 's'}"


def signed(value: float, digits: int = 3) -> str:
    """`+0.012`, `−0.004`; `0.000` for a value that rounds to 0, `NaN` for NaN."""
    if value != value:
        return "NaN"
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """A line per row, its columns two blanks apart and aligned left, those at the places in `right` aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        lines.append(
            "  ".join(cell.rjust(wide) if place in right else cell.ljust(wide) for place, (cell, wide) in cells)
        )
    return [line.rstrip() for line in lines]
