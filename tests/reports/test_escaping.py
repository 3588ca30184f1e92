"""Hostile names in Markdown, XML and CSV."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsam_core.reports.escaping import csv_cell, markdown_code, markdown_text, xml_text


@pytest.mark.parametrize(
    ("name", "span"),
    [
        ("S1/t1ce/WT/box", "`S1/t1ce/WT/box`"),
        ("a|b", "`a\\|b`"),
        ("<img src=x>[b](http://c)@d", "`<img src=x>[b](http://c)@d`"),
        ("a`b``c", "```a`b``c```"),
        ("`a", "`` `a ``"),
        ("a\n\nb", "`a\\n\\nb`"),
        ("", ""),
    ],
)
def test_a_name_is_a_code_span(name, span):
    assert markdown_code(name) == span


@pytest.mark.parametrize(
    ("sentence", "escaped"),
    [
        ("Dice 0.400 < 0.700 (WT, box)", "Dice 0.400 &lt; 0.700 (WT, box)"),
        ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
        ("![x](http://evil) www.evil.org", "!\\[x\\](http\\://evil) www\\.evil.org"),
        ("@someone dice@volume #1", "@<!-- -->someone dice@volume \\#1"),
        ("`a` *b* _c_ ~d~ a|b \\", "\\`a\\` \\*b\\* \\_c\\_ \\~d\\~ a\\|b \\\\"),
        ("one\n# two", "one\\\\n\\# two"),
    ],
)
def test_a_sentence_has_no_markup(sentence, escaped):
    assert markdown_text(sentence) == escaped


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"])
def test_a_text_that_would_be_a_formula_begins_with_an_apostrophe(start):
    (row,) = csv.reader(io.StringIO(csv_cell(f"{start}1+1")))
    assert row == [f"'{start}1+1"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=20))
@settings(max_examples=100)
def test_a_cell_comes_back_as_one_cell(text):
    (row,) = csv.reader(io.StringIO(f"{csv_cell('x' + text)},end"))
    assert row == ["x" + text, "end"]


def test_a_cell_with_another_separator_is_quoted():
    assert csv_cell("a;=1+1") == '"a;=1+1"'


def test_xml_holds_what_it_can():
    text = xml_text("a\x00\ud800\ufffe<b>&")
    assert text == "a���<b>&"
    element = ElementTree.Element("a", b=text)
    assert ElementTree.fromstring(ElementTree.tostring(element)).get("b") == text
