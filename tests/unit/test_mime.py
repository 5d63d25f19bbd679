"""The bytes of a mail, read by the parser of the standard library, which had no part in writing them."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.addresses import Mailbox
from app.outbox.channel import Attachment
from app.outbox.email.message import Sender, build, to_bytes
from app.texts.rendering import Mail, one_line

ORIGIN = Sender("Hub", Mailbox("no-reply", "hub.example"))
TO = Mailbox("an", "example.com")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
BLANKS_AT_THE_END = "\n".join("x" * length + blank for length in range(70, 80) for blank in " \t")


def written(mail: Mail, **changes: object) -> bytes:
    return to_bytes(build(mail, ORIGIN, TO, message_id="1@hub.example", **changes))  # type: ignore[arg-type]


def read(content: bytes) -> EmailMessage:
    assert content.isascii()
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert all(len(line) <= 78 for line in content.split(b"\r\n"))
    found = message_from_bytes(content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    assert not any(part.defects for part in found.walk())
    return found


def texts(message: EmailMessage) -> list[str]:
    parts = [message.get_body((kind,)) for kind in ("plain", "html")]
    return [part.get_content().replace("\r\n", "\n") for part in parts if part is not None]


def lines(text: str) -> str:
    """As MIME keeps a text: CR, LF and CRLF end a line."""
    return "\n".join(line.decode() for line in text.encode().splitlines()) + "\n"


@settings(max_examples=20)
@given(ANY_TEXT, ANY_TEXT)
@example(BLANKS_AT_THE_END, "\n".join("é" * length + " " for length in range(10, 30)))
@example("From here\n.\n..\n-- \nHub", "=C3=A9 --=_1\n--=_1--")
@example("", "\r\n\r")
def test_texts_arrive_as_they_are_in_lines_that_each_server_takes(text: str, html: str) -> None:
    found = read(written(Mail("s", text, html)))
    assert found.get_content_type() == "multipart/alternative"
    assert texts(found) == [lines(text), lines(html)]
    bodies = [part.as_bytes(policy=policy.SMTP).partition(b"\r\n\r\n")[2] for part in found.iter_parts()]
    assert all(len(line) <= 76 for body in bodies for line in body.split(b"\r\n"))


@settings(max_examples=20)
@given(st.text(max_size=300))
@example("Mã xác nhận của bạn " * 20)
@example("👩‍👩‍👧‍👦" * 30)
@example("=?utf-8?q?no_word?=")
@example("word " * 50)
@example('{{ name }} = 1, "two"; ‘three’ ' * 4)
def test_a_subject_arrives_as_it_is(subject: str) -> None:
    content = written(Mail(subject, "t", "<p>t</p>"))
    assert read(content)["Subject"] == one_line(subject)
    raw = content.partition(b"\r\nSubject: ")[2].partition(b"\r\nMessage-ID")[0].decode()
    assert str(make_header(decode_header(raw.replace("\r\n", "")))) == one_line(subject)


def test_a_word_that_is_longer_than_a_line_is_not_broken() -> None:
    content = written(Mail("x" * 140, "t", "<p>t</p>"))
    assert b"\r\nSubject: " + b"x" * 140 + b"\r\n" in content


@pytest.mark.parametrize("end", ["\r\nBcc: x@evil.example", "\n", "\r", "\r\n folded"])
def test_no_value_ends_its_header(end: str) -> None:
    with pytest.raises(ValueError, match="line ends"):
        written(Mail("s", "t", "h"), unsubscribe=f"https://hub.example/u{end}")


def test_attachments_are_beside_the_texts() -> None:
    files = [
        Attachment("Hóa đơn, tháng 11.pdf", "application/pdf", bytes(range(256)) * 20),
        Attachment("notes.txt", "text/plain", "từ\n--=_1--\n".encode()),
    ]
    found = read(written(Mail("s", "từ\n", "<p>từ</p>\n"), attachments=files))
    assert found.get_content_type() == "multipart/mixed"
    assert texts(found) == ["từ\n", "<p>từ</p>\n"]
    attached = [*found.iter_attachments()]
    assert [(each.get_filename(), each.get_content_type()) for each in attached] == [
        (file.name, file.content_type) for file in files
    ]
    assert [each.get_payload(decode=True) for each in attached] == [file.content for file in files]


def test_an_address_beyond_ascii_is_written_in_utf8() -> None:
    message = build(Mail("Tựa", "t", "h"), ORIGIN, Mailbox("ăn", "example.com"), message_id="1@hub.example")
    content = to_bytes(message)
    assert "\r\nTo: ăn@example.com\r\n".encode() in content
    assert message_from_bytes(content, policy=policy.SMTPUTF8)["Subject"] == "Tựa"
