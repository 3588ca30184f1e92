"""Hostile names in XML and CSV."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsam_core.reports.escaping import csv_cell, xml_text


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
