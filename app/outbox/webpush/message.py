"""What a web push shows, as JSON for the service worker (client/src/service-worker.js). No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from app.domain.channels import WEBPUSH
from app.outbox.webpush.encryption import MAX_PLAINTEXT_BYTES
from app.texts.rendering import lines_of_text
from app.texts.shortening import shortened

MAX_TITLE_CHARS = 150
MAX_TEXT_CHARS = 500  # systems show less
MIN_TEXT_CHARS = 20
"""A shorter text isn't shortened further."""


class PushMessage(NamedTuple):
    """`notification` is the id of the notification in the inbox, if there is one."""

    title: str
    text: str
    notification: int | None = None

    def encoded(self) -> bytes:
        """As JSON of at most `MAX_PLAINTEXT_BYTES`, with the text shortened where it has to be."""
        encoded = msgspec.json.encode({key: value for key, value in self._asdict().items() if value})
        if len(encoded) <= MAX_PLAINTEXT_BYTES or (shorter := self.shorter()) is None:
            return encoded
        return shorter.encoded()

    def shorter(self) -> PushMessage | None:
        """The same with half of the text; None if there is nothing left to leave out."""
        most = len(self.text) // 2
        if most < MIN_TEXT_CHARS:
            return self._replace(text="") if self.text else None
        return self._replace(text=shortened(self.text, most))


def rendered(
    template: str, locale: str, data: Mapping[str, Any], notification: int | None = None
) -> PushMessage:
    """The message of a template. Raises as `lines_of_text`."""
    title, *text = lines_of_text(WEBPUSH, template, locale, data).splitlines() or [""]
    if text and text[0] == title:  # a message without a title has its first line as one
        del text[0]
    return PushMessage(
        shortened(title, MAX_TITLE_CHARS), shortened("\n".join(text), MAX_TEXT_CHARS), notification
    )
