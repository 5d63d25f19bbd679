"""What mail and SMS say, in every language; and that nothing in an event becomes more than text."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dev import catalogues
from app.dev.mail_samples import SAMPLES
from app.texts.brand import Brand
from app.texts.colors import DARK, LIGHT, contrast, edge_on, ink_on
from app.texts.hygiene import has_unwanted
from app.texts.i18n import LOCALES
from app.texts.links import is_link
from app.texts.markup import as_text, safe_html
from app.texts.rendering import (
    MAX_SUBJECT_CHARS,
    TEMPLATES,
    Mail,
    MailRenderer,
    UnfitData,
    UnknownTemplate,
    one_line,
    sms_text,
)

BRAND = Brand("Notification hub", "#0b6e99", None, "Example Ltd")
UNSUBSCRIBE = "https://example.com/unsubscribe?a=1&b=2"
READABLE = 4.5  # WCAG 2.2, 1.4.3
GMAIL_CLIPS = 102 * 1024  # bytes
VOID = {"meta", "br", "hr", "img"}
OTP = ("otp_register", "otp_reset_password", "otp_change_email", "otp_confirm_address")
REQUIRED = {
    "booking_confirmation": {"booking_id"},
    "booking_cancellation": {"booking_id"},
    "payment_success": {"booking_id"},
    "payment_failed": {"booking_id"},
    "payment_refund": {"booking_id"},
    "low_stock": {"product_name"},
    "digest": {"entries", "count"},
}
"""Of the templates where not every field of the sample is."""

every_mail = pytest.mark.parametrize(
    ("template", "locale"), [(template, locale) for template in sorted(TEMPLATES) for locale in LOCALES]
)


def render(
    template: str, locale: str = "en", unsubscribe: str | None = None, brand: Brand = BRAND, **data: Any
) -> Mail:
    """The mail of a template's sample, but for `data`."""
    return MailRenderer(brand).render(template, locale, {**SAMPLES[template], **data}, unsubscribe)


class Piece(NamedTuple):
    """Text that is seen, and its colours."""

    text: str
    color: str
    surface: str


class Page(HTMLParser):
    """A mail as a client reads it. Fails on a tag that isn't closed, or closed out of order."""

    def __init__(self, html: str, *, dark: bool = False) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[tuple[str, str]] = set()
        self.links: list[str] = []
        self.pieces: list[Piece] = []
        self.language: str | None = None
        self._open: list[tuple[str, dict[str, str]]] = []
        self._dark = _dark_rules(html) if dark else {}
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return "\n".join(piece.text for piece in self.pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes |= {(tag, name) for name in given}
        self.links += [given["href"]] if "href" in given else []
        self.language = self.language or given.get("lang")
        style = {**(self._open[-1][1] if self._open else {}), **_declarations(given.get("style", ""))}
        for name in given.get("class", "").split():
            style |= self._dark.get(name, {})
        if tag not in VOID:
            self._open.append((tag, style))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = {tag for tag, _ in self._open}
        style = self._open[-1][1] if self._open else {}
        if data.strip() and not tags & {"style", "title"} and style.get("display") != "none":
            self.pieces.append(Piece(data.strip(), style["color"], style["background-color"]))


def _declarations(style: str) -> dict[str, str]:
    pairs = (declaration.partition(":") for declaration in style.split(";") if declaration)
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip() != "inherit"}


def _dark_rules(html: str) -> dict[str, dict[str, str]]:
    block = html.partition("@media (prefers-color-scheme: dark)")[2].partition("</style>")[0]
    found = re.findall(r"\.(\w+) \{(.*?)\}", block)
    return {name: _declarations(style.replace("!important", "")) for name, style in found}


def _texts(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _texts(value)


def test_every_template_has_a_sample() -> None:
    assert set(SAMPLES) == TEMPLATES


@every_mail
def test_the_html_is_well_formed_and_small_and_says_its_language(template: str, locale: str) -> None:
    mail = render(template, locale, UNSUBSCRIBE)
    page = Page(mail.html)
    assert page.language == locale
    assert mail.subject in page.text
    assert len(mail.html.encode()) < GMAIL_CLIPS
    assert page.tags.count("h1") == 1
    assert not {"script", "link", "iframe", "form", "object"} & set(page.tags)
    assert "@import" not in mail.html
    assert "url(" not in mail.html


@every_mail
def test_the_text_part_says_all_that_the_html_says(template: str, locale: str) -> None:
    mail = render(template, locale, UNSUBSCRIBE)
    page = Page(mail.html)
    for piece in page.pieces:
        assert piece.text in mail.text
    for link in page.links:
        assert link in mail.text


@every_mail
def test_what_the_event_says_is_shown(template: str, locale: str) -> None:
    worded = ("card_declined", "credit_card")
    mail = render(template, locale)
    for text in _texts(SAMPLES[template]):
        for line in text.split("\n"):
            if text not in worded:
                assert line in mail.text
                assert line in Page(mail.html).text or line in Page(mail.html).links


@pytest.mark.parametrize("template", sorted(TEMPLATES - {"plain"}))
def test_nothing_but_data_is_the_same_in_two_languages(template: str) -> None:
    data = {*_texts(SAMPLES[template]), "A1, A2", "25.50", "25,50", "3", "10", BRAND.name, BRAND.footer}
    said = [
        {piece.text for piece in Page(render(template, locale, UNSUBSCRIBE).html).pieces} - data
        for locale in LOCALES
    ]
    assert len(set.union(*said)) == sum(len(texts) for texts in said)
    assert len({render(template, locale).subject for locale in LOCALES}) == len(LOCALES)


def test_the_translators_tool_finds_the_texts_of_templates() -> None:
    found = {message.id for message in catalogues.extract()}
    assert "Unsubscribe" in found
    assert any(isinstance(text, tuple) and "%(minutes)d" in text[0] for text in found)


@pytest.mark.parametrize("template", OTP)
@pytest.mark.parametrize("locale", LOCALES)
def test_a_code_is_in_one_piece_and_not_where_others_see_it(template: str, locale: str) -> None:
    mail = render(template, locale)
    assert [piece.text for piece in Page(mail.html).pieces].count("482913") == 1
    assert mail.html.count("482913") == 1  # not in the preheader, which is shown on locked screens
    assert "\n482913\n" in mail.text
    assert "482913" not in mail.subject
    assert "482913" in sms_text(template, locale, SAMPLES[template])
    assert "10" in mail.text


@pytest.mark.parametrize(
    ("locale", "minutes", "words"),
    [
        ("en", 1, "1 minute "),
        ("en", 10, "10 minutes "),
        ("ru", 1, "1 минуту"),
        ("ru", 3, "3 минуты"),
        ("ru", 10, "10 минут "),
        ("vi", 10, "10 phút"),
    ],
)
def test_minutes_are_counted_as_the_language_does(locale: str, minutes: int, words: str) -> None:
    assert words in render("otp_register", locale, minutes=minutes).text


@pytest.mark.parametrize(
    ("locale", "amount", "shown"),
    [
        ("en", 25.5, "25.50"),
        ("vi", 25.5, "25,50"),
        ("ru", 25.5, "25,50"),
        ("en", 125000, "125,000"),
        ("vi", 125000.0, "125.000"),
        ("ru", 125000, "125\xa0000"),
        ("en", 1.2345, "1.2345"),
        ("en", -3, "-3"),
        ("vi", "25.50 USD", "25.50 USD"),
        ("en", float("nan"), "nan"),
        ("en", True, "True"),
    ],
)
def test_amounts_are_written_as_people_write_them(locale: str, amount: object, shown: str) -> None:
    mail = render("payment_success", locale, amount=amount)
    assert shown in [piece.text for piece in Page(mail.html).pieces]


def test_a_reason_is_put_into_words_and_one_without_words_is_shown() -> None:
    assert "The card was declined." in render("payment_failed").text
    assert "Thẻ đã bị từ chối." in render("payment_failed", "vi").text
    for reason in ("issuer_unreachable", "keys", "__class__"):
        assert reason in render("payment_failed", reason=reason).text
    assert "\nPayment method: wallet\n" in render("payment_refund", payment_method="wallet").text


def test_a_failed_payment_can_be_tried_again() -> None:
    url = "https://example.com/pay?a=1&b=%22"
    mail = render("payment_failed", retry_url=url)
    assert Page(mail.html).links == [url]
    assert url in sms_text("payment_failed", "en", {**SAMPLES["payment_failed"], "retry_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\x00script:alert(1)",
        "java\nscript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "//example.com/",
        "/pay",
        "https:///pay",
        "https://",
        "http:example.com",
        "https://example.com\\@evil.example/",
        "https://bank.example@evil.example/",
        'https://example.com/"onmouseover="alert(1)',
        "https://example.com/ x",
        "https://[example.com/",
        "https://example.com/" + "x" * 2000,
        "",
        None,
        7,
        ["https://example.com"],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_only_whole_web_addresses_become_links(url: object) -> None:
    mail = render("payment_failed", retry_url=url)
    assert Page(mail.html).links == []
    assert "Try the payment again" not in mail.text
    assert not is_link(url)


def test_the_footer_offers_to_unsubscribe_only_where_there_is_a_url() -> None:
    assert Page(render("plain", unsubscribe=UNSUBSCRIBE).html).links == [UNSUBSCRIBE]
    without = render("plain")
    assert "nsubscribe" not in without.html + without.text
    assert Page(render("plain", unsubscribe="javascript:alert(1)").html).links == []


HOSTILE = [
    "{{ 7*7 }}{% raw %}",
    "{{ data.__class__.__mro__ }} {# x #}",
    "%(minutes)d %s %(code)s 100%",
    "<script>alert(1)</script>",
    "</style></title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' style='background:url(//evil.example)",
    "--><svg onload=alert(1)>",
    "&lt;b&gt; &amp;",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_data_is_text_whatever_it_holds(template: str, text: str) -> None:
    def hostile(value: Any) -> Any:
        if isinstance(value, list) and isinstance(value[0], dict):  # the messages of a digest
            return [{key: it if key == "url" else text for key, it in each.items()} for each in value]
        return text if isinstance(value, str) else [text] if isinstance(value, list) else value

    data = {name: hostile(value) for name, value in SAMPLES[template].items()}
    mail = MailRenderer(BRAND).render(template, "en", data)
    page, plain = Page(mail.html), Page(render(template, retry_url=None).html)
    assert set(page.tags) == set(plain.tags) - ({"br"} if template == "plain" else set())
    assert page.attributes == plain.attributes
    assert text in page.text
    assert text in mail.text


@pytest.mark.parametrize("text", HOSTILE)
def test_the_brand_is_text_too(text: str) -> None:
    page = Page(render("plain", brand=Brand(text, "#0b6e99", f"https://example.com/{text}", text)).html)
    assert set(page.tags) - {"img"} == set(Page(render("plain").html).tags)
    assert {name for tag, name in page.attributes if tag == "img"} == {"src", "alt", "height", "style"}


def test_the_logo_is_shown_instead_of_the_name() -> None:
    html = render("plain", brand=BRAND._replace(logo_url="https://example.com/logo.png")).html
    assert re.search(r'<img src="https://example.com/logo.png" alt="Notification hub"', html)
    assert "Notification hub" not in Page(html).text


@given(st.text() | st.text(st.sampled_from("a\r\n\x00\x0b\x1c\x85\u2028\u202e: ")))
def test_a_subject_adds_no_header_whatever_the_event_holds(title: str) -> None:
    subject = render("plain", title=f"x{title}").subject
    assert 0 < len(subject) <= MAX_SUBJECT_CHARS
    assert subject.splitlines() == [subject]
    assert not has_unwanted(subject)
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content("text")
    headers = message.as_bytes().partition(b"\n\n")[0]
    names = [line.partition(b":")[0] for line in headers.splitlines() if not line.startswith(b" ")]
    assert names == [b"Subject", b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version"]


def test_header_injection_stays_in_the_subject() -> None:
    subject = render("plain", title="Hi\r\nBcc: all@example.com\n\n<html>").subject
    assert subject == "Hi Bcc: all@example.com <html>"


def test_a_long_subject_is_cut_and_an_emoji_left_whole() -> None:
    assert render("plain", title="x" * 1000).subject == "x" * (MAX_SUBJECT_CHARS - 1) + "…"
    assert render("plain", title="👩\u200d🍳 cooks").subject == "👩\u200d🍳 cooks"


@given(st.text(st.characters(exclude_categories=[])))
def test_every_text_can_be_sent(text: str) -> None:
    for part in render("plain", title=f"x{text}", message=text):
        part.encode()


@pytest.mark.parametrize(
    ("template", "field"),
    [(template, field) for template in sorted(TEMPLATES) for field in SAMPLES[template]],
)
def test_missing_data_is_named(template: str, field: str) -> None:
    data = {name: value for name, value in SAMPLES[template].items() if name != field}
    if field not in REQUIRED.get(template, SAMPLES[template]):
        mail = MailRenderer(BRAND).render(template, "en", data)
        assert mail == MailRenderer(BRAND).render(template, "en", data | {field: None})
        assert "None" not in mail.text + sms_text(template, "en", data)
        return
    with pytest.raises(UnfitData, match=rf"^{template}: .*'{field}'"):
        MailRenderer(BRAND).render(template, "en", data)


def test_an_error_holds_no_value() -> None:
    with pytest.raises(UnfitData) as caught:
        render("otp_register", minutes="482913 minutes")
    assert "482913" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["nothing", "_otp", "../templates/plain", "plain.jinja", ""])
def test_an_unknown_template_is_an_error(name: str) -> None:
    with pytest.raises(UnknownTemplate):
        MailRenderer(BRAND).render(name, "en", {})
    with pytest.raises(UnknownTemplate):
        sms_text(name, "en", {})


def test_a_language_without_texts_is_an_error() -> None:
    with pytest.raises(UnfitData, match="vi, en, ru"):
        render("plain", "fr")


@every_mail
def test_an_sms_is_short_and_plain(template: str, locale: str) -> None:
    text = sms_text(template, locale, SAMPLES[template])
    assert text.startswith(render(template, locale).subject)
    assert 2 <= len(text.splitlines()) <= 4
    assert len(text) < 320
    assert "<" not in text


colors = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)


@given(colors)
def test_text_is_readable_on_any_brand_color_in_light_and_dark(color: str) -> None:
    brand = Brand("Hub", color, None, "Example Ltd")
    html = render("payment_failed", unsubscribe=UNSUBSCRIBE, brand=brand).html
    for page in (Page(html), Page(html, dark=True)):
        assert len(page.pieces) > 10
        for piece in page.pieces:
            assert contrast(piece.color, piece.surface) >= READABLE, piece


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_dark_is_dark(template: str) -> None:
    html = render(template, unsubscribe=UNSUBSCRIBE).html
    light, dark = Page(html).pieces, Page(html, dark=True).pieces
    for before, after in zip(light, dark, strict=True):
        if before.surface != BRAND.color:
            assert contrast(before.surface, "#ffffff") < 1.5
            assert contrast(after.surface, "#000000") < 2
            assert contrast(after.color, after.surface) >= READABLE


@given(colors)
def test_a_button_stands_out_from_the_card(color: str) -> None:
    for surface in (LIGHT.card, DARK.card):
        assert contrast(edge_on(surface, color), surface) >= 1.6
    assert contrast(ink_on(color), color) >= READABLE


def test_contrast_is_as_wcag_defines_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert ink_on("#ffff00") == "#000000"
    assert ink_on("#0b6e99") == "#ffffff"


TABLE = 'style="border-collapse:collapse;margin:0 0 16px"'
CELL = 'style="padding:4px 16px 4px 0;vertical-align:top"'


@pytest.mark.parametrize(
    ("html", "safe", "text"),
    [
        ("<p>One</p><p><b>Two</b><br>three</p>", "<p>One</p><p><b>Two</b><br>three</p>", "One\n\nTwo\nthree"),
        ("<ul><li>a<li>b</ul>", "<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("a <script>alert(1)</script>b", "a b", "a b"),
        ("a<script>alert(1)", "a", "a"),
        ("<style>p{}</style><title>t</title>x", "x", "x"),
        ("<svg><style><img src=x></style></svg>x", "x", "x"),
        ('<img src=x onerror="alert(1)">x', "x", "x"),
        ('<p onclick="x" style="color:red" class="text">y</p>', "<p>y</p>", "y"),
        ('<a href="javascript:alert(1)">x</a>', '<a style="color:inherit">x</a>', "x"),
        (
            '<a href="https://example.com/?a=1&amp;b=2" target=x>x</a>',
            '<a href="https://example.com/?a=1&amp;b=2" style="color:inherit">x</a>',
            "x (https://example.com/?a=1&b=2)",
        ),
        ("</td></tr></table></div>x", "x", "x"),
        ("<table><tr><td>1</td></tr><tr><td>2</table>", "\n<div>1</div>\n<div>2</div>", "1\n2"),
        ("<td>1</td><td>2", "<div>1</div><div>2</div>", "1\n2"),
        (
            "<table onclick=x><tr><td style=x align=right>1</td><th colspan=2>2</table></td></table>x",
            f'<table {TABLE}><tbody><tr><td align="right" {CELL}>1</td>'
            f'<th align="left" colspan="2" {CELL}>2</th></tr></tbody></table>x',
            "1   2\n\nx",
        ),
        ("<p><b>x", "<p><b>x</b></p>", "x"),
        ("<b><i>x</b>y</i>", "<b><i>x</i></b>y", "xy"),
        ("1 < 2 & 3 &lt;b&gt;", "1 &lt; 2 &amp; 3 &lt;b&gt;", "1 < 2 & 3 <b>"),
        ("<!-- c --><!doctype html><?php ?>x", "x", "x"),
        ("{{ 7*7 }}", "{{ 7*7 }}", "{{ 7*7 }}"),
        ("<pre>a  b\nc</pre>", '<pre style="white-space:pre-wrap">a  b\nc</pre>', "a  b\nc"),
    ],
    ids=lambda value: value[:30],
)
def test_html_of_a_service_is_sanitised(html: str, safe: str, text: str) -> None:
    assert safe_html(html).replace(' dir="auto"', "") == safe
    assert as_text(html) == text
    mail = MailRenderer(BRAND).render("plain", "en", {"title": "t", "html": html})
    assert safe in mail.html.replace(' dir="auto"', "")
    assert text in mail.text


PIECES = (
    *(
        "<p>",
        "</p>",
        "<b>",
        "</b>",
        "<a href=",
        '"',
        "'",
        ">",
        "<",
        "/>",
        "x",
        " ",
        "=",
        "<script>",
        "</script>",
    ),
    *(
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "javascript:",
        " onload=",
        "https://e.com/",
        "&lt;",
        "&#60;",
        "&",
        "\x00",
    ),
    *("<td>", "</td>", "<svg>", "</svg>", "<style>", "</style>", "<textarea>", "<plaintext>", "<noscript>"),
)
soup = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(soup)
def test_no_html_of_a_service_gets_out_of_its_place(html: str) -> None:
    mail = MailRenderer(BRAND).render("plain", "en", {"title": "t", "html": html})
    page = Page(mail.html)
    allowed = set(Page(render("plain").html).tags) | {"a", "b", "p", "div"}
    assert set(page.tags) <= allowed
    assert {name for tag, name in page.attributes if tag == "a"} <= {"href", "style"}
    assert all(link.startswith("https://e.com/") for link in page.links)
    assert page.tags.count("td") == Page(render("plain").html).tags.count("td")


UNFINISHED = (
    "<a ",
    "<a href='",
    "<!--",
    "<!",
    "<?",
    "</",
    "<svg>",
    "<svg",
    "<style></x",
    "&#",
    "<aaaa",
    "<p>",
    "\n ",
    "<div>",
    "<b><p>",
    "<b><div></b>",
    "<i></b>",
)


@pytest.mark.parametrize("size", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("piece", UNFINISHED)
def test_hostile_html_takes_no_longer_than_other(piece: str, size: int) -> None:
    html = piece * (size // len(piece))
    begun = time.process_time()
    safe_html(html)
    as_text(html)
    assert time.process_time() - begun < size / 100_000  # a tenth of that; what is quadratic takes hours


def test_deep_html_is_flattened() -> None:
    assert safe_html("<b>" * 100_000 + "x").count("<b>") == 30


def test_a_message_beside_html_is_its_text_part() -> None:
    mail = render("plain", html="<p>rich</p>", message="plain words")
    assert '<p dir="auto">rich</p>' in mail.html
    assert "plain words" in mail.text
    assert "rich" not in mail.text


@pytest.mark.parametrize(
    ("text", "line"),
    [("Booking \u202e was  cancelled", "Booking was cancelled"), ("\u202e \u2066", ""), ("a \u202e", "a")],
)
def test_what_can_not_be_seen_leaves_no_gap_in_a_line(text: str, line: str) -> None:
    assert one_line(text) == line == one_line(one_line(text))
