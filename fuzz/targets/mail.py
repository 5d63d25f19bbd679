"""What people are sent: templates, cleaned HTML, headers."""

from __future__ import annotations

import re
from collections import Counter
from email import message_from_bytes
from email.policy import default
from functools import cache
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from app.dev.mail_samples import SAMPLES
from app.domain.addresses import Mailbox
from app.outbox.channel import Attachment
from app.outbox.email.message import build, sender, to_bytes
from app.texts.brand import Brand
from app.texts.html_body import BLOCKS, GRID_TAGS, TAGS
from app.texts.hygiene import single_line
from app.texts.i18n import LOCALES
from app.texts.links import target
from app.texts.markup import _STYLES, as_text, safe_html
from app.texts.rendering import MAX_SUBJECT_CHARS, MailRenderer, UnfitData, sms_text
from fuzz.hostile import NASTY, TEXTS
from fuzz.target import Target

UNSUBSCRIBE = "https://hub.example/unsubscribe/"
_BRAND = Brand("Hub", "#0b6e99", None, "The Hub, Hà Nội")
_RENDERER = MailRenderer(_BRAND)
_TEMPLATES = sorted(SAMPLES)
_HEADERS = ("Message-ID", "Date", "From", "To", "Subject", "Auto-Submitted", "List-Unsubscribe")
_ALL_HEADERS = {*_HEADERS, "List-Unsubscribe-Post", "MIME-Version", "Content-Type"}
_ORIGIN = sender("Hub <no-reply@hub.example>")
_FREE = frozenset(("p", "br", "a"))  # as many as a text has paragraphs, lines and web addresses

Element = tuple[str, tuple[tuple[str, str | None], ...]]


class _Reader(HTMLParser):
    """The elements of HTML. Links are checked and left out of them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[Element] = Counter()
        self.open: list[str] = []
        self.other: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert name != "href" or target(value) == value, f"a link to {value!r}"
        self.elements[tag, tuple(sorted((n, v) for n, v in attrs if n != "href"))] += 1
        if tag not in ("br", "hr", "meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag, f"</{tag}> ends another"

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open, f"{reader.open} end nowhere"
    return reader


def check_rendering(data: bytes) -> None:
    """Bytes 0 to 2: template, locale, which field of its data; the rest is what it holds."""
    if len(data) < 3:
        return
    template, locale = _TEMPLATES[data[0] % len(_TEMPLATES)], LOCALES[data[1] % len(LOCALES)]
    text = data[3:].decode("utf-8", "surrogateescape" if data[1] & 0x80 else "replace")
    sample = SAMPLES[template]
    field = sorted(sample)[data[2] % len(sample)]
    filled: dict[str, Any] = {**sample, field: [text, text] if isinstance(sample[field], list) else text}
    if data[1] & 0x40 and template == "plain":
        filled |= {"html": text}
    try:
        mail = _RENDERER.render(template, locale, filled, UNSUBSCRIBE)
    except UnfitData as error:
        assert text not in str(error) or len(text) < 8, "the error shows a value"
        return
    known = _elements(template, locale)
    found = _read(mail.html)
    assert found.other == known.other, "a comment or declaration was put in"
    injected = found.elements - known.elements
    allowed = _FREE | _CLEAN if "html" in filled else _FREE
    for tag, attributes in injected:
        assert tag in allowed, f"<{tag}> was put in"
        _check_attributes(tag, attributes, known)
    for line in (mail.subject, *sms_text(template, locale, filled).splitlines()):
        assert line == single_line(line), "more than one line, or control characters in one"
    assert len(mail.subject) <= MAX_SUBJECT_CHARS
    check_message(to_bytes(message(mail)), mail.subject)


_CLEAN = frozenset(TAGS.values()) | GRID_TAGS | {"br", "hr"}
_OWN = {
    "ol": re.compile(r"(start -?[0-9]+|type [aAiI])"),
    "li": re.compile(r"value -?[0-9]+"),
    **dict.fromkeys(("td", "th"), re.compile(r"align (left|right|center)|colspan [0-9]{1,2}")),
}
"""What a tag keeps of its attributes, beside those that the hub sets."""


def _check_attributes(tag: str, attributes: Any, known: _Reader) -> None:
    styled = _written(tag)
    others = {each for name, each in known.elements if name == tag}
    assert _without_own(tag, attributes) in ((), styled) or attributes in others, f"<{tag}> with {attributes}"


def _without_own(tag: str, attributes: Any) -> Any:
    own = _OWN.get(tag)
    return tuple(each for each in attributes if own is None or not own.fullmatch(" ".join(map(str, each))))


def _written(tag: str) -> tuple[tuple[str, str], ...]:
    """The attributes of a tag of a service's HTML."""
    direction = (("dir", "auto"),) if tag in BLOCKS else ()
    return (*direction, *((("style", _STYLES[tag]),) if tag in _STYLES else ()))


@cache
def _elements(template: str, locale: str) -> _Reader:
    """What the template shows of harmless data."""
    known = _read(_RENDERER.render(template, locale, SAMPLES[template], UNSUBSCRIBE).html)
    if template == "plain":
        with_html = {**SAMPLES[template], "html": ""}
        known.elements |= _read(_RENDERER.render(template, locale, with_html, UNSUBSCRIBE).html).elements
    return known


def message(mail: Any, attachments: tuple[Attachment, ...] = ()) -> Any:
    """The mail as the hub builds it."""
    return build(
        mail,
        _ORIGIN,
        Mailbox("user", "example.com"),
        message_id=f"{UUID(int=1)}@hub.example",
        unsubscribe=UNSUBSCRIBE,
        attachments=attachments,
    )


def check_message(written: bytes, subject: str) -> None:
    """Its headers are the hub's and no others, and its lines are what SMTP takes."""
    head = written.partition(b"\r\n\r\n")[0]
    assert all(len(line) <= 998 for line in written.split(b"\r\n")), "a line is too long for SMTP"
    assert b"\n" not in written.replace(b"\r\n", b""), "a line feed without carriage return"
    assert b"\r" not in written.replace(b"\r\n", b""), "a carriage return without line feed"
    read = message_from_bytes(head + b"\r\n\r\n", policy=default)
    assert {*read.keys()} == _ALL_HEADERS, f"headers: {read.keys()}"
    assert len(read.keys()) == len(_ALL_HEADERS), "a header came twice"
    assert " ".join(str(read["Subject"]).split()) == " ".join(subject.split()), "the subject is another"


def check_markup(data: bytes) -> None:
    """HTML of a service's, cleaned; and as text."""
    html = data.decode("utf-8", "replace")
    clean = str(safe_html(html))
    found = _read(clean)
    assert not found.other, "a comment or declaration came through"
    for tag, attributes in found.elements:
        assert tag in _CLEAN, f"<{tag}> came through"
        assert _without_own(tag, attributes) == _written(tag), f"<{tag}> {attributes}"
    assert str(safe_html(clean)) == clean, "cleaned again it is something else"
    assert len(as_text(html)) <= 20 * len(html) + 20, "indentation has no bound"


_TEXT = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))
_HTML = st.lists(
    st.sampled_from(
        [
            *NASTY,
            "<p>",
            "</p>",
            "<a href='https://a.example'>",
            "</a>",
            "<a href=javascript:x>",
            "<td>",
            "<table><tr><td align=right>",
            "<th colspan=3>",
            "</table>",
            "<ol start=3 type=a><li value=2>",
            "<blockquote>",
            "<br>",
            "<pre>",
            "</pre>",
            "<h1>",
            "<h2 style=x>",
            "<svg>",
            "<style>",
            "</style>",
            "&lt;",
            "&#60;b&#62;",
            "&amp;lt;",
            "<ul><li>",
            "<![CDATA[",
            "<?php",
            "<div/",
            "<b",
            "&",
            "&#x",
            "<!-- -->",
            "<textarea>",
        ]
    )
    | TEXTS,
    max_size=8,
).map("".join)
_MARKS = [b"<", b">", b"</", b"<!--", b"-->", b"<script>", b"<a href=", b"'", b'"', b"&lt;", b"&#", b"<p>"]
TARGETS = (
    Target(
        "rendering",
        "every template, locale and field: no element, attribute or header comes out that isn't the "
        "template's (or of the short list that services' HTML is reduced to); links are those of `target`",
        check_rendering,
        st.tuples(st.binary(min_size=3, max_size=3), _TEXT | _HTML.map(str.encode)).map(b"".join),
        [*_MARKS, b"{{", b"{%", b"%(", b"\r\n", b"=?utf-8?q?", b"https://"],
        longest=16 * 1024,
        weight=0.05,
    ),
    Target(
        "markup",
        "HTML comes out as simple tags without attributes, nested rightly; cleaned again it stays the same",
        check_markup,
        _HTML.map(str.encode),
        [*_MARKS, b"<br>", b"<table>", b"<td>", b"</td>", b"<svg>", b"<pre>", b"https://a.example"],
        longest=200_000,
    ),
)
