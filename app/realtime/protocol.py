"""The wire protocol of connections: notification frames and close codes."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from app.domain.notifications import Notification

SUBPROTOCOL = "hub.v1"
TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105 - the prefix browsers put before their token


class CloseCode(IntEnum):
    """Why the hub closes a connection. After 4000-4499 clients reconnect, after 4500-4999 they don't."""

    INVALID_DATA = 1007
    """A text that isn't UTF-8 (RFC 6455, 7.4.1)."""
    RESTARTING = 1012
    """This node restarts: reconnect at a random moment within `reconnect_within_ms` of the reason."""
    OVERLOADED = 1013
    """Overloaded, or a dependency is down: reconnect later."""
    TOO_SLOW = 4001
    """The client reads too slowly: reconnect and resume."""
    TOKEN_EXPIRED = 4401
    """Reconnect with a new token."""
    TOO_MANY = 4429
    """Too many connections of one user or address, or too many frames: reconnect later."""
    LOGGED_OUT = 4500
    """The user logged out."""
    TOKEN_REVOKED = 4501
    """The token was revoked: sign in again."""
    FORBIDDEN = 4503
    """The token sent to renew the session belongs to another user."""


class _Frame(msgspec.Struct):
    event_type: str
    data: Notification


_encoder = msgspec.json.Encoder()


def notification_frame(notification: Notification) -> bytes:
    """A notification as one WebSocket text frame, with the documented fields: for plain connections."""
    if notification.details is not None:
        notification = msgspec.structs.replace(notification, details=None)
    return text_frame(_encoder.encode(_Frame(notification.event_type, notification)))


def detailed_frame(frame: bytes, details: bytes) -> bytes:
    """The frame of `notification_frame` with these fields (JSON, without braces) behind the documented ones,
    as clients of `hub.v1` and of event streams read it.
    """
    if not details:
        return frame
    length = frame[1]
    payload = frame[2 if length < 126 else 4 if length == 126 else 10 :]
    return text_frame(b"".join((payload[:-2], b",", details, b"}}")))


def detailed_json(notification: Notification, details: bytes) -> bytes:
    """A notification with these fields behind the documented ones."""
    documented = _encoder.encode(msgspec.structs.replace(notification, details=None))
    return b"".join((documented[:-1], b",", details, b"}"))


def text_frame(payload: bytes) -> bytes:
    """`payload` as an unmasked, unfragmented text frame (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return b"\x81" + length.to_bytes(1, "big") + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload
