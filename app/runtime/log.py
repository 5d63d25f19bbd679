"""Log lines: one event name each, its data in fields, one line whatever they hold."""

from __future__ import annotations

import logging
import sys
import time

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`time level logger event key=value …`; control characters are escaped, so no value can forge a line."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        fields = [
            f"{name}={_value(value)}" for name, value in record.__dict__.items() if name not in _STANDARD
        ]
        line = " ".join(
            (
                self.formatTime(record),
                record.levelname.lower(),
                record.name,
                _plain(record.getMessage()),
                *fields,
            )
        )
        if record.exc_info is None or record.exc_info[0] is None:
            return line
        trace = self.formatException(record.exc_info).splitlines()
        return "\n".join((line, *(f"    {_plain(part)}" for part in trace)))


def _plain(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _value(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and " " not in text else repr(text)


def configure(level: str) -> None:
    """Write all logs to standard error (12factor.net/logs). Libraries speak from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("hub").setLevel(level.upper())
    for name in ("sanic.root", "sanic.error", "sanic.server", "sanic.access", "sanic.websockets"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
