"""Names and sentences from outside, safe to put into Markdown, XML and CSV."""

from __future__ import annotations

import re

from medsam_core.text import shown

# XML 1.0 cannot hold these, not even escaped
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]#|~])")
_FORMULA = re.compile(r"[=+\-@\t\r＝＋－＠]")  # the wide ones are formulas in spreadsheets of Japanese and Chinese
_UNQUOTED = re.compile(r"[\w./@:+ -]*")


def xml_text(text: str) -> str:
    """Text that an XML file can hold; the XML writer escapes the rest."""
    return _NOT_XML.sub("�", text)


def markdown_code(name: str) -> str:
    """A name as a code span, in which Markdown has no other meaning and GitHub makes no link; "" for "".

    It stays on one line and does not end a table's cell.
    """
    line = " ".join(shown(name).split()).replace("|", "\\|")
    if not line:
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def markdown_text(sentence: str) -> str:
    """A sentence on one line without markup, HTML, links, references or mentions."""
    line = " ".join(shown(sentence).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _MARKDOWN.sub(r"\\\1", line)
    line = re.sub(r"://|(?<=\bwww)\.", lambda match: f"\\{match[0]}", line)
    return re.sub(r"(?<!\w)@(?=\w)", "@<!-- -->", line)


def csv_cell(text: str) -> str:
    """One cell of a CSV file. A text that a spreadsheet would run as a formula begins with an apostrophe."""
    if _FORMULA.match(text):
        text = f"'{text}"
    return text if _UNQUOTED.fullmatch(text) else '"' + text.replace('"', '""') + '"'
