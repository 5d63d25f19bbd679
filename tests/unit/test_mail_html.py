"""HTML that services send: real-world shapes come out whole, in both parts, as html5lib reads them."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple
from urllib.parse import urljoin

import html5lib
import pytest

from app.dev.mail_samples import SAMPLES
from app.texts.brand import Brand
from app.texts.html_tokens import unescape_value
from app.texts.links import is_link, linked, pieces, target
from app.texts.list_numbers import list_mark
from app.texts.markup import hidden_text, read_html
from app.texts.rendering import Mail, MailRenderer
from app.texts.text_part import RULE
from tests.support.mail_corpus import CORPUS, HIDDEN

RENDERER = MailRenderer(Brand("Hub", "#0b6e99"))
_NOT_SHOWN = {"script", "style", "title", "template", "noscript", "head"}
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|max-height\s*:\s*0")


# What the text part marks items of lists, quotations and rules with.
_MARKS = re.compile(rf"^(?:(?:> ?)+|{RULE}$| *(?:-|-?[0-9]+\.|[a-z]\.|I+\.) )*", re.MULTILINE)


class Seen(NamedTuple):
    """What a client shows of HTML."""

    words: list[str]
    links: list[str]
    directions: list[str]


def seen(html: str) -> Seen:
    found = Seen([], [], [])
    text: list[str] = []
    _look(html5lib.parse(html, treebuilder="etree", namespaceHTMLElements=False), text, found)
    found.words.extend("".join(text).split())
    return found


_INLINE = {"a", "b", "strong", "i", "em", "u", "s", "del", "code", "span", "font", "mark", "img"}


def _look(element: Any, text: list[str], found: Seen) -> None:
    tag, attributes = element.tag, element.attrib
    shown = isinstance(tag, str) and tag not in _NOT_SHOWN and "hidden" not in attributes
    if shown and not _HIDING.search(attributes.get("style", "")):
        gap = "" if tag in _INLINE else "\n"
        text += [gap, f" {attributes.get('alt', '')} " if tag == "img" else "", element.text or ""]
        if "href" in attributes:
            found.links.append(attributes["href"])
        if "dir" in attributes:
            found.directions.append(attributes["dir"])
        for child in element:
            _look(child, text, found)
        text.append(gap)
    text.append(element.tail or "")


def render(**data: Any) -> Mail:
    return RENDERER.render("plain", "en", {"title": "t", **data})


def as_clients_read(href: str) -> str:
    """The address behind a link, as the URL standard reads it."""
    href = re.sub("[\t\n\r]", "", href.strip())
    return urljoin(href.replace(" ", "" if href.startswith("tel:") else "%20"), "")


@pytest.mark.parametrize("name", CORPUS)
def test_a_real_mail_keeps_its_words_links_and_images(name: str) -> None:
    given, mail = seen(CORPUS[name]), read_html(CORPUS[name])
    out = seen(str(mail.html))
    links = [as_clients_read(href) for href in given.links]
    in_text = [
        piece.url for word in given.words for piece in pieces(word) if piece.url and piece.url not in links
    ]
    assert sorted(set(out.links)) == sorted({*links, *in_text})
    shown = [word for word in out.words if word not in links or word in given.words]
    assert shown == given.words
    assert all(
        link in mail.text for link in [*links, *in_text] if not link.startswith("mailto:help@x.example")
    )
    bare = _MARKS.sub("", mail.text)
    for link in links:
        bare = bare.replace(f" ({link})", "")
    words = [word for word in bare.split() if word not in links or word in given.words]
    assert words == given.words
    assert mail.hidden == HIDDEN.get(name, "")


def test_the_corpus_is_of_thirty_mails_and_more() -> None:
    assert len(CORPUS) >= 30


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ol><li>a<li>b</ol>", "1. a\n2. b"),
        ("<ol start=' 9'><li>a</li><li>b</li></ol>", "9. a\n10. b"),
        (
            "<ol><li>a<ul><li>b<li>c<ol type=i start=4><li>d</ol></ul><li>e</ol>",
            "1. a\n   - b\n   - c\n     iv. d\n2. e",
        ),
        ("<ol><li>a<li value=7>b<li>c</ol><ol><li>d</ol>", "1. a\n7. b\n8. c\n\n1. d"),
        ("<ol type=A start=26><li>a<li>b</ol>", "Z. a\nAA. b"),
        ("<ol start=x type=q><li>a<li></li><li>b</ol>", "1. a\n3. b"),
        ("<ol><li><p>a</p><p>b</p></ol>", "1. a\n\n   b"),
        ("<pre>a  b\n\n\n\tc </pre>d", "a  b\n \n \n\tc\n\nd"),
        ("<ul><li>a<pre>b\n  c</pre></ul>", "- a\n\n  b\n    c"),
        ("<blockquote>a<br>b<p>c</blockquote>d", "> a\n> b\n>\n> c\n\nd"),
        ("<blockquote>a<blockquote>b</blockquote><ul><li>c</ul></blockquote>", "> a\n>\n> > b\n>\n> - c"),
        ("a<hr>b<hr/>", f"a\n\n{RULE}\n\nb\n\n{RULE}"),
        ("<h1>a</h1>b<h6>c</h6><h3>d</h3>", "a\n\nb\n\nc\n\nd"),
        ("<div>a</div><div>b<div>c</div></div>d", "a\nb\nc\nd"),
        ("<table><tr><th>Item<th>Price<tr><td>Tea<td>5</table>", "Item   Price\nTea    5"),
        ("<table><tr><td>寿司<td>1<tr><td>Cà phê<td>2</table>", "寿司     1\nCà phê   2"),
        ("<table><tr><td>a<td> <td>b<tr><td colspan=3>long words</table>x", "a   b\nlong words\n\nx"),
        ("<table><tr><td>" + "a" * 70 + "<td>" + "b" * 9 + "</table>", "a" * 70 + "\n" + "b" * 9),
        ("<table><tr><td>a<p>b<td>c<tr><td>d<td>e</table>", "a\n\nb\nc\n\nd\ne"),
        ("<table><tr><td>a<tr><td>b</table>c", "a\nb\n\nc"),
        ("<table><tr><td>a<td><table><tr><td>b<td>c</table></table>d", "a\n\nb   c\n\nd"),
        ("<table><caption>A</caption>loose<tr><td>b<td>c</table>", "A\nloose\nb       c"),
    ],
)
def test_the_text_part_looks_like_the_html(html: str, text: str) -> None:
    assert read_html(html).text == text


@pytest.mark.parametrize(
    ("number", "kind", "mark"),
    [
        *((1, "a", "a"), (26, "a", "z"), (27, "A", "AA"), (703, "a", "aaa"), (0, "a", "0"), (-3, "A", "-3")),
        *(
            (4, "i", "iv"),
            (1994, "I", "MCMXCIV"),
            (3999, "i", "mmmcmxcix"),
            (4000, "i", "4000"),
            (0, "I", "0"),
        ),
        *((12, "1", "12"), (12, "", "12"), (-1, "x", "-1")),
    ],
)
def test_lists_are_numbered_as_their_type_says(number: int, kind: str, mark: str) -> None:
    assert list_mark(number, kind) == mark


@pytest.mark.parametrize(
    "wrapped",
    [
        "<table><tr><td>{}</td></tr></table>",
        "<div>{}</div>",
        "<ul><li>{}</ul>",
        "<blockquote>{}</blockquote>",
    ],
)
def test_a_link_is_kept_however_deep_it_is(wrapped: str) -> None:
    html = "<a href='https://x.example/deep'>Deep</a>"
    for _ in range(200):
        html = wrapped.replace("{}", html)
    mail = read_html(f"{html}<p>End</p>")
    assert seen(str(mail.html)).links == ["https://x.example/deep"]
    assert "Deep (https://x.example/deep)" in mail.text
    assert mail.text.endswith("\n\nEnd")


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        ("?q=1&currency=VND&timestamp=5", "?q=1&currency=VND&timestamp=5"),
        ("?a=1&copy=2&notify=3&para=4", "?a=1&copy=2&notify=3&para=4"),
        ("?a=1&amp;b=2&ampc=3&amp=4", "?a=1&b=2&ampc=3&amp=4"),
        ("?a=1&copy;=2&lt;&#38;&#x26;", "?a=1©=2<&&"),
        ("?a=1&copy", "?a=1©"),
        ("?a=1&copy/&reg#", "?a=1©/®#"),
        ("?notit=1&notit;&sect1", "?notit=1&notit;&sect1"),
        ("&", "&"),
    ],
)
def test_references_in_attributes_follow_the_html_standard(value: str, decoded: str) -> None:
    assert unescape_value(value) == decoded
    parsed = html5lib.parseFragment(f'<a title="{value}">x</a>', namespaceHTMLElements=False)
    assert parsed[0].attrib["title"] == decoded


@pytest.mark.parametrize(
    ("html", "link"),
    [
        (
            '<a href="https://x.example/?q=1&currency=VND&timestamp=5">Pay</a>',
            "https://x.example/?q=1&currency=VND&timestamp=5",
        ),
        (
            "<a href='https://x.example/?a=1&copy=2&notify=3'>Pay</a>",
            "https://x.example/?a=1&copy=2&notify=3",
        ),
        ("<a href=https://x.example/?a=1&times=2>Pay</a>", "https://x.example/?a=1&times=2"),
        ('<a title="Next > page" href="https://x.example/next">Pay</a>', "https://x.example/next"),
        ("<a title='a > \"b\"'href=https://x.example/next>Pay</a>", "https://x.example/next"),
        ('<a href="https://x.example/ne\n xt">Pay</a>', "https://x.example/ne%20xt"),
        ('<a href="https://x.example/unclosed>Pay</a> rest', "https://x.example/unclosed"),
        ("<a href='mailto:a@x.example'>Pay</a>", "mailto:a@x.example"),
        ("<a href='tel:+84 28 1234'>Pay</a>", "tel:+84281234"),
    ],
)
def test_a_link_is_the_same_in_both_parts(html: str, link: str) -> None:
    mail = render(html=html)
    assert link in seen(mail.html).links
    assert f"Pay ({link})" in mail.text


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("Confirm: https://x.example/c?t=abc&u=1", ["https://x.example/c?t=abc&u=1"]),
        (
            "Go to https://x.example/a_b-==, or http://y.example.",
            ["https://x.example/a_b-==", "http://y.example"],
        ),
        (
            '(https://x.example/wiki/A_(b)) "https://x.example/q"',
            ["https://x.example/wiki/A_(b)", "https://x.example/q"],
        ),
        ("Xem:https://x.example/đường-dẫn?q=phở!", ["https://x.example/đường-dẫn?q=phở"]),
        ("见https://x.example/路径。", ["https://x.example/路径"]),
        ("<https://x.example/angle>", ["https://x.example/angle"]),
        ("javascript:alert(1) ftp://x.example https:// https://a@b.example git+https://x.example", []),
    ],
)
def test_web_addresses_in_a_text_become_links(text: str, links: list[str]) -> None:
    assert [piece.url for piece in pieces(text) if piece.url] == links
    assert "".join(piece.text for piece in pieces(text)) == text
    mail = render(message=text)
    assert seen(mail.html).links == links
    assert text in mail.text
    assert seen(str(linked(text))).words == text.split()


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert(1)",
        "java\nscript:x",
        "data:text/html,x",
        "//x.example",
        "/x",
        "mailto:",
        "tel:x",
        "https://a@b",
        None,
    ],
)
def test_no_other_link_is_kept(href: str | None) -> None:
    assert target(href) is None
    assert not is_link(href)
    assert seen(str(read_html(f'<a href="{href or ""}">x</a>').html)).links == []


@pytest.mark.parametrize(
    ("html", "hidden"),
    [
        ("<div style='display:none'>Peek &zwnj;&nbsp;&#847;</div><p>x</p>", "Peek"),
        ("<span style='color:#fff;DISPLAY : NONE !important'>A <b>b</b></span>x", "A b"),
        ("<p hidden>Peek</p>x", "Peek"),
        ("<div style='display:none'><div>in</div>out<style>p{}</style></div>x", "inout"),
        ("<div style='display:none'>never closed x", ""),
        ("<td style='font-size:0'>shown</td>x", ""),
    ],
)
def test_a_hidden_preheader_is_what_inboxes_show_and_no_more(html: str, hidden: str) -> None:
    mail = read_html(html)
    assert (mail.hidden, hidden_text(html)) == (hidden, hidden)
    assert "x" in mail.text
    assert not hidden or hidden not in mail.text + mail.html
    preheader = re.search(r"mso-hide:all\">([^&]*)", render(html=html).html)
    assert preheader is not None
    assert not hidden or preheader[1] == hidden


def test_each_paragraph_has_the_direction_of_its_own_text() -> None:
    html = render(html="<p>שלום</p><p>Hello</p><ul><li>سلام</ul><h1>a</h1><pre>b</pre>").html
    assert seen(html).directions.count("auto") >= 7
    assert render(message="שלום\n\nHello").html.count('<p class="text" dir="auto"') == 2
    assert '<h1 class="text" dir="auto"' in render(message="x").html


@pytest.mark.parametrize("template", sorted(SAMPLES))
def test_each_mail_is_html_without_a_fault(template: str) -> None:
    html = RENDERER.render(template, "en", SAMPLES[template], "https://x.example/u?a=1&b=2").html
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    parser.parse(html)
    assert parser.errors == []


@pytest.mark.parametrize(
    "piece", ["<p>x</p>", "<b hidden>", "<a x=\"<a x='", '<a b=">" ', "x https://e.com/( ", "&copy"]
)
def test_a_large_mail_takes_time_in_proportion_to_its_length(piece: str) -> None:
    html = piece * (160_000 // len(piece))
    begun = time.process_time()
    read_html(html)
    assert time.process_time() - begun < 20  # what is quadratic takes minutes


@pytest.mark.parametrize(
    ("html", "links", "text"),
    [
        (
            '<map><area href="https://x.example/m" alt="Map"></map>',
            ["https://x.example/m"],
            "Map (https://x.example/m)",
        ),
        ('<map><area alt="Nothing"></map>', [], ""),
        (
            '<video src=v.mp4><a href="https://x.example/v">Watch</a></video>',
            ["https://x.example/v"],
            "Watch (https://x.example/v)",
        ),
        (
            '<object data=o><a href="https://x.example/o">Open</a></object>',
            ["https://x.example/o"],
            "Open (https://x.example/o)",
        ),
        (
            '<a href="https://x.example/1"><img alt=""></a>next',
            ["https://x.example/1"],
            "https://x.example/1 next",
        ),
        (
            '<a href="https://x.example/1">One</a><a href="https://x.example/2">Two</a>.',
            ["https://x.example/1", "https://x.example/2"],
            "One (https://x.example/1)Two (https://x.example/2).",
        ),
        (
            '<a href="https://x.example/1"><a href="https://x.example/2">in</a> out</a>',
            ["https://x.example/1", "https://x.example/2"],
            "https://x.example/1 in (https://x.example/2) out",
        ),
        ("<p>a</br>b</p>", [], "a\nb"),
        ("<p>10 m<sup>2</sup></p>", [], "10 m2"),
    ],
)
def test_what_mails_rarely_have_keeps_its_links_and_words(html: str, links: list[str], text: str) -> None:
    mail = read_html(html)
    assert seen(str(mail.html)).links == links
    assert mail.text == text
    assert all(word in links or "(" in word for word in mail.text.split() if "https://" in word)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("`https://x.example/a`", ["https://x.example/a"]),
        ("https://x.example/a\u200bb", ["https://x.example/a"]),
        ("افتح https://x.example/a؟", ["https://x.example/a"]),
        ("देखें https://x.example/a।", ["https://x.example/a"]),
        ("| https://x.example/a|", ["https://x.example/a"]),
        ("https://bücher.example/straße?q=ü.", ["https://bücher.example/straße?q=ü"]),
        (
            "[a](https://x.example/a_(b)) (https://x.example/c)",
            ["https://x.example/a_(b)", "https://x.example/c"],
        ),
        ("“https://x.example/a?t=b==”…", ["https://x.example/a?t=b=="]),
        ("http://[2001:db8::1]:8080/x?y=1. ", ["http://[2001:db8::1]:8080/x?y=1"]),
        (
            "((https://例え.example/パス)) https://x.example/a–",
            ["https://例え.example/パス", "https://x.example/a"],
        ),
        (
            "https://x.example:65535/ https://x.example:65536/ https://x.example:0/",
            ["https://x.example:65535/"],
        ),
    ],
)
def test_an_address_in_a_text_ends_where_a_reader_ends_it(text: str, urls: list[str]) -> None:
    assert [piece.url for piece in pieces(text) if piece.url] == urls


def test_a_text_that_cannot_be_seen_is_the_preview_alone() -> None:
    mail = read_html('<div style="opacity:0;color:transparent">Peek</div><p style="opacity:0.9">Body</p>')
    assert (mail.hidden, mail.text) == ("Peek", "Body")
