"""Whose mail it is."""

from __future__ import annotations

from typing import NamedTuple


class Brand(NamedTuple):
    """Whose mail it is. `color` is #rrggbb; with `logo_url` the logo is shown instead of the name."""

    name: str
    color: str
    logo_url: str | None = None
    footer: str = ""
