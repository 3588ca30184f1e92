"""Lists, counts, sizes, differences, tables and foreign names in text."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def shown(name: str) -> str:
    r"""A name from outside as it is safe to print: control characters, marks of direction and the like are escaped.

    A file's name may hold a newline, a terminal's colour or a mark that turns the reading direction; they become
    `\n`, `\x1b` and `\u202e`.
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), name)


def size_of(count: int) -> str:
    """A number of bytes in its largest whole unit: `512 bytes`, `64 MiB`, `1.5 GiB`."""
    units = ("KiB", "MiB", "GiB", "TiB")
    power = min((count.bit_length() - 1) // 10, len(units)) if count > 0 else 0
    return f"{round(count / 1024**power, 1):g} {units[power - 1]}" if power else counted(count, "byte")


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
