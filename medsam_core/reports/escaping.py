"""Names and sentences from outside, safe to put into XML and CSV; `markdown` has those of Markdown."""

from __future__ import annotations

import re

# XML 1.0 cannot hold these, not even escaped
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FORMULA = re.compile(r"[=+\-@\t\r＝＋－＠]")  # the wide ones are formulas in spreadsheets of Japanese and Chinese
_UNQUOTED = re.compile(r"[\w./@:+ -]*")


def xml_text(text: str) -> str:
    """Text that an XML file can hold; the XML writer escapes the rest."""
    return _NOT_XML.sub("�", text)


def csv_cell(text: str) -> str:
    """One cell of a CSV file. A text that a spreadsheet would run as a formula begins with an apostrophe."""
    if _FORMULA.match(text):
        text = f"'{text}"
    return text if _UNQUOTED.fullmatch(text) else '"' + text.replace('"', '""') + '"'
