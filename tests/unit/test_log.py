"""Log lines: one each, whatever the values hold."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runtime.log import LineFormatter

NASTY = [
    "a\n2026-01-01T00:00:00Z error hub.api forged",
    "\x1b[31mred\x1b[0m",
    "a\r\nb",
    "\x00",
    "\u2028",
    "\u202e",
    "\ud800",
]


def line(message: str, *arguments: object, **fields: object) -> str:
    record = logging.LogRecord("hub.test", logging.INFO, __file__, 1, message, arguments, None)
    record.__dict__.update(fields)
    return LineFormatter().format(record)


def test_a_line_holds_time_level_logger_event_and_fields() -> None:
    record = logging.makeLogRecord(
        {
            "name": "hub.test",
            "levelname": "WARNING",
            "msg": "event_rejected",
            "reason": "no type",
            "offset": 7,
        }
    )
    record.created, record.msecs = 0.25, 250
    assert LineFormatter().format(record) == (
        "1970-01-01T00:00:00.250Z warning hub.test event_rejected reason='no type' offset=7"
    )


@pytest.mark.parametrize("text", NASTY)
def test_no_value_or_message_can_forge_a_line_or_colour_a_terminal(text: str) -> None:
    for written in (line("event", value=text), line(text), line("%s", text), line("event", value=[text])):
        assert written.isprintable()


def test_a_value_with_spaces_can_not_forge_a_field() -> None:
    assert line("event", who="x level=error", empty="").endswith(" event who='x level=error' empty=''")


def test_letters_of_any_language_stay_readable() -> None:
    assert line("món ăn", dish="Phở").endswith("món ăn dish=Phở")


def test_a_trace_follows_its_line() -> None:
    try:
        raise ValueError("wrong\n2026 forged")
    except ValueError:
        record = logging.LogRecord(
            "hub.test", logging.ERROR, __file__, 1, "batch_failed", None, sys.exc_info()
        )
    first, *trace = LineFormatter().format(record).splitlines()
    assert first.endswith("error hub.test batch_failed")
    assert trace[-2:] == ["    ValueError: wrong", "    2026 forged"]
    assert all(line.startswith("    ") for line in trace)


@given(st.text(st.characters()), st.text(st.characters()))
def test_whatever_is_logged_it_is_one_printable_line(message: str, value: str) -> None:
    assert line("%s", message, value=value).isprintable()
