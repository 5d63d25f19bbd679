"""Reads messages whatever their properties are. Import it before the first connection."""

from __future__ import annotations

import logging
from datetime import datetime

from pamqp import decode
from pamqp.commands import Basic
from pamqp.header import ContentHeader

log = logging.getLogger("hub.rabbitmq")

_read = ContentHeader.unmarshal
_read_timestamp = decode.timestamp
_TIMESTAMP_BYTES = 8


def _read_what_can_be_read(header: ContentHeader, data: bytes) -> None:
    """pamqp 4.0 raises on a text that isn't UTF-8; aiormq then closes the connection, and the message is
    redelivered, indefinitely. Such a message is read without its properties. Its length precedes them, and
    is known by then.
    """
    try:
        _read(header, data)
    except Exception as error:
        log.warning("properties_unreadable", extra={"why": type(error).__name__})
        header.properties = Basic.Properties()


def _read_timestamp_if_it_is_one(data: bytes) -> tuple[int, datetime | None]:
    """pamqp takes seconds and milliseconds. One in microseconds costs the message nothing else."""
    try:
        return _read_timestamp(data)
    except (ValueError, OverflowError, OSError):
        return _TIMESTAMP_BYTES, None


decode.METHODS["timestamp"] = _read_timestamp_if_it_is_one
ContentHeader.unmarshal = _read_what_can_be_read  # type: ignore[method-assign, assignment]
