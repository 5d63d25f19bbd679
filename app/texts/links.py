"""Links: which addresses a mail may link to, and those that stand in a text. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape

from app.texts.hygiene import has_unwanted

MAX_URL_CHARS = 2000
LINK_STYLE = "color:inherit"
_NOT_IN_URLS = re.compile(r'[\s<>"\\]')
_BLANKS = re.compile("[\t\n\r]")  # a browser drops them in an address (WHATWG URL, 4.4)
_C0_AND_SPACE = "".join(map(chr, range(0x21)))
_MAIL = re.compile(r"mailto:[^\s<>\"\\]+", re.IGNORECASE)
_PHONE = re.compile(r"tel:\+?[0-9][0-9().*#-]*(?:;[a-z0-9=.+-]*)*", re.IGNORECASE)
_IN_TEXT = re.compile(
    r"(?<![A-Za-z0-9+/])https?://[^\s<>\"`\u200b\u2060\u3000-\u303f\ufeff\uff00-\uffef]+", re.IGNORECASE
)
_TRAILING = ".,;:!?'*|…–—’”»؟،؛۔।॥"  # not "_", "-" and "=", in which tokens end
_BRACKETS = {")": "(", "]": "[", "}": "{"}


class Piece(NamedTuple):
    """A part of a text; `url` is where it links to."""

    text: str
    url: str | None = None


def is_link(url: object) -> bool:
    """Whether a mail may link to `url`: absolute, http or https, and without user information."""
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS or has_unwanted(url) or _NOT_IN_URLS.search(url):
        return False
    try:
        parts = urlsplit(url)
        if parts.port is not None and not parts.port:
            return False
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def is_path(url: object) -> bool:
    """Whether `url` is a path of the page that shows it: it begins with one `/`, so no host can follow."""
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS or has_unwanted(url) or _NOT_IN_URLS.search(url):
        return False
    return url.startswith("/") and not url.startswith("//")


def target(href: str | None) -> str | None:
    """Where the `href` of a link leads, if a mail may link there: a web address, `mailto:` or `tel:`.

    As a browser does, it drops line breaks and encodes blanks.
    """
    if href is None:
        return None
    url = _BLANKS.sub("", href.strip(_C0_AND_SPACE))
    if url[:4].lower() == "tel:":
        phone = url.replace(" ", "").replace("%20", "")
        return phone if len(phone) <= MAX_URL_CHARS and _PHONE.fullmatch(phone) else None
    url = re.sub(r'[ "<>]', lambda found: quote(found[0]), url)
    if url[:7].lower() == "mailto:":
        usable = len(url) <= MAX_URL_CHARS and not has_unwanted(url) and _MAIL.fullmatch(url)
        return url if usable else None
    return url if is_link(url) else None


def pieces(text: str) -> Iterator[Piece]:
    """The text and the web addresses in it, each whole: without the punctuation that follows it."""
    at = 0
    for found in _IN_TEXT.finditer(text):
        url = _without_punctuation(found[0])
        if not is_link(url):
            continue
        if found.start() > at:
            yield Piece(text[at : found.start()])
        yield Piece(url, url)
        at = found.start() + len(url)
    if at < len(text):
        yield Piece(text[at:])


def linked(text: str) -> Markup:
    """The text as HTML, its web addresses as links."""
    if "://" not in text:
        return escape(text)
    return Markup("").join(
        escape(piece.text)
        if piece.url is None
        else Markup('<a href="{}" style="{}">{}</a>').format(piece.url, LINK_STYLE, piece.text)
        for piece in pieces(text)
    )


def _without_punctuation(url: str) -> str:
    """Without what ends the sentence, and without a bracket that was opened before it."""
    counts = {mark: url.count(mark) for pair in _BRACKETS.items() for mark in pair}
    end = len(url)
    while end:
        last = url[end - 1]
        if last in _BRACKETS and counts[last] > counts[_BRACKETS[last]]:
            counts[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return url[:end]
