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
from markupsafe import Markup

from app.texts.html_body import ALIGNED, BLOCKS, GRID_TAGS, LIST_KINDS, TAGS, HtmlBody
from app.texts.html_tokens import Tag, tokens
from app.texts.hygiene import is_visible
from app.texts.links import LINK_STYLE, target

_STYLES = {
    "a": LINK_STYLE,
    "pre": "white-space:pre-wrap",
    **dict.fromkeys(("sup", "sub"), "line-height:0"),  # or the line is higher than the others
    "h2": "font-size:18px",  # smaller than the mail's own heading
    **dict.fromkeys(("h3", "h4"), "font-size:16px"),
    "table": "border-collapse:collapse;margin:0 0 16px",
    **dict.fromkeys(("td", "th"), "padding:4px 16px 4px 0;vertical-align:top"),
}
_VOID = frozenset(("br", "hr"))
_ROW_GROUPS = frozenset(("thead", "tbody", "tfoot"))
_LEFT_OUT = frozenset(
    (
        *("script", "style", "title", "template", "textarea", "noscript", "svg", "math", "iframe"),
        *("xmp", "noembed", "noframes", "select"),
    )
)
"""What is in a video or object is shown: it is for programs that don't play it, and mail plays none."""
_CAN_BE_HIDDEN = frozenset((*TAGS, "span", "font", "table", "tbody", "label", "small")) - {"b", "i"}
_HIDDEN = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?![.\d]))", re.IGNORECASE
)
_FLAT = re.compile(r"(?:^|;)\s*max-height\s*:\s*0(?:px)?\s*(?:!\s*important\s*)?(?:;|$)", re.IGNORECASE)
_SANITIZER = nh3.Cleaner(
    tags=_VOID.union(TAGS.values(), GRID_TAGS),
    clean_content_tags=set(),  # the first step has removed what is hidden
    attributes={
        "a": {"href"},
        "ol": {"start"},
        "li": {"value"},
        "td": {"colspan"},
        "th": {"colspan"},
    },
    tag_attribute_values={
        "ol": {"type": set(LIST_KINDS)},
        "td": {"align": set(ALIGNED)},
        "th": {"align": set(ALIGNED)},
    },
    url_schemes={"http", "https", "mailto", "tel"},
    link_rel=None,
    set_tag_attribute_values={
        tag: {"dir": "auto"} | ({"style": _STYLES[tag]} if tag in _STYLES else {}) for tag in BLOCKS
    }
    | {tag: {"style": _STYLES[tag]} for tag in ("a", "sup", "sub", "table")},
)
_STRUCTURE = re.compile(r"<(/?)(table|t[rdh]|thead|tbody|tfoot|caption)(?=[\s/>])[^>]*+>", re.IGNORECASE)
_NOTHING = re.compile(r"(?:<(?!img)[^>]*+>|&(?:nbsp|#160|zwnj|#8204|#847);|\s)*+", re.IGNORECASE)
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
    page = HtmlBody()
    _rewrite(html, page)
    page.end()
    sanitised = Markup(_SANITIZER.clean("".join(page.html)))  # noqa: S704 - nh3 has filtered it
    hidden = " ".join(_FILLERS.sub(" ", "".join(page.hidden)).split())
    return HtmlMail(sanitised, page.text.text(), hidden)


def safe_html(html: str) -> Markup:
    """`html` sanitised for a mail."""
    return read_html(html).html


def as_text(html: str) -> str:
    """`html` as plain text, with the addresses of its links."""
    return read_html(html).text


def hidden_text(html: str) -> str:
    """What `html` hides from the mail for inboxes to show; empty if it does that with nothing."""
    return read_html(html).hidden


def _rewrite(html: str, page: HtmlBody) -> None:
    at: int | None = 0
    while at is not None:
        at = _rewrite_from(html, at, page)


def _rewrite_from(html: str, at: int, page: HtmlBody) -> int | None:
    """Write what begins at `at`. Return where to go on, behind what is left out; None at the end."""
    for token in tokens(html, at):
        if isinstance(token, str):
            page.add(unescape(token))
        elif token.closing:
            _end_tag(token.name, page)
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
        elif token.name == "table":
            page.table(grid=_is_grid(html, token.end))
        elif token.name in _ROW_GROUPS:
            page.row_group()
        elif token.name in TAGS:
            page.start(token)
    return None


def _end_tag(name: str, page: HtmlBody) -> None:
    if name in TAGS or name == "table":
        page.close(name)
    elif name in _ROW_GROUPS:
        page.row_group()
    elif name == "br":  # as browsers do
        page.void("br")


def _is_grid(html: str, at: int) -> bool:
    """Whether the table whose content begins at `at` has a row of several cells, and no table inside."""
    found_row, cells, cell_at = False, 0, -1
    for found in _STRUCTURE.finditer(html, at):
        if cell_at >= 0:
            nothing = _NOTHING.match(html, cell_at, found.start())
            cells += nothing is not None and nothing.end() < found.start()
        found_row = found_row or cells > 1
        name = found[2].lower()
        if name == "table":
            return found_row and found[1] == "/"
        in_row = name in ("td", "th")
        cell_at = found.end() if in_row and not found[1] else -1
        cells = cells if in_row else 0
    return False


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


def _hide(html: str, opened: Tag, page: HtmlBody) -> int | None:
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
