"""Log lines: one each, whatever the values hold, readable and as JSON."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.runtime import log as under_test
from app.runtime.log import bind_to_process, configure, formatter

READABLE, JSON = formatter(readable=True), formatter(readable=False)
NASTY = [
    "a\n2026-01-01T00:00:00Z error hub.api forged",
    "\x1b[31mred\x1b[0m",
    "a\r\nb",
    "\x00",
    "\u2028",
    "\u202e",
    "\ud800",
]


def line(form: logging.Formatter, message: str, *arguments: object, **fields: object) -> str:
    record = logging.LogRecord("hub.test", logging.INFO, __file__, 1, message, arguments, None)
    record.__dict__.update(fields)
    return form.format(record)


def rejected() -> logging.LogRecord:
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
    return record


def failed() -> logging.LogRecord:
    try:
        raise ValueError("wrong\n2026 forged")
    except ValueError:
        return logging.LogRecord("hub.test", logging.ERROR, __file__, 1, "batch_failed", None, sys.exc_info())


@pytest.fixture(autouse=True)
def nothing_bound() -> Iterator[None]:
    before = dict(under_test._of_process)
    under_test._of_process.clear()  # a hub in this process may have bound its node
    yield
    structlog.contextvars.clear_contextvars()
    under_test._of_process.clear()
    under_test._of_process.update(before)


def test_a_line_holds_time_level_logger_event_and_fields() -> None:
    assert READABLE.format(rejected()) == (
        "1970-01-01T00:00:00.250Z warning hub.test event_rejected reason='no type' offset=7"
    )


def test_a_json_line_holds_the_same() -> None:
    assert json.loads(JSON.format(rejected())) == {
        "timestamp": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "hub.test",
        "event": "event_rejected",
        "reason": "no type",
        "offset": 7,
    }


@pytest.mark.parametrize("form", [READABLE, JSON], ids=["readable", "json"])
@pytest.mark.parametrize("text", NASTY)
def test_no_value_or_message_can_forge_a_line_or_colour_a_terminal(
    form: logging.Formatter, text: str
) -> None:
    for written in (
        line(form, "event", value=text),
        line(form, text),
        line(form, "%s", text),
        line(form, "event", value=[text]),
        line(form, "event", value={text: text}),
    ):
        assert written.isprintable()


def test_a_value_with_spaces_can_not_forge_a_field() -> None:
    written = line(READABLE, "event", who="x level=error", empty="")
    assert written.endswith(" event who='x level=error' empty=''")


def test_no_field_takes_the_place_of_one_that_each_line_has() -> None:
    written = json.loads(line(JSON, "true_event", event="forged", level="forged", timestamp="forged"))
    assert (written["event"], written["level"], written["event_"]) == ("true_event", "info", "forged")
    assert written["timestamp"] != "forged"


def test_a_value_of_any_type_is_written() -> None:
    written = json.loads(
        line(JSON, "event", of={("a", 1): b"\x00"}, many=("a", 1, None), fault=ValueError("x"))
    )
    assert (written["of"], written["many"], written["fault"]) == (r"{('a', 1): b'\x00'}", ["a", 1, None], "x")


def test_letters_of_any_language_stay_readable() -> None:
    assert line(READABLE, "món ăn", dish="Phở").endswith("món ăn dish=Phở")
    assert json.loads(line(JSON, "món ăn", dish="Phở"))["dish"] == "Phở"


def test_a_trace_follows_its_line() -> None:
    first, *trace = READABLE.format(failed()).splitlines()
    assert first.endswith("error hub.test batch_failed")
    assert trace[-2:] == ["    ValueError: wrong", "    2026 forged"]
    assert all(line.startswith("    ") for line in trace)


def test_a_trace_is_a_field_of_its_json_line() -> None:
    written = JSON.format(failed())
    assert written.isprintable()
    assert json.loads(written)["exception"].endswith("ValueError: wrong\n2026 forged")


def test_what_is_bound_to_the_context_and_to_the_process_stands_in_each_line() -> None:
    bind_to_process(node="0a1b")
    structlog.contextvars.bind_contextvars(request_id="r-1")
    written = json.loads(line(JSON, "event", why="x"))
    assert (written["node"], written["request_id"], written["why"]) == ("0a1b", "r-1", "x")
    assert line(READABLE, "event", why="x").endswith(" event node=0a1b request_id=r-1 why=x")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)])
def test_lines_are_json_unless_they_go_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, is_json: bool
) -> None:
    root = logging.getLogger()
    handlers, level, own = root.handlers[:], root.level, logging.getLogger("hub").level
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        root.handlers = []
        configure("info")
        logging.getLogger("hub.test").info("ready", extra={"port": 1})
        logging.getLogger("sanic.error").error("<Request: GET /> body not consumed.")  # a client's doing
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logging.getLogger("hub").setLevel(own)
    assert stream.getvalue().startswith("{") is is_json
    assert "ready" in stream.getvalue()
    assert "not consumed" not in stream.getvalue()


@given(st.text(st.characters()), st.text(st.characters()), st.sampled_from([READABLE, JSON]))
def test_whatever_is_logged_it_is_one_printable_line(
    message: str, value: str, form: logging.Formatter
) -> None:
    assert line(form, "%s", message, value=value).isprintable()


@pytest.mark.parametrize("form", [READABLE, JSON])
def test_what_asyncio_reports_without_an_exception_is_logged(form: logging.Formatter) -> None:
    """Its handler passes `exc_info=False`."""
    record = logging.LogRecord("asyncio", logging.ERROR, __file__, 1, "Unclosed connection", None, None)
    record.exc_info = False  # type: ignore[assignment]
    assert "Unclosed connection" in form.format(record)
    assert "exc_info" not in form.format(record)


def test_an_outage_is_logged_once_a_minute_with_the_number_of_repetitions() -> None:
    once = under_test.OnceAMinute()

    def written(created: float, level: str = "ERROR", **fields: object) -> bool:
        made = {"name": "hub.kafka", "levelno": logging.getLevelName(level), "msg": "kafka_unavailable"}
        record = logging.makeLogRecord({**made, "created": created, **fields})
        passed = once.filter(record)
        shown.append(record.__dict__.get("repeated"))
        return passed

    shown: list[object] = []
    assert [written(second, why="refused") for second in range(121)].count(True) == 3
    assert [each for each in shown if each] == [59, 59]
    assert written(121, why="another reason")
    assert [written(122, "INFO"), written(122, "INFO")] == [True, True]
    trace = failed().exc_info
    assert [written(123, exc_info=trace), written(123, exc_info=trace)] == [True, True]


def test_records_of_many_kinds_take_no_more_memory() -> None:
    once = under_test.OnceAMinute()
    for number in range(3 * under_test.MAX_REMEMBERED_RECORDS):
        once.filter(logging.makeLogRecord({"levelno": logging.ERROR, "msg": f"line {number}"}))
    assert len(once._seen) == under_test.MAX_REMEMBERED_RECORDS
