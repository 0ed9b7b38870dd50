"""CSV for spreadsheets: any reader finds the cells again, and nothing somebody wrote is run."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.message import sheet

CELLS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=6)


@given(st.lists(CELLS, min_size=1, max_size=4))
def test_a_reader_of_csv_finds_the_same_cells(rows: list[list[str]]):
    text = "".join(map(sheet.line, rows))
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows


def test_a_record_ends_as_the_rfc_has_it_and_quotes_are_doubled():
    assert sheet.line(["a", "", 'say "hi"', "x,y", "two\nlines", "a; b", " b"]) == 'a,,"say ""hi""","x,y","two\nlines",a; b," b"\r\n'


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-5", "@SUM(A1)", "\tx", "\rx", "\nx", " =1", "\u00a0=1", "\u200b=1", "\ufeff=1", "\uff1d1", "\uff20x", " \t -2"]
)
def test_what_begins_like_a_formula_is_shown_instead(cell: str):
    assert sheet.neutral(cell) == "'" + cell
    assert sheet.plain(sheet.neutral(cell)) == cell


@pytest.mark.parametrize("cell", ["", "Ann", "1+1", "a=b", "'quoted", " ", "5", "[1]", '{"a":"=1"}', "\u2212 1"])
def test_everything_else_stays_as_it_is(cell: str):
    assert sheet.neutral(cell) == cell
    assert sheet.plain(cell) == cell


def test_where_numbers_may_stay_they_do():
    cells = ["-5", "+39 06 1234", "+49 (0)30/1", "-1+2", "-x", "=1"]
    assert [sheet.neutral(cell, numbers=True) for cell in cells] == ["-5", "+39 06 1234", "+49 (0)30/1", "'-1+2", "'-x", "'=1"]
