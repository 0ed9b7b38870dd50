"""Tables of the command line: whole lines in a pipe, words that stay whole on a terminal."""

import sys

import pytest

from tidings.cli.output import print_table

AT, ID, URL = "2025-02-17T08:00:00+05:30", "dlv_oxnkaRfMNwvD6CJZ1K", "https://shop.example/" + "x" * 90
COLUMNS = ("at", "id", "url", "[bold]why")
ROWS = [(AT, ID, URL, "The answer was 500 and then nothing came for a minute " * 3), (AT, ID, "", "")]


@pytest.mark.parametrize("colourful", ["", "1"])
def test_what_is_no_terminal_is_given_a_line_a_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, colourful: str):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", colourful)
    print_table(COLUMNS, ROWS)
    heading, first, second = capsys.readouterr().out.splitlines()
    assert "[bold]why" in heading
    assert all(cell.strip() in first for cell in ROWS[0])
    assert second.split() == [AT, ID]


@pytest.mark.parametrize("columns", ["20", "80", "120"])
def test_a_narrow_terminal_cuts_no_id_and_no_date(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(COLUMNS, ROWS)
    shown = capsys.readouterr().out
    assert (shown.count(AT), shown.count(ID)) == (2, 2)
    assert all(word in shown for word in ("[bold]why", "answer", "nothing", "minute"))
    assert shown.count("\n") > 3


def test_a_terminal_of_80_columns_is_enough_where_words_can_be_wrapped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("at", "id", "why"), [(AT, ID, "The answer was 500 and then nothing came for a minute")])
    _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
