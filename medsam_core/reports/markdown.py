"""Foreign text in GitHub's Markdown: a subject's name starts no HTML, link, mention or table cell."""

from __future__ import annotations

import re
from collections.abc import Iterable

from medsam_core.text import shown

# An ASCII character that Markdown may give a meaning. "_" between letters or digits and "." between digits have none.
_SPECIAL = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<![0-9])\.|\.(?![0-9])|[^A-Za-z0-9 /_.,\x80-\U0010ffff-]")


def escaped(text: str) -> str:
    """The text on one line, with a character reference for each character that Markdown or HTML could interpret.

    CommonMark never takes a character reference for markup, and in a table it ends no cell.
    """
    # GitHub looks for `@user` and mail addresses in what it has rendered: the comment separates them
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", shown(text)).replace("&#64;", "&#64;<!-- -->")


def code(text: str) -> str:
    """A foreign name as inline code, where GitHub looks for no `@user`, `#issue` or address."""
    return f"<code>{escaped(text)}</code>"


def block(lines: Iterable[str]) -> str:
    """A fenced block with the lines, whose fence is longer than every row of backticks in them."""
    text = "\n".join(shown(line) for line in lines)
    fence = "`" * (1 + max([2, *(len(row) for row in re.findall("`+", text))]))
    return f"{fence}text\n{text}\n{fence}"
