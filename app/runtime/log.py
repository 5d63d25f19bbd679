"""Logging: one event name a line, its data in fields, and one line whatever they hold.

Modules log through the standard library (`log.info("ready", extra={"address": …})`); structlog renders their
records: as JSON lines, or readable when standard error is a terminal. Fields that are bound to the context
(`structlog.contextvars`) or to the process (`bind_to_process`) stand in each line.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from cachetools import LRUCache
from structlog.stdlib import ProcessorFormatter

EventDict = MutableMapping[str, Any]

_OF_RECORDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_OURS = frozenset(("timestamp", "level", "logger", "event", "exc_info", "exception"))
MAX_REQUEST_ID_CHARS = 64
REPEAT_SECONDS = 60.0
MAX_REMEMBERED_RECORDS = 1000
_JSON_TYPES = (str, int, float, bool, type(None))
_of_process: dict[str, str] = {}


def bind_to_process(**fields: str) -> None:
    """Add the fields to each line that this process logs from now on, such as the id of the node."""
    _of_process.update(fields)


def bind_to_request(request_id: object) -> None:
    """Have the lines of this task tell which request they are of, until `request_id` is unbound. Clients may
    send one, as X-Request-ID, so it is cut at `MAX_REQUEST_ID_CHARS`.
    """
    structlog.contextvars.bind_contextvars(request_id=str(request_id)[:MAX_REQUEST_ID_CHARS])


def formatter(*, readable: bool) -> logging.Formatter:
    """Make the formatter of all records: readable lines, or JSON lines in ASCII.

    A readable line is `time level logger event key=value …`, then the trace of an exception, indented.
    Both escape control characters and all that could end a line or colour a terminal.
    """
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            _add_fields,
            structlog.processors.format_exc_info,
        ],
        processors=[_readable if readable else _json],
    )


def configure(level: str) -> None:
    """Write all logs to standard error (12factor.net/logs). Libraries log from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(readable=sys.stderr.isatty()))
    handler.addFilter(OnceAMinute())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("hub").setLevel(level.upper())
    for name in ("sanic.root", "sanic.error", "sanic.server", "sanic.access", "sanic.websockets"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("sanic.error").addFilter(_is_of_the_hub)


def _is_of_the_hub(record: logging.LogRecord) -> bool:
    """Drops what Sanic reports as an error of the handler: a client sent a body that the call ignores."""
    return not record.getMessage().endswith(" body not consumed.")


class OnceAMinute(logging.Filter):
    """Drops a warning, an error or a line with a `why` that equals one of the last minute in all its fields.

    A service that is away fails each attempt to reach it; its first line says so, and one a minute that it is
    still away, with the number of those `repeated` meanwhile. A record with a trace is never dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: LRUCache[str, tuple[float, int]] = LRUCache(MAX_REMEMBERED_RECORDS)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; repeated failures pass once a minute."""
        is_failure = record.levelno >= logging.WARNING or "why" in record.__dict__
        if not is_failure or record.exc_info:
            return True
        fields = {name: value for name, value in record.__dict__.items() if name not in _OF_RECORDS}
        key = f"{record.name} {record.getMessage()} {fields}"
        written, repeated = self._seen.get(key, (-math.inf, 0))
        if record.created - written < REPEAT_SECONDS:
            self._seen[key] = (written, repeated + 1)
            return False
        self._seen[key] = (record.created, 0)
        if repeated:
            record.__dict__["repeated"] = repeated
        return True


def _add_fields(_: object, __: str, event: EventDict) -> EventDict:
    """Put together what the line shows, in its order: of the record, the process, the context, the call."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog")
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    shown: EventDict = {
        "timestamp": moment.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event.pop("event"),
    }
    shown.update(_of_process)
    shown.update(event)
    if not record.exc_info or record.exc_info[0] is None:  # asyncio passes False
        shown.pop("exc_info", None)
    for name, value in record.__dict__.items():
        if name not in _OF_RECORDS:
            shown[f"{name}_" if name in _OURS else name] = value
    return shown


def _json(_: object, __: str, event: EventDict) -> str:
    return json.dumps({name: _json_value(value) for name, value in event.items()})


def _json_value(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_json_value(each) for each in value]
    return value if isinstance(value, _JSON_TYPES) else str(value)


def _readable(_: object, __: str, event: Mapping[str, Any]) -> str:
    fields = dict(event)
    head = [_plain(str(fields.pop(name))) for name in ("timestamp", "level", "logger", "event")]
    trace = str(fields.pop("exception", "")).splitlines()
    line = " ".join((*head, *(f"{name}={_value(value)}" for name, value in fields.items())))
    return "\n".join((line, *(f"    {_plain(part)}" for part in trace)))


def _plain(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _value(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and " " not in text else repr(text)
