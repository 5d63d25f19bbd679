"""Reads messages whatever their properties are. Import it before the first connection."""

from __future__ import annotations

import logging

from pamqp.commands import Basic
from pamqp.header import ContentHeader

log = logging.getLogger("hub.rabbitmq")

_read = ContentHeader.unmarshal


def _read_what_can_be_read(header: ContentHeader, data: bytes) -> None:
    """pamqp 4.0 raises on a text that isn't UTF-8 or a timestamp in microseconds; aiormq then closes the
    connection, and the message is redelivered, indefinitely. Such a message is read without its
    properties. Its length precedes them, and is known by then.
    """
    try:
        _read(header, data)
    except Exception as error:
        log.warning("properties_unreadable", extra={"why": type(error).__name__})
        header.properties = Basic.Properties()


ContentHeader.unmarshal = _read_what_can_be_read  # type: ignore[method-assign, assignment]
