"""Frames in the reader's language: what a list in that language shows (053).

A frame is made and sent between nodes in the language in which its notification is stored. Only where a
connection has asked for another one is it rendered again, once for each language and notification.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from app.domain.effects import Text
from app.realtime.event_format import payloads
from app.realtime.protocol import text_frame
from handlers.registry import text_in

MAX_RENDERED_COUNT = 256
"""Texts that are remembered: one event is the same for many receivers."""
_HAS_NOTIFICATION = b'"data":{'

_encoder = msgspec.json.Encoder()
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Rendered(msgspec.Struct):
    """What of a notification its texts are made of."""

    template_code: str
    raw_data: msgspec.Raw
    title: str
    group_name: str | None = None


_rendered = msgspec.json.Decoder(_Rendered)


class InLanguages:
    """The frames of one turn, each rendered once in each language."""

    def __init__(self) -> None:
        self._made: dict[tuple[bytes, str], bytes] = {}

    def frame(self, frame: bytes, locale: str) -> bytes:
        """See `in_language`."""
        made = self._made.get((frame, locale))
        if made is None:
            made = self._made[frame, locale] = in_language(frame, locale)
        return made


def in_language(frame: bytes, locale: str) -> bytes:
    """A text frame whose notification, if it has one, has its texts in `locale`. As it is, if they can't be
    rendered: its publisher wrote them, or its type is no longer handled.
    """
    if _HAS_NOTIFICATION not in frame:
        return frame
    try:
        (payload,) = payloads(frame)
        fields = _fields.decode(payload)
        shown = _rendered.decode(fields["data"])
        text = _text(locale, shown.template_code, bytes(shown.raw_data), shown.group_name, shown.title)
        if text is None:
            return frame
        data = _fields.decode(fields["data"])
    except (msgspec.MsgspecError, KeyError):
        return frame
    data["title"] = msgspec.Raw(_encoder.encode(text.title))
    data["content"] = msgspec.Raw(_encoder.encode(text.content))
    fields["data"] = msgspec.Raw(_encoder.encode(data))
    return text_frame(_encoder.encode(fields))


@lru_cache(MAX_RENDERED_COUNT)
def _text(
    locale: str, template_code: str, raw_data: bytes, group_name: str | None, title: str
) -> Text | None:
    return text_in(locale, template_code, raw_data, group_name, title)
