"""The deduplication key of a message from RabbitMQ, and the dead letter it becomes. No I/O."""

from __future__ import annotations

import hashlib
from copy import copy
from datetime import datetime

import msgspec
from aiormq import spec
from pamqp.header import ContentHeader

from app.domain.errors import InvalidEvent
from app.domain.time import event_time
from app.sources.dead_letters import QUEUE, originals, read_replay_headers, reasons
from app.sources.rabbitmq.content_encoding import decoded
from app.sources.redaction import redact_message

EXPIRATION = "dlq.expiration"
"""The message's time to live (milliseconds), if its publisher set one."""
PERSISTENT_MODE = 2  # the delivery mode of what outlives a restart of the broker


def message_identity(body: bytes, properties: spec.Basic.Properties) -> str:
    """The same for each delivery of a message: its `message_id`, else a hash of the body and its `timestamp`.

    RabbitMQ has no positions that identify a message (decision 013).
    """
    if properties.message_id:
        return properties.message_id
    return hashlib.sha256(f"{properties.timestamp or ''}\n".encode() + body).hexdigest()


def dedup_key_of(queue: str, body: bytes, properties: spec.Basic.Properties) -> str:
    """The deduplication key of its event; of a replayed message, the one it had before."""
    return read_replay_headers(properties.headers or {}, "rabbitmq").dedup_key or (
        f"rabbitmq:{queue}:{message_identity(body, properties)}"
    )


def happened_at(properties: spec.Basic.Properties) -> datetime | None:
    """When its publisher says that it happened, if that is plausible. AMQP counts seconds."""
    return None if properties.timestamp is None else event_time(properties.timestamp.timestamp())


def dead_letter(
    queue: str, body: bytes, properties: spec.Basic.Properties, error: InvalidEvent, room: int
) -> tuple[bytes, spec.Basic.Properties]:
    """Body and properties of the dead letter: as they were, with the reason in the headers.

    Replayed, it has the same deduplication key. `room` is how many bytes the broker accepts for the
    properties; headers that don't fit, or can't be written at all, are left out, which `dlq.headers` says.
    """
    readable = decoded(body, properties.content_encoding).body
    shown = redact_message(readable)
    redacted = shown != readable
    theirs = properties.headers or {}
    ours = {
        **reasons(
            "rabbitmq",
            dedup_key_of(queue, body, properties),
            error,
            read_replay_headers(theirs, "rabbitmq").attempts,
            redacted,
        ),
        **_where(queue, properties),
    }
    kept = copy(properties)
    kept.headers = {**dict(originals(theirs.items())), **ours}
    if not redacted:  # a hash reveals the six digits
        kept.message_id = message_identity(body, properties)
        shown = body
    else:
        kept.content_encoding = None
    kept.delivery_mode = PERSISTENT_MODE
    kept.expiration = None  # a dead letter waits until someone looks
    kept.user_id = None  # the broker takes none but the sender's own
    if not _fits(kept, room):
        kept.headers = {**ours, "dlq.headers": "omitted: too large, or of a type that cannot be encoded"}
    return shown, kept


def labels_of(queue: str, properties: spec.Basic.Properties) -> bytes:
    """Encode queue and properties of a message whose event is parked, for `parked_properties`.

    Headers of a type that is read and can't be written are left out, as in a dead letter. What is parked is
    the decoded body, so it has no `content_encoding` any more.
    """
    kept = copy(properties)
    kept.content_encoding = None
    try:
        encoded = ContentHeader(properties=kept).marshal()
    except (TypeError, ValueError, OverflowError):
        kept.headers = {}
        encoded = ContentHeader(properties=kept).marshal()
    return msgspec.msgpack.encode((queue, encoded))


def parked_properties(labels: bytes) -> tuple[str, spec.Basic.Properties]:
    """The queue and the properties of the message whose event was parked with these labels."""
    queue, encoded = msgspec.msgpack.decode(labels, type=tuple[str, bytes])
    header = ContentHeader()
    header.unmarshal(encoded)
    return queue, header.properties


def _where(queue: str, properties: spec.Basic.Properties) -> dict[str, str]:
    headers = {
        QUEUE: queue,
        "dlq.message_id": properties.message_id,
        EXPIRATION: properties.expiration,
        "dlq.user_id": properties.user_id,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _fits(properties: spec.Basic.Properties, room: int) -> bool:
    try:
        return len(ContentHeader(properties=properties).marshal()) <= room
    except (TypeError, ValueError, OverflowError):  # AMQP has types that are read and can't be written
        return False
