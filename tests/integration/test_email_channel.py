"""Mail in real SMTP conversations: what arrives, what can pass, and that nothing goes out in plain text."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from app.dev.mail_samples import SAMPLES
from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox import failures
from app.outbox.channel import Attachment, Outgoing
from app.outbox.email.channel import EmailChannel
from app.outbox.email.smtp import CONTENT_TIMEOUT_COUNT
from app.texts.i18n import LOCALES
from app.texts.rendering import MailRenderer
from tests.support.certificates import DAYS, Authority
from tests.support.mail import (
    CODE,
    HURRY,
    LOGIN,
    Texts,
    channel_to,
    failure,
    mail,
    nothing_but_hello,
    settings_to,
)
from tests.support.settings import settings_on
from tests.support.smtp_server import DROP, HANG, SmtpServer, Step, running

# --- what arrives -------------------------------------------------------------------------------------------


async def test_a_mail_arrives_as_people_and_programs_expect_it(
    server: SmtpServer, channel: EmailChannel
) -> None:
    pdf = Attachment("vé số 1.pdf", "application/pdf", b"%PDF\r\n.\r\n" * 100)
    odd = Attachment("a\r\nBcc: x@evil.example", "multipart/mixed\r\nX-Evil: 1", b"?")
    outgoing = mail(attachments=(pdf, odd))
    receipt = await channel.send(outgoing)
    assert receipt.provider_id == "Q1"
    (received,) = server.messages
    assert received.sender == "no-reply@hub.example"
    assert received.recipient == "an@example.com"
    assert received.secure
    parsed = received.parsed
    assert parsed["Message-ID"] == f"<{outgoing.id}@hub.example>"
    assert parsed["From"] == "Hub <no-reply@hub.example>"
    assert parsed["To"] == "an@example.com"
    assert parsed["Subject"] == f"otp_register {CODE}"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert abs(parsed["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content() == f"Mã của bạn: otp_register {CODE}\r\n.\r\n"
    assert html.get_content() == f"<p>Ваш код: otp_register {CODE} None</p>\r\n"
    first, second = parsed.iter_attachments()
    assert (first.get_filename(), first.get_content_type()) == ("vé số 1.pdf", "application/pdf")
    assert first.get_content() == pdf.content
    assert (second.get_filename(), second.get_content_type()) == (
        "a Bcc: x@evil.example",
        "application/octet-stream",
    )
    assert parsed["Bcc"] is None
    assert received.content.isascii()
    assert all(len(line) <= 998 for line in received.content.splitlines())


async def test_every_template_is_a_mail_in_every_language(server: SmtpServer) -> None:
    settings = settings_to(server)
    channel = EmailChannel(settings.smtp, MailRenderer(settings.brand.brand()))
    for locale in LOCALES:
        for template, data in SAMPLES.items():
            await channel.send(Outgoing(uuid4(), template, "an@example.com", locale, data))
    await channel.close()
    assert len(server.messages) == len(LOCALES) * len(SAMPLES)
    for received in server.messages:
        assert received.parsed["Subject"]
        assert [part.get_content_type() for part in received.parsed.iter_parts()] == [
            "text/plain",
            "text/html",
        ]
        assert all(len(line) <= 78 for line in received.content.splitlines())


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("no-reply@hub.example", "no-reply@hub.example"),
        ("Hub, Inc. <no-reply@hub.example>", '"Hub, Inc." <no-reply@hub.example>'),
        ('"Hub" <no-reply@hub.example>', "Hub <no-reply@hub.example>"),
        ("Кухня <no-reply@кухня.рф>", "Кухня <no-reply@xn--j1agri5c.xn--p1ai>"),
    ],
)
async def test_who_mail_comes_from(server: SmtpServer, setting: str, shown: str) -> None:
    async with channel_to(server, mail_from=setting) as channel:
        await channel.send(mail())
    assert server.messages[0].parsed["From"] == shown


async def test_one_click_unsubscribes_from_what_is_not_transactional(server: SmtpServer) -> None:
    url = "https://hub.example/api/v2/notification-service/" + "long/" * 20 + "unsubscribe?delivery="
    async with channel_to(server, unsubscribe_url=url) as channel:
        outgoing = mail(template="weekly_menu")
        await channel.send(outgoing)
        for template in ("otp_register", "booking_cancellation", "payment_failed"):
            await channel.send(mail(template=template))
    other, *transactional = server.messages
    # whole and in one line: receivers of bulk mail don't decode it
    assert f"\r\nList-Unsubscribe: <{url}{outgoing.id}>\r\n".encode() in other.content
    assert other.parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    html = other.parsed.get_body(("html",))
    assert html is not None
    assert f"{url}{outgoing.id}" in html.get_content()
    assert not any("List-Unsubscribe" in each.parsed for each in transactional)


async def test_nobody_can_add_headers_or_receivers(server: SmtpServer, channel: EmailChannel) -> None:
    subject = "Hi\r\nBcc: x@evil.example\r\n\r\n<script>\x00\u2028"
    await channel.send(mail(data={"code": CODE, "subject": subject}))
    parsed = server.messages[0].parsed
    assert parsed["Subject"] == "Hi Bcc: x@evil.example <script>"
    assert parsed["Bcc"] is None
    for address in (
        "an@example.com\r\nRCPT TO:<x@evil.example>",
        "an@example.com\r\nBcc: x@evil.example",
        "an@example.com, x@evil.example",
        "an@example.com> NOTIFY=NEVER <x@evil.example",
        "An <an@example.com>",
        '"a b"@example.com',
        "an@example.com\x00",
        "a\x7fn@example.com",
        "an@[127.0.0.1]",
        "an@exa mple.com",
        ".an@example.com",
        "a..n@example.com",
        "@example.com",
        "example.com",
        "an@",
        "",
        f"{'a' * 65}@example.com",
        f"an@{'a.' * 130}com",
    ):
        failed = await failure(channel, mail(address))
        assert (failed.code, failed.retryable) == ("bad_address", False)
        assert not address or address not in str(failed)
    assert server.commands.count("RCPT") == len(server.messages) == 1


async def test_no_text_can_end_the_mail_early(server: SmtpServer, channel: EmailChannel) -> None:
    evil = "a\r.\rb\n.\nc\r\n.\r\nMAIL FROM:<x@evil.example>\r\n..d\x0b\u2028."
    attachment = Attachment("a.txt", "Text/plain; charset=ascii", evil.encode())
    await channel.send(mail(data={"code": evil, "subject": "s"}, attachments=(attachment,)))
    (received,) = server.messages
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", received.content)
    text = received.parsed.get_body(("plain",))
    assert text is not None
    assert "MAIL FROM:<x@evil.example>" in text.get_content()
    assert next(received.parsed.iter_attachments()).get_content() == evil
    assert server.commands.count("MAIL") == 1


async def test_addresses_in_all_scripts(server: SmtpServer, channel: EmailChannel) -> None:
    await channel.send(mail("o'neil+tag=1@пример.рф"))
    await channel.send(mail("người.dùng@ví-dụ.vn"))
    await channel.send(mail("विक्रम@example.com"))
    assert [received.recipient for received in server.messages] == [
        "o'neil+tag=1@xn--e1afmkfd.xn--p1ai",  # needs nothing of servers: IDNA
        "người.dùng@xn--v-d-rma6749a.vn",
        "विक्रम@example.com",
    ]
    assert server.messages[0].content.isascii()
    assert "To: người.dùng@xn--v-d-rma6749a.vn\r\n".encode() in server.messages[1].content


async def test_an_address_that_the_server_can_not_carry_is_refused_in_clear_words(
    authority: Authority,
) -> None:
    tls = authority.server("127.0.0.1")
    async with running(SmtpServer(tls, extensions=("8BITMIME",))) as server, channel_to(server) as channel:
        failed = await failure(channel, mail("người@example.com"))
        assert (failed.code, failed.retryable) == ("smtputf8_not_offered", False)
        assert "non-ASCII characters before the @" in str(failed)
        await channel.send(mail("an@ví-dụ.vn"))
        assert server.connections == 1
        assert "MAIL" in server.commands


# --- what can pass, and what can't --------------------------------------------------------------------------

CONVERSATION: tuple[Step, ...] = ("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "end")
ABOUT_THE_MAIL = CONVERSATION[4:]


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
@pytest.mark.parametrize("step", CONVERSATION)
@pytest.mark.parametrize("answer", ["421 4.3.2 shutting down", "451-4.7.1 try\n451 later", "550 5.1.1 no"])
async def test_what_the_server_refuses_is_retryable_or_not_by_its_code(
    server: SmtpServer, channel: EmailChannel, step: Step, answer: str, extensions: tuple[str, ...]
) -> None:
    """A 5xx before the receiver concerns every mail, until an operator fixes it: it is retryable."""
    server.extensions = extensions
    server.answer(step, answer)
    failed = await failure(channel)
    code = int(answer[:3])
    assert failed.code == f"smtp_{code}"
    assert failed.retryable is (code < 500 or step not in ABOUT_THE_MAIL or step == "mail")
    assert str(failed) == answer.replace("451-4.7.1 try\n451", "451 4.7.1 try")
    assert not server.messages
    if code < 500:
        server.calm()
        await channel.send(mail())
        assert len(server.messages) == 1


@pytest.mark.parametrize("step", [*CONVERSATION, "handshake", "middle"])
async def test_a_dropped_connection_is_retryable_and_the_next_attempt_has_the_same_message_id(
    server: SmtpServer, channel: EmailChannel, step: Step
) -> None:
    outgoing = mail()
    server.answer(step, DROP)
    failed = await failure(channel, outgoing)
    assert failed.code in ("disconnected", "connect")
    assert failed.retryable
    server.calm()
    await channel.send(outgoing)
    ids = [received.parsed["Message-ID"] for received in server.messages]
    assert ids == [f"<{outgoing.id}@hub.example>"] * (2 if step == "end" else 1)


@pytest.mark.parametrize("step", [*CONVERSATION, "handshake", "middle"])
async def test_a_server_that_hangs_takes_no_longer_than_the_time_out(server: SmtpServer, step: Step) -> None:
    server.answer(step, HANG)
    async with channel_to(server, smtp_timeout=HURRY) as channel:
        begun = time.monotonic()
        failed = await failure(channel)
        assert time.monotonic() - begun < CONTENT_TIMEOUT_COUNT * HURRY + 1
    assert (failed.code, failed.retryable) == ("timeout", True)


async def test_nobody_listens_or_no_such_host(server: SmtpServer) -> None:
    await server.stop()
    async with channel_to(server) as channel:
        failed = await failure(channel)
        assert (failed.code, failed.retryable) == ("connect", True)
    async with channel_to(server, smtp_host="no-such-host.invalid") as channel:
        failed = await failure(channel)
        assert (failed.code, failed.retryable) == ("connect", True)
    await server.start()


async def test_one_refused_receiver_of_several_costs_the_others_nothing(server: SmtpServer) -> None:
    server.answer("rcpt", "550 5.1.1 <gone@example.com>: no such user", about="gone@")
    async with channel_to(server, smtp_connections=1) as channel:
        results = await asyncio.gather(
            *(channel.send(mail(f"{name}@example.com")) for name in ("an", "gone", "binh")),
            return_exceptions=True,
        )
    refused = results[1]
    assert isinstance(refused, DeliveryFailed)
    assert (refused.code, refused.retryable) == ("smtp_550", False)
    assert str(refused) == "550 5.1.1 <g***@example.com>: no such user"  # fit for a log
    assert [received.recipient for received in server.messages] == ["an@example.com", "binh@example.com"]
    assert server.connections == 1
    assert "RSET" in server.commands


async def test_a_mail_too_large_is_refused_before_it_is_sent(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with running(SmtpServer(tls, max_size=5000)) as server, channel_to(server) as channel:
        big = Attachment("a.bin", "application/octet-stream", bytes(10_000))
        failed = await failure(channel, mail(attachments=(big,)))
        assert (failed.code, failed.retryable, str(failed)) == ("smtp_552", False, "552 5.3.4 too large")
        await channel.send(mail())
        assert len(server.messages) == server.connections == 1


async def test_a_failing_template_exposes_nothing_of_its_data(
    server: SmtpServer, channel: EmailChannel
) -> None:
    failed = await failure(channel, mail(data={"kode": CODE}))
    assert (failed.code, failed.retryable) == ("not_rendered", False)
    assert not server.connections


# --- nothing in plain text ----------------------------------------------------------------------------------


async def test_a_conversation_with_starttls_shows_nothing(server: SmtpServer, channel: EmailChannel) -> None:
    await channel.send(mail())
    assert nothing_but_hello(server)


async def test_stripped_starttls_is_noticed_and_logged(
    server: SmtpServer, channel: EmailChannel, caplog: pytest.LogCaptureFixture
) -> None:
    server.offers_starttls = False
    failed = await failure(channel)
    assert (failed.code, failed.retryable) == ("tls_not_offered", True)
    assert nothing_but_hello(server)
    assert [record.levelname for record in caplog.records if record.message == "setup_failed"] == ["ERROR"]


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "502 5.5.1 unknown"])
async def test_refused_starttls_ends_it(server: SmtpServer, channel: EmailChannel, answer: str) -> None:
    server.answer("starttls", answer)
    assert (await failure(channel)).retryable
    assert nothing_but_hello(server)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("wrong", ["name", "date", "authority"])
async def test_a_certificate_that_does_not_hold_ends_it(
    authority: Authority, tmp_path: Path, implicit: bool, wrong: str
) -> None:
    issuer = Authority(tmp_path) if wrong == "authority" else authority
    made = datetime.now(UTC) - timedelta(days=DAYS + 1) if wrong == "date" else None
    tls = issuer.server("127.0.0.2" if wrong == "name" else "127.0.0.1", made=made)
    security = "tls" if implicit else "starttls"
    async with (
        running(SmtpServer(tls, implicit_tls=implicit, login=LOGIN)) as server,
        channel_to(server, smtp_security=security) as channel,
    ):
        failed = await failure(channel)
        assert (failed.code, failed.retryable) == ("certificate", True)
        assert {"name": "mismatch", "date": "expired", "authority": "issuer"}[wrong] in str(failed)
        assert server.commands in ([], ["EHLO", "STARTTLS"])
        assert implicit or nothing_but_hello(server)


async def test_tls_from_the_first_byte(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with (
        running(SmtpServer(tls, implicit_tls=True, login=LOGIN)) as server,
        channel_to(server, smtp_security="tls") as channel,
    ):
        await channel.send(mail())
        assert server.messages[0].secure
        assert not server.plain


async def test_a_server_without_tls_where_tls_is_expected_gets_no_word(server: SmtpServer) -> None:
    async with channel_to(server, smtp_security="tls") as channel:
        failed = await failure(channel)
        assert (failed.code, failed.retryable) == ("tls", True)
        assert "EHLO" not in server.commands


async def test_plain_text_only_when_set_and_never_with_a_password() -> None:
    async with running(SmtpServer()) as server:
        async with channel_to(server, smtp_security="none") as channel:
            await channel.send(mail())
            assert not server.messages[0].secure
        for changes in (
            {"smtp_security": "none", "smtp_username": "hub", "smtp_password": "hunter2"},
            {"smtp_username": "hub"},
            {"mail_from": "Hub"},
            {"mail_from": "người@hub.example"},
            {"smtp_host": "mail..example.com"},
        ):
            with pytest.raises(ConfigurationError) as refused:
                async with channel_to(server, **changes):
                    pass
            assert "hunter2" not in str(refused.value)


# --- what is written about it -------------------------------------------------------------------------------


async def test_the_code_is_in_nothing_that_is_written(
    server: SmtpServer, channel: EmailChannel, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when the server quotes the mail, or the login."""
    caplog.set_level(logging.DEBUG)
    spaced = f"{CODE[:3]} {CODE[3:]}"
    server.answer("auth", f"454 4.7.0 not now, {LOGIN[0]} with {LOGIN[1]}")
    await failure(channel)
    for step in ABOUT_THE_MAIL:
        server.calm()
        server.answer(step, f"451 4.7.1 spam: 'Your code is {CODE}' {spaced} {LOGIN[1]} {'x' * 600}")
        failed = await failure(channel)
        assert spaced not in str(failed)
        assert len(str(failed)) <= failures.MAX_ERROR_CHARS
    server.calm()
    server.answer("end", f"250 2.0.0 Ok: queued as {CODE}")
    receipt = await channel.send(mail())
    assert CODE not in str(receipt.provider_id)
    assert CODE not in caplog.text
    assert LOGIN[1] not in caplog.text


async def test_without_a_server_mail_is_simulated() -> None:
    channel = EmailChannel(settings_on("redis://redis").smtp, Texts())
    assert channel.simulated
    await channel.close()
