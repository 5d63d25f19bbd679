"""HTML that services send, made into the body of a mail and into its text part.

HTML is rewritten in two steps. The first reads it in one pass, in time proportional to its length
(`app.texts.html_tokens`), keeps a short list of tags without attributes, limits their nesting, and writes
HTML and text side by side, so that both say the same. The second, nh3, is the security filter: an HTML5
parser reads the result as a browser does and lets through allowed tags and links only.

nh3 is not given the original HTML, as its time grows with the square of the nesting depth: 200 KB of `<div>`
took 22 seconds of CPU.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import unescape
from typing import NamedTuple

import nh3
from markupsafe import Markup, escape

from app.texts.html_tokens import Tag, tokens
from app.texts.hygiene import clean, is_visible
from app.texts.links import LINK_STYLE, linked, target

MAX_NESTED_TAGS = 30  # deeper tags are omitted, their text is kept
MAX_HIDDEN_CHARS = 1000  # kept of what a mail hides, which inboxes show beside the subject

_BLOCKS = frozenset(("p", "div", "ul", "ol", "li", "blockquote", "pre", "h2", "h3", "h4"))
# How each tag is written. Of other tags only the text is kept. Tables become lines, as a stray </td> would
# end the cell of the mail's layout.
_LINES = (
    *(
        "tr",
        "td",
        "th",
        "caption",
        "section",
        "article",
        "header",
        "footer",
        "main",
        "nav",
        "aside",
        "address",
    ),
    *("dl", "dt", "dd", "figure", "figcaption", "center", "form", "fieldset", "legend", "details", "summary"),
)
_TAGS = {
    **{tag: tag for tag in (*_BLOCKS, "a", "b", "strong", "i", "em", "u", "s", "code", "sup", "sub")},
    **dict.fromkeys(_LINES, "div"),
    **{"h1": "h2", "h5": "h4", "h6": "h4", "del": "s", "strike": "s"},
}
_STYLES = {
    "a": LINK_STYLE,
    "pre": "white-space:pre-wrap",
    **dict.fromkeys(("sup", "sub"), "line-height:0"),  # or the line is higher than the others
    "h2": "font-size:18px",  # smaller than the mail's own heading
    **dict.fromkeys(("h3", "h4"), "font-size:16px"),
}
_VOID = frozenset(("br", "hr"))
_LEFT_OUT = frozenset(
    (
        *("script", "style", "title", "template", "textarea", "noscript", "svg", "math", "iframe"),
        *("xmp", "noembed", "noframes", "select"),
    )
)
"""What is in a video or object is shown: it is for programs that don't play it, and mail plays none."""
_CAN_BE_HIDDEN = frozenset((*_TAGS, "span", "font", "table", "tbody", "label", "small")) - {"b", "i"}
_HIDDEN = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?![.\d]))", re.IGNORECASE
)
_FLAT = re.compile(r"(?:^|;)\s*max-height\s*:\s*0(?:px)?\s*(?:!\s*important\s*)?(?:;|$)", re.IGNORECASE)
_SANITIZER = nh3.Cleaner(
    tags=_VOID.union(_TAGS.values()),
    clean_content_tags=set(),  # the first step has removed what is hidden
    attributes={"a": {"href"}},
    url_schemes={"http", "https", "mailto", "tel"},
    link_rel=None,
    set_tag_attribute_values={
        tag: {"dir": "auto"} | ({"style": _STYLES[tag]} if tag in _STYLES else {}) for tag in _BLOCKS
    }
    | {tag: {"style": _STYLES[tag]} for tag in ("a", "sup", "sub")},
)
_BLANKS = re.compile(r"[ \t]+")
_LINK_END = "\0"  # in the text part, behind an address; no text has it
_GLUED = re.compile(rf"{_LINK_END}(?=[\w(<\"'/#?&=-])")
_FILLERS = re.compile("[\u00a0\u034f\u200c]+")  # what keeps a mail's text out of its preview


class HtmlMail(NamedTuple):
    """What a service's HTML says, as HTML and as text; `hidden` is what only inboxes show (the preheader)."""

    html: Markup
    text: str
    hidden: str


def paragraphs(text: str) -> list[list[str]]:
    """The paragraphs of plain text, each as its lines."""
    found = (part.strip().splitlines() for part in re.split(r"\n\s*\n", text.replace("\r\n", "\n")))
    return [lines for lines in found if lines]


@lru_cache(maxsize=4)  # a mail's parts ask for it one after the other
def read_html(html: str) -> HtmlMail:
    """`html` sanitised for a mail: simple tags with the styles of mail, and links that `target` allows."""
    page = _Body()
    _rewrite(html, page)
    page.end()
    sanitised = Markup(_SANITIZER.clean("".join(page.html)))  # noqa: S704 - nh3 has filtered it
    hidden = " ".join(_FILLERS.sub(" ", "".join(page.hidden)).split())
    return HtmlMail(sanitised, _tidy("".join(page.text)), hidden)


def safe_html(html: str) -> Markup:
    """`html` sanitised for a mail."""
    return read_html(html).html


def as_text(html: str) -> str:
    """`html` as plain text, with the addresses of its links."""
    return read_html(html).text


def hidden_text(html: str) -> str:
    """What `html` hides from the mail for inboxes to show; empty if it does that with nothing."""
    return read_html(html).hidden


def _tidy(text: str) -> str:
    text = _GLUED.sub(" ", text).replace(_LINK_END, "")
    lines = (_BLANKS.sub(" ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Link(NamedTuple):
    url: str | None
    shown: list[str]
    """The text in it."""


class _Body:
    """Writes the allowed parts of HTML twice, as HTML and as plain text."""

    def __init__(self) -> None:
        self.html: list[str] = []
        self.text: list[str] = []
        self.hidden: list[str] = []
        self._nested: list[str] = []
        self._link: _Link | None = None
        self._preformatted = 0

    def add(self, text: str) -> None:
        """Add text of the document, its references decoded."""
        text = clean(text.replace("\ufeff", ""))
        if self._link is None:
            self.html.append(str(linked(text)))
        else:
            self._link.shown.append(text)
            self.html.append(str(escape(text)))
        self.text.append(text if self._preformatted else re.sub(r"\s+", " ", text))

    def hide(self, text: str) -> None:
        """Keep text that isn't shown, some of it."""
        if sum(map(len, self.hidden[-50:])) < MAX_HIDDEN_CHARS and len(self.hidden) < 50:
            self.hidden.append(clean(text))

    def void(self, tag: str) -> None:
        self.html.append(f"<{tag}>")
        self.text.append("\n" if tag == "br" else "\n\n")

    def area(self, url: str | None, alternative: str) -> None:
        """Add the link of a part of an image."""
        if url is not None:
            self.open("a", url)
            self.add(alternative)
            self.close("a")

    def open(self, tag: str, url: str | None) -> None:
        """Start a tag. One that is nested too deep is left out; it still separates words."""
        if len(self._nested) >= MAX_NESTED_TAGS:
            if tag in _BLOCKS:
                self.add(" ")
            return
        if tag == "a":
            self.close("a")  # HTML has no links inside links
            self._link = _Link(url, [])
            href = f' href="{escape(url)}"' if url is not None else ""
            self.html.append(f"<a{href}>")
        else:
            self.html.append(f"<{tag}>\n" if tag == "pre" else f"<{tag}>")  # a parser drops the newline
        self._nested.append(tag)
        self._preformatted += tag == "pre"
        self.text.append("\n- " if tag == "li" else _gap(tag))

    def close(self, tag: str) -> None:
        """End the innermost open `tag`, if there is one, and all inside it."""
        while tag in self._nested and self._end_innermost() != tag:
            pass

    def end(self) -> None:
        """End all that is open."""
        while self._nested:
            self._end_innermost()

    def _end_innermost(self) -> str:
        tag = self._nested.pop()
        if tag == "a" and self._link is not None:
            self._end_link(self._link)
            self._link = None
        self.html.append(f"</{tag}>")
        self._preformatted -= tag == "pre"
        self.text.append(_gap(tag))
        return tag

    def _end_link(self, link: _Link) -> None:
        """A link that shows nothing shows its address; the text part has the address of every link."""
        if link.url is None:
            return
        shown = "".join(link.shown).strip()
        if not is_visible(shown):
            self.html.append(str(escape(link.url)))
            self.text.append(link.url + _LINK_END)
        elif shown != link.url and f"mailto:{shown}" != link.url:
            self.text.append(f" ({link.url})")


def _gap(tag: str) -> str:
    if tag in ("li", "div"):
        return "\n"
    return "\n\n" if tag in _BLOCKS else ""


def _rewrite(html: str, page: _Body) -> None:
    at: int | None = 0
    while at is not None:
        at = _rewrite_from(html, at, page)


def _rewrite_from(html: str, at: int, page: _Body) -> int | None:
    """Write what begins at `at`. Return where to go on, behind what is left out; None at the end."""
    for token in tokens(html, at):
        if isinstance(token, str):
            page.add(unescape(token))
        elif token.closing:
            if token.name in _TAGS:
                page.close(_TAGS[token.name])
            elif token.name == "br":  # as browsers do
                page.void("br")
        elif token.name in _LEFT_OUT:
            return _end_of(token.name, html, token.end)
        elif token.name in _VOID:
            page.void(token.name)
        elif token.name == "img":
            page.add(_alternative(token))
        elif token.name == "area":
            page.area(target(token.attribute("href")), _alternative(token))
        elif _is_hidden(token) and (behind := _hide(html, token, page)) is not None:
            return behind
        elif token.name in _TAGS:
            url = target(token.attribute("href")) if token.name == "a" else None
            page.open(_TAGS[token.name], url)
    return None


def _alternative(image: Tag) -> str:
    """The text of an image; mail shows no images but the hub's own logo."""
    text = image.attribute("alt") or ""
    return f" {text} " if is_visible(text) else ""


def _is_hidden(tag: Tag) -> bool:
    if not tag.attributes or tag.name not in _CAN_BE_HIDDEN:
        return False
    style = tag.attribute("style") or ""
    flat = "overflow" in style and _FLAT.search(style)
    return bool(_HIDDEN.search(style) or flat) or tag.attribute("hidden") is not None


def _hide(html: str, opened: Tag, page: _Body) -> int | None:
    """Keep the text of an element that isn't shown. Return the position behind it; None if it has no end."""
    if not re.compile(rf"</{opened.name}[\s/>]", re.IGNORECASE).search(html, opened.end):
        return None
    page.hide(" ")
    depth = 1
    left_out = False
    for token in tokens(html, opened.end):
        if isinstance(token, str):
            if not left_out:
                page.hide(unescape(token))
            continue
        if token.name in _LEFT_OUT:
            left_out = not token.closing
        if token.name == opened.name:
            depth += -1 if token.closing else 1
            if depth == 0:
                return token.end
    return len(html)


def _end_of(tag: str, html: str, at: int) -> int:
    """The end of the content of `tag`: after its end tag, else at the end of `html`."""
    found = re.compile(rf"</{tag}\b[^>]*+>?", re.IGNORECASE).search(html, at)
    return found.end() if found else len(html)
