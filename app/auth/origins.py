"""Origins: which web pages may open a WebSocket (RFC 6455, 10.2)."""

from __future__ import annotations

import re
from collections.abc import Collection

_DEFAULT_PORT = re.compile(r"(http://.+):80|(https://.+):443")

_LOOPBACK = re.compile(r"(http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?")


def origin_allowed(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether a request with this `Origin` header is accepted.

    Clients that aren't browsers send none and are accepted. A browser's has to equal an allowed origin, which
    `app.settings.origins` writes as browsers do; `null` never does. Other clients, such as React Native's,
    may name a default port. `http://localhost:*` and its like stand for every port of this machine.
    """
    if origin is None:
        return True
    text = origin.lower() if origin.isascii() else ""
    if with_port := _DEFAULT_PORT.fullmatch(text):
        text = with_port[1] or with_port[2]
    if text in allowed:
        return "*" not in text
    any_port = _LOOPBACK.fullmatch(text)
    return any_port is not None and f"{any_port[1]}:*" in allowed
