"""Text and HTML that services send: which parts of it may become part of a mail.

HTML is rewritten in two steps. The first reads it in one pass, in time proportional to its length, keeps a
short list of tags without attributes, and limits their nesting. The second, nh3, is the security filter: an
HTML5 parser reads the result as a browser does and lets through allowed tags and links only.

nh3 is not given the original HTML, as its time grows with the square of the nesting depth: 200 KB of `<div>`
took 22 seconds of CPU.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Protocol
from urllib.parse import urlsplit

import nh3
from markupsafe import Markup, escape

MAX_URL_CHARS = 2000
MAX_NESTED_TAGS = 30  # deeper tags are omitted, their text is kept
_NOT_IN_URLS = re.compile(r'[\s<>"\\]')

_BLOCKS = frozenset(("p", "div", "ul", "ol", "li", "blockquote", "pre", "h2", "h3", "h4"))
# How each tag is written. Of other tags only the text is kept. Tables become lines, as a stray </td> would
# end the cell of the mail's layout.
_TAGS = {
    **{tag: tag for tag in (*_BLOCKS, "a", "b", "strong", "i", "em", "u", "s", "code")},
    **dict.fromkeys(("tr", "td", "th", "section", "article", "header", "footer"), "div"),
    "h1": "h2",
}
_STYLES = {
    "a": "color:inherit",
    "pre": "white-space:pre-wrap",
    "h2": "font-size:18px",  # smaller than the mail's own heading
    **dict.fromkeys(("h3", "h4"), "font-size:16px"),
}
_VOID = frozenset(("br", "hr"))
_HIDDEN = frozenset(("script", "style", "title", "template", "textarea", "noscript", "svg", "math", "iframe"))
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<[!?][^<>]*+>|<(/?)([a-z][a-z0-9]*+)([^<>]*+)>", re.DOTALL | re.IGNORECASE
)
_SANITIZER = nh3.Cleaner(
    tags=_VOID.union(_TAGS.values()),
    clean_content_tags=set(),  # the first step has removed what is hidden
    attributes={"a": {"href"}},
    url_schemes={"http", "https"},
    link_rel=None,
    set_tag_attribute_values={tag: {"style": style} for tag, style in _STYLES.items()},
)
_IGNORED = str.maketrans("", "", "\0\ufeff")  # an HTML5 parser drops NUL, and a byte order mark at the start
_HREF = re.compile(r"""(?<!\S)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""", re.IGNORECASE)


def is_link(url: object) -> bool:
    """Whether a mail may link to `url`: absolute, http or https, and without user information."""
    if (
        not isinstance(url, str)
        or len(url) > MAX_URL_CHARS
        or not url.isprintable()
        or _NOT_IN_URLS.search(url)
    ):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def paragraphs(text: str) -> list[list[str]]:
    """The paragraphs of plain text, each as its lines."""
    found = (part.strip().splitlines() for part in re.split(r"\n\s*\n", text.replace("\r\n", "\n")))
    return [lines for lines in found if lines]


def safe_html(html: str) -> Markup:
    """`html` sanitised for a mail: simple tags with the styles of mail, and links that `is_link` allows."""
    return Markup(_SANITIZER.clean(_rewrite(html, _HtmlWriter())))  # noqa: S704 - nh3 has filtered it


def as_text(html: str) -> str:
    """`html` as plain text, with the addresses of its links."""
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in _rewrite(html, _TextWriter()).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Writer(Protocol):
    """How the allowed parts of HTML are written. `url` is that of a link."""

    def text(self, text: str) -> str: ...

    def void(self, tag: str) -> str: ...

    def start(self, tag: str, url: str | None) -> str: ...

    def end(self, tag: str, url: str | None) -> str: ...


class _HtmlWriter:
    def text(self, text: str) -> str:
        return str(escape(text.translate(_IGNORED)))

    def void(self, tag: str) -> str:
        return f"<{tag}>"

    def start(self, tag: str, url: str | None) -> str:
        link = f' href="{escape(url)}"' if url is not None else ""
        ignored = "\n" if tag == "pre" else ""  # the parser drops a newline at the start of <pre>
        return f"<{tag}{link}>{ignored}"

    def end(self, tag: str, url: str | None) -> str:
        return f"</{tag}>"


class _TextWriter:
    def __init__(self) -> None:
        self._preformatted = 0

    def text(self, text: str) -> str:
        return text if self._preformatted else re.sub(r"\s+", " ", text)

    def void(self, tag: str) -> str:
        return "\n" if tag == "br" else "\n\n"

    def start(self, tag: str, url: str | None) -> str:
        self._preformatted += tag == "pre"
        return "\n- " if tag == "li" else self._gap(tag)

    def end(self, tag: str, url: str | None) -> str:
        self._preformatted -= tag == "pre"
        return self._gap(tag) if url is None else f" ({url})"

    def _gap(self, tag: str) -> str:
        if tag in ("li", "div"):
            return "\n"
        return "\n\n" if tag in _BLOCKS else ""


def _rewrite(html: str, writer: _Writer) -> str:
    written: list[str] = []
    nested: list[tuple[str, str | None]] = []

    def close(tag: str) -> None:
        """End the innermost open `tag`, if there is one, and all inside it."""
        if any(name == tag for name, _ in nested):
            name = None
            while name != tag:
                name, url = nested.pop()
                written.append(writer.end(name, url))

    at = 0
    while token := _TOKEN.search(html, at):
        written.append(writer.text(unescape(html[at : token.start()])))
        at = token.end()
        closing, tag = token[1], (token[2] or "").lower()
        if tag in _HIDDEN and not closing:
            at = _end_of(tag, html, at)
        elif tag in _VOID:
            written.append(writer.void(tag))
        elif tag in _TAGS and closing:
            close(_TAGS[tag])
        elif tag in _TAGS and len(nested) < MAX_NESTED_TAGS:
            if tag == "a":
                close("a")  # HTML has no links inside links
            nested.append((_TAGS[tag], _url(token[3]) if tag == "a" else None))
            written.append(writer.start(*nested[-1]))
    written.append(writer.text(unescape(html[at:])))
    written += [writer.end(*each) for each in reversed(nested)]
    return "".join(written)


def _end_of(tag: str, html: str, at: int) -> int:
    """The end of the hidden content of `tag`: after its end tag, else at the end of `html`."""
    found = re.compile(rf"</{tag}\b[^>]*+>?", re.IGNORECASE).search(html, at)
    return found.end() if found else len(html)


def _url(attributes: str) -> str | None:
    found = _HREF.search(attributes)
    url = unescape(found[1] or found[2] or found[3] or "").strip() if found else None
    return url if is_link(url) else None
