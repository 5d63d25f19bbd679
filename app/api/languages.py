"""The language that a client asks for."""

from __future__ import annotations

from sanic import Request

from app.api.headers import accept_language
from app.api.parameters import given
from app.texts.i18n import negotiate


def wanted_locale(request: Request) -> str | None:
    """The locale of `?lang=`, which a page can give a WebSocket, else of Accept-Language. None without one,
    or if it is none of ours: then each text is as it is stored.
    """
    return negotiate(next(iter(given(request, "lang")), None) or accept_language(request), "") or None
