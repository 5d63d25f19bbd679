"""The body of an HTML mail, written twice while it is read: as HTML of few tags, and as plain text.

Elements end where browsers end them (WHATWG HTML, 13.2.6.4): a `<p>` at the next block, an `<li>` at the next
item, a cell at the next cell. An end tag without its start tag in the same cell is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from markupsafe import Markup, escape

from app.texts.html_tokens import Tag
from app.texts.hygiene import clean, is_visible
from app.texts.links import linked, target
from app.texts.text_part import FRAMED, TextPart

MAX_NESTED_TAGS = 30  # deeper tags are omitted, their text is kept
MAX_NESTED_ELEMENTS = 100  # with those that write no tag: tables that only lay out
MAX_HIDDEN_CHARS = 1000  # kept of what a mail hides, which inboxes show beside the subject
MAX_COLUMNS = 20  # of one cell

# Tables that only lay out become lines.
LINES = (
    *("tr", "td", "th", "caption", "section", "article", "header", "footer", "main", "nav", "aside"),
    *("address", "dl", "dt", "dd", "figure", "figcaption", "center", "form", "fieldset", "legend"),
    *("details", "summary"),
)
BLOCKS = frozenset(
    ("p", "div", "ul", "ol", "li", "blockquote", "pre", "h2", "h3", "h4", "td", "th", "caption")
)
# How each tag is written. Of other tags only the text is kept.
TAGS = {
    **{
        tag: tag
        for tag in (
            *("p", "div", "ul", "ol", "li", "blockquote", "pre", "h2", "h3", "h4"),
            *("a", "b", "strong", "i", "em", "u", "s", "code", "sup", "sub"),
        )
    },
    **dict.fromkeys(LINES, "div"),
    **{"h1": "h2", "h5": "h4", "h6": "h4", "del": "s", "strike": "s"},
}
GRID_TAGS = frozenset(("table", "tbody", "tr", "td", "th", "caption"))
"""Of a table that has rows of several cells, and no table inside."""
_KEYS = {
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "h"),
    **dict.fromkeys(("td", "th"), "cell"),
    **dict.fromkeys(("dt", "dd"), "dd"),
    **dict.fromkeys(("del", "strike"), "s"),
    "tr": "row",
}
_INLINE = frozenset(("a", "b", "strong", "i", "em", "u", "s", "code", "sup", "sub"))
_CELLS = frozenset(("cell", "caption"))
_TABLE_PARTS = frozenset(("row", "cell", "caption", "table"))
# What ends at the start of another of its kind, unless one of these is between.
_ENDS_ITSELF = {
    "li": frozenset(("ul", "ol", "blockquote", "pre", "h")),
    "dd": frozenset(("dl", "cell")),
}
ALIGNED = frozenset(("left", "right", "center"))
_COUNT = re.compile(r"\s*([+-]?[0-9]{1,6})")
_ALIGN_STYLE = re.compile(r"(?:^|;)\s*text-align\s*:\s*(left|right|center)\b", re.IGNORECASE)
LIST_KINDS = ("a", "A", "i", "I")


class _Element(NamedTuple):
    """An open element; `tag` is what is written of it, empty for a table that only lays out."""

    key: str
    tag: str
    framed: bool


class _Link(NamedTuple):
    url: str | None
    shown: list[str]
    """The text in it."""
    at: int
    """Where in the HTML its start tag is."""
    before: str = ""
    """The text in it, of the paragraphs before."""


class HtmlBody:
    """Writes the allowed parts of HTML."""

    def __init__(self) -> None:
        self.html: list[str] = []
        self.text = TextPart()
        self.hidden: list[str] = []
        self._open: list[_Element] = []
        self._counts: Counter[str] = Counter()  # of `_open`, by key
        self._tags = 0  # of `_open`, those that are written
        self._omitted: Counter[str] = Counter()
        self._links: list[_Link] = []  # a cell of a table may have links inside the table's

    def add(self, text: str) -> None:
        """Add text of the document, its references decoded."""
        text = clean(text.replace("\ufeff", ""))
        if text.strip():
            self._start_cell()
        if not self._links:
            self.html.append(str(linked(text)))
        else:
            self._links[-1].shown.append(text)
            self.html.append(str(escape(text)))
        self.text.add(text)

    def hide(self, text: str) -> None:
        """Keep text that isn't shown, some of it."""
        if sum(map(len, self.hidden[-50:])) < MAX_HIDDEN_CHARS and len(self.hidden) < 50:
            self.hidden.append(clean(text))

    def void(self, tag: str) -> None:
        """Add `br` or `hr`."""
        self._start_cell()
        if tag == "hr":
            self._end_paragraph()
            self.text.rule()
        else:
            self.text.line()
        self.html.append(f"<{tag}>")

    def area(self, url: str | None, alternative: str) -> None:
        """Add the link of a part of an image."""
        if url is not None:
            self._start_cell()
            self._start_link(url)
            self.add(alternative)
            self._close("a")

    def table(self, *, grid: bool) -> None:
        """Start a table; a `grid` is one that shows rows of cells."""
        self._end_paragraph()
        if len(self._open) >= MAX_NESTED_ELEMENTS:
            self._omitted["table"] += 1
            self.text.separate("table")
        elif grid and self._tags + 3 <= MAX_NESTED_TAGS:
            self._start("table", "table", "<table>")
        else:
            self._push(_Element("table", "", framed=False))
            self.text.separate("table")

    def start(self, tag: Tag) -> None:
        """Start an element of `TAGS`."""
        name = tag.name
        key = _KEYS.get(name, name)
        if key in _TABLE_PARTS:
            self._start_in_table(key, tag)
            return
        self._start_cell()
        if key == "a":
            self._start_link(target(tag.attribute("href")))
            return
        if key not in _INLINE:
            self._end_paragraph()
        if key == "h" and self._open and self._open[-1].key == "h":
            self._end_innermost()
        if key in _ENDS_ITSELF and self._has(key, _ENDS_ITSELF[key]):
            self._close_to(key)
        written, number, mark = TAGS[name], None, ""
        html = f"<{written}>"
        if key == "ol":
            number, mark = _number(tag, "start"), tag.attribute("type") or ""
            mark = mark if mark in LIST_KINDS else ""
            html = _with(written, start=number, type=mark or None)
        elif key == "li":
            number = _number(tag, "value")
            html = _with(written, value=number)
        elif key == "pre":
            html += "\n"  # a parser drops it
        self._start(key, written, html, number, mark)

    def close(self, name: str) -> None:
        """End the innermost open element of this name, if there is one, and all inside it."""
        self._close(_KEYS.get(name, name))

    def row_group(self) -> None:
        """Start or end a group of rows."""
        if self._has("row", frozenset(("table",))):
            self._close_to("row")

    def end(self) -> None:
        """End all that is open."""
        while self._open:
            self._end_innermost()

    def _start_in_table(self, key: str, tag: Tag) -> None:
        for ended in ("cell", "caption", *(("row",) if key != "cell" else ())):
            if self._has(ended, frozenset(("table",))):
                self._close_to(ended)
        if self._in_grid():
            if key == "cell":
                columns = min(max(_number(tag, "colspan") or 1, 1), MAX_COLUMNS)
                align = _alignment(tag) or ("left" if tag.name == "th" else None)
                html = _with(tag.name, align=align, colspan=columns if columns > 1 else None)
                self._start(key, tag.name, html, columns)
            else:
                self._start(key, tag.name, f"<{tag.name}>")
        elif key == "row":
            self.html.append("\n")  # separates words, of what is in no cell
            self.text.separate(key)
        else:
            self._end_paragraph()
            self._start(key, "div", "<div>", framed=False)

    def _start_cell(self) -> None:
        """Put what is outside of the cells of a grid into one: browsers would show it before the table."""
        if self._open and self._open[-1].key in ("table", "row") and self._open[-1].tag:
            if self._open[-1].key == "table":
                self._start("row", "tr", "<tr>")
            self._start("cell", "td", "<td>")

    def _in_grid(self) -> bool:
        innermost = next((each for each in reversed(self._open) if each.key == "table"), None)
        return innermost is not None and innermost.tag != ""

    def _start_link(self, url: str | None) -> None:
        self._close("a")  # HTML has no links inside links
        if self._tags > MAX_NESTED_TAGS:
            return
        self._continue_link(_Link(url, [], 0))

    def _start(
        self,
        key: str,
        tag: str,
        html: str,
        number: int | None = None,
        mark: str = "",
        *,
        framed: bool | None = None,
    ) -> None:
        """Start an element. One that is nested too deep is left out; it still separates words."""
        if self._tags >= MAX_NESTED_TAGS or len(self._open) >= MAX_NESTED_ELEMENTS:
            self._omitted[key] += 1
            if key not in _INLINE:
                self.add(" ")
                self.text.separate(key)
            return
        framed = key in FRAMED if framed is None else framed
        self.html.append(html)
        self._push(_Element(key, tag, framed or key == "row"))
        if framed or key == "row":
            self.text.open(key, number, mark)
        else:
            self.text.separate(key)

    def _push(self, element: _Element) -> None:
        self._open.append(element)
        self._counts[element.key] += 1
        self._tags += element.tag != ""

    def _pop(self) -> _Element:
        element = self._open.pop()
        self._counts[element.key] -= 1
        self._tags -= element.tag != ""
        return element

    def _end_paragraph(self) -> None:
        """A paragraph ends where a block begins. A link in it continues after it, as in browsers."""
        if not self._counts["p"]:
            return
        link = None
        for each in reversed(self._open):
            if each.key == "p":
                break
            if each.key in _TABLE_PARTS:
                return
            if each.key == "a":
                link = self._links[-1]
        else:
            return
        while self._open[-1].key != "p":
            element = self._pop()
            if element.key == "a":
                self._end_tag_of(self._links.pop())
            else:
                self.html.append(f"</{element.tag}>")
        self._end_innermost()
        if link is not None:
            self._continue_link(_Link(link.url, [], 0, link.before + "".join(link.shown)))

    def _end_tag_of(self, link: _Link) -> None:
        """Where it shows nothing, leave the link out: it shows something before or behind."""
        if is_visible("".join(link.shown)):
            self.html.append("</a>")
        else:
            self.html[link.at] = ""

    def _continue_link(self, link: _Link) -> None:
        self._links.append(link._replace(at=len(self.html)))
        self.html.append(_with("a", href=link.url))
        self._push(_Element("a", "a", framed=False))

    def _close(self, key: str) -> None:
        if self._omitted[key]:
            self._omitted[key] -= 1
            self.text.separate(key)
        elif self._has(key, _barriers(key)):
            self._close_to(key)

    def _has(self, key: str, barriers: frozenset[str]) -> bool:
        if not self._counts[key]:
            return False
        for each in reversed(self._open):
            if each.key == key:
                return True
            if each.key in barriers or (each.framed and each.key in _CELLS and key not in _TABLE_PARTS):
                return False
        return False

    def _close_to(self, key: str) -> None:
        while self._end_innermost() != key:
            pass

    def _end_innermost(self) -> str:
        element = self._pop()
        if element.key == "a":
            self._end_link(self._links.pop())
        elif element.tag:
            self.html.append(f"</{element.tag}>")
        if element.framed:
            self.text.close(element.key)
        else:
            self.text.separate(element.key)
        return element.key

    def _end_link(self, link: _Link) -> None:
        """A link that shows nothing shows its address; the text part has the address of every link."""
        shown = (link.before + "".join(link.shown)).strip()
        if link.url is not None and not is_visible(shown):
            self.html.append(str(escape(link.url)))
            self.text.add_address(link.url)
        elif link.url is not None and shown != link.url and f"mailto:{shown}" != link.url:
            self.text.add_behind(f" ({link.url})")
        if is_visible(link.before):
            self._end_tag_of(link)
        else:
            self.html.append("</a>")


def _barriers(key: str) -> frozenset[str]:
    """Elements out of which an end tag doesn't reach."""
    if key in _INLINE or key == "table":
        return frozenset()
    return frozenset(("table",)) if key in _TABLE_PARTS else _CELLS | {"table"}


def _with(tag: str, **attributes: object) -> str:
    """A start tag with those attributes that have a value."""
    if not any(value is not None for value in attributes.values()):
        return f"<{tag}>"
    given = "".join(
        Markup(' {}="{}"').format(name, value) for name, value in attributes.items() if value is not None
    )
    return f"<{tag}{given}>"


def _number(tag: Tag, name: str) -> int | None:
    found = _COUNT.match(tag.attribute(name) or "")
    return int(found[1]) if found else None


def _alignment(tag: Tag) -> str | None:
    style = _ALIGN_STYLE.search(tag.attribute("style") or "")
    given = (style[1] if style else tag.attribute("align") or "").lower()
    return given if given in ALIGNED else None
