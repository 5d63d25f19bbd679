"""HTML as a browser splits it: tags with their attributes, and the text between them (WHATWG HTML, 13.2.5).

One pass, in time proportional to the length. Differences from the standard: a quotation mark that nothing
closes is part of its value, instead of hiding the rest of the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.entities import html5
from typing import NamedTuple

_START = re.compile(r"<(?:(/?)([a-zA-Z][^\t\n\f\r />]*+)|(!--)|[!?/])")
_ATTRIBUTE = re.compile(r"[\t\n\f\r /]*+(=?[^\t\n\f\r />=]*+)(?:[\t\n\f\r ]*+(=)[\t\n\f\r ]*+)?")
_UNQUOTED = re.compile(r"[^\t\n\f\r >]*+")
_COMMENT_END = re.compile(r"--!?>")
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[a-zA-Z][a-zA-Z0-9]*;?)")
MAX_NAME_CHARS = 32  # of a reference such as &CounterClockwiseContourIntegral;


class Tag(NamedTuple):
    """A start or end tag. Names are in lower case; `attributes` are raw, see `attribute`."""

    name: str
    closing: bool
    attributes: list[tuple[str, str]]
    end: int
    """The position behind it, where another iterator can start."""

    def attribute(self, name: str) -> str | None:
        """The value of an attribute, its references decoded; of several the first counts."""
        return next((unescape_value(value) for each, value in self.attributes if each == name), None)


def tokens(html: str, at: int = 0) -> Iterator[str | Tag]:
    """Raw text (its references not decoded) and tags, in order. Comments and declarations are left out."""
    last_quote = {quote: html.rfind(quote) for quote in "\"'"}
    while found := _START.search(html, at):
        if found.start() > at:
            yield html[at : found.start()]
        if found[2] is None:
            at = _after_comment(html, found)
            if at < 0:
                return
            continue
        attributes: list[tuple[str, str]] = []
        if html.startswith(">", found.end()):
            at = found.end() + 1
        else:
            attributes, at = _attributes(html, found.end(), last_quote)
        if at < 0:
            return
        yield Tag(found[2].lower(), bool(found[1]), attributes, at)
    yield html[at:]


def _after_comment(html: str, found: re.Match[str]) -> int:
    """The position behind a comment or declaration; -1 if it goes on to the end."""
    if found[3] is None:
        return html.find(">", found.end()) + 1 or -1
    for empty in (">", "->"):
        if html.startswith(empty, found.end()):
            return found.end() + len(empty)
    end = _COMMENT_END.search(html, found.end())
    return end.end() if end else -1


def _attributes(html: str, at: int, last_quote: dict[str, int]) -> tuple[list[tuple[str, str]], int]:
    """The raw attributes of a tag and the position behind it; -1 if it doesn't end."""
    attributes: list[tuple[str, str]] = []
    while True:
        found = _ATTRIBUTE.match(html, at)
        assert found is not None, "it matches nothing, too"
        at = found.end()
        if at >= len(html):
            return attributes, -1
        if not found[1] and not found[2]:
            return attributes, at + 1
        value = ""
        if found[2]:
            quote = html[at]
            if at < last_quote.get(quote, -1):
                end = html.index(quote, at + 1)
                value, at = html[at + 1 : end], end + 1
            else:
                unquoted = _UNQUOTED.match(html, at)
                assert unquoted is not None, "it matches nothing, too"
                value, at = unquoted[0].lstrip("\"'"), unquoted.end()
        attributes.append((found[1].lower(), value))


def unescape_value(value: str) -> str:
    """Decode the references of an attribute's value (13.2.5.73): one without `;` before `=` or an
    alphanumeric stays, as `&copy=` does in `?a=1&copy=2`.
    """
    return _REFERENCE.sub(_decoded, value) if "&" in value else value


def _decoded(found: re.Match[str]) -> str:
    reference = found[0]
    if reference[1] == "#":
        return unescape(reference)
    name = reference[1:]
    if name in html5 and name.endswith(";"):
        return html5[name]
    rest = found.string[found.end() : found.end() + 1]
    for length in range(min(len(name), MAX_NAME_CHARS), 1, -1):
        if (prefix := name[:length]) in html5 and prefix[-1] != ";":
            behind = (name[length:] + rest)[:1]
            stays = behind == "=" or (behind.isascii() and behind.isalnum())
            return reference if stays else html5[prefix] + name[length:]
    return reference
