"""The brand that a mail shows."""

from __future__ import annotations

from typing import NamedTuple


class Brand(NamedTuple):
    """The sender that a mail shows. `color` is #rrggbb; the logo, if there is one, replaces the name."""

    name: str
    color: str
    logo_url: str | None = None
    footer: str = ""
