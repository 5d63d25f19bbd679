"""What a web push shows, as JSON for the service worker (client/src/service-worker.js). No I/O."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from app.domain.channels import WEBPUSH
from app.domain.details import ICONS, NOTHING, Action, Details, Severity
from app.domain.planning import DETAILS
from app.outbox.webpush.encryption import MAX_PLAINTEXT_BYTES
from app.texts.rendering import lines_of_text
from app.texts.shortening import shortened

MAX_TITLE_CHARS = 150
MAX_TEXT_CHARS = 500  # systems show less
MIN_TEXT_CHARS = 20
"""A shorter text isn't shortened further."""


class PushMessage(NamedTuple):
    """`notification` is the id of the notification in the inbox, if there is one. A later message of the same
    `thread` replaces this one.
    """

    title: str
    text: str
    notification: int | None = None
    url: str | None = None
    actions: tuple[Action, ...] = ()
    icon: str | None = None
    image: str | None = None
    thread: str | None = None
    severity: Severity | None = None

    def encoded(self) -> bytes:
        """As JSON of at most `MAX_PLAINTEXT_BYTES`, shortened where it has to be."""
        encoded = msgspec.json.encode({key: value for key, value in self._asdict().items() if value})
        if len(encoded) <= MAX_PLAINTEXT_BYTES or (shorter := self.shorter()) is None:
            return encoded
        return shorter.encoded()

    def shorter(self) -> PushMessage | None:
        """The same with half of the text, then without pictures, buttons, text and URL; None if there is
        nothing left to leave out.
        """
        most = len(self.text) // 2
        if most >= MIN_TEXT_CHARS:
            return self._replace(text=shortened(self.text, most))
        for name, nothing in _LEFT_OUT:
            if getattr(self, name):
                return self._replace(**{name: nothing})
        return None


_LEFT_OUT: Sequence[tuple[str, Any]] = (
    ("image", None),
    ("icon", None),
    ("actions", ()),
    ("text", ""),
    ("url", None),
)
TOPIC_CHARS = 32
"""The maximum (RFC 8030, 5.4)."""


def topic(thread: str, auth: bytes) -> str:
    """The header `Topic` of a thread's messages to one device: a push service keeps only the last of those.

    `auth` is the device's secret, so the push service can't guess the thread.
    """
    digest = hmac.digest(auth, thread.encode(), "sha256")
    return urlsafe_b64encode(digest).decode()[:TOPIC_CHARS]


def rendered(
    template: str, locale: str, data: Mapping[str, Any], notification: int | None = None
) -> PushMessage:
    """The message of a template. Raises as `lines_of_text`."""
    title, *text = lines_of_text(WEBPUSH, template, locale, data).splitlines() or [""]
    if text and text[0] == title:  # a message without a title has its first line as one
        del text[0]
    details = _details(data)
    return PushMessage(
        shortened(title, MAX_TITLE_CHARS),
        shortened("\n".join(text), MAX_TEXT_CHARS),
        notification,
        details.url,
        details.actions,
        None if details.icon in ICONS else details.icon,
        details.image,
        details.thread_key,
        details.severity,
    )


def _details(data: Mapping[str, Any]) -> Details:
    """What the planner added. In data of a publisher the name may stand for anything."""
    try:
        return msgspec.convert(data.get(DETAILS) or {}, Details)
    except msgspec.ValidationError:
        return NOTHING
