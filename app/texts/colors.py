"""Colours of mail with readable contrast, as WCAG 2.2 (1.4.3) defines it."""

from __future__ import annotations

from typing import NamedTuple

BLACK, WHITE = "#000000", "#ffffff"
MIN_CONTRAST = 1.6  # contrast from which a surface stands out from the one below it


class Palette(NamedTuple):
    """The colours beside the brand's. Each text colour has a contrast of at least 4.5 on each surface."""

    page: str
    card: str
    sunken: str
    line: str
    text: str
    soft: str


LIGHT = Palette("#f1f3f6", WHITE, "#f4f6f9", "#dfe3ea", "#1c2230", "#565e6e")
DARK = Palette("#11141a", "#1b1f29", "#252b38", "#363d4c", "#e9ecf3", "#a9b1c2")


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (#rrggbb), from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def ink_on(color: str) -> str:
    """Black or white, whichever has more contrast with `color`: always 4.58 or more."""
    return max(BLACK, WHITE, key=lambda ink: contrast(ink, color))


def edge_on(surface: str, color: str) -> str:
    """The colour for the edge of a `color` button, so that it stands out from a similar `surface`."""
    return color if contrast(color, surface) >= MIN_CONTRAST else ink_on(surface)


def _luminance(color: str) -> float:
    red, green, blue = (_linear(int(color[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(share: float) -> float:
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)
