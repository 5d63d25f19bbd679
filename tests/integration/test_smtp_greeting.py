"""Mail servers that greet late, know no EHLO, or have a certificate of a private authority."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox.email.channel import EmailChannel
from app.outbox.email.smtp import CONTENT_TIMEOUT_COUNT, Server, Timeouts, abort
from app.outbox.email.smtp_provider import SmtpProvider
from app.outbox.failures import SetupFailed
from app.runtime.tls import client_context
from app.settings.channels import SmtpSettings
from tests.support.certificates import Authority
from tests.support.mail import PATIENCE, Texts, channel_to, mail
from tests.support.smtp_server import SmtpServer, running


def test_the_limits_are_those_of_rfc_5321_unless_one_is_set() -> None:
    assert Server(SmtpSettings()).timeouts == Timeouts(10.0, 300.0, 300.0, 120.0, 600.0)
    assert Server(SmtpSettings(timeout=2)).timeouts == Timeouts(2, 2, 2, 2, CONTENT_TIMEOUT_COUNT * 2)


async def test_a_late_greeting_and_late_answers_are_waited_for() -> None:
    async with running(SmtpServer()) as plain:
        late = {step: asyncio.Event() for step in ("connect", "mail", "rcpt", "data", "end")}
        for step, event in late.items():
            plain.answer(step, event)  # type: ignore[arg-type]
        server = Server(SmtpSettings(host="127.0.0.1", port=plain.port, security="none"))
        server.timeouts = server.timeouts._replace(command=0.2)
        channel = EmailChannel(SmtpSettings(), Texts(), [SmtpProvider(server, 1)])
        sending = asyncio.create_task(channel.send(mail()))
        for step, event in late.items():
            await plain.reached(step)  # type: ignore[arg-type]
            await asyncio.sleep(0.3)  # longer than the limit of other answers
            event.set()
        await sending
        assert len(plain.messages) == 1
        await channel.close()


async def test_no_connection_is_not_waited_for_as_a_greeting_is() -> None:
    server = Server(SmtpSettings(host="192.0.2.1", security="none"))  # TEST-NET-1: nobody answers
    server.timeouts = server.timeouts._replace(command=0.1)
    with pytest.raises(DeliveryFailed) as failed:
        async with asyncio.timeout(PATIENCE):
            await server.open()
    assert failed.value.retryable


@pytest.mark.parametrize("answer", ["500 5.5.1 what?", "502 not implemented", "504 no"])
async def test_a_server_without_ehlo_is_greeted_with_helo(answer: str) -> None:
    async with running(SmtpServer()) as server, channel_to(server, smtp_security="none") as channel:
        server.answer("ehlo", answer)
        await channel.send(mail())
        await channel.send(mail())
        assert server.commands[:2] == ["EHLO", "HELO"]
        assert len(server.messages) == 2


async def test_without_ehlo_there_is_no_tls_and_nothing_is_sent() -> None:
    async with running(SmtpServer()) as server, channel_to(server) as channel:
        server.answer("ehlo", "500 what?")
        with pytest.raises(SetupFailed) as failed:
            await channel.send(mail())
        assert failed.value.code == "tls_not_offered"
        assert server.messages == []


async def test_a_private_authority_is_trusted_beside_the_public_ones(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.server("127.0.0.1")
    async with running(SmtpServer(tls)) as server:
        with pytest.raises(SetupFailed, match="certificate"):
            await Server(SmtpSettings(host="127.0.0.1", port=server.port)).open()
        trusted = str(authority.certificate)
        abort(await Server(SmtpSettings(host="127.0.0.1", port=server.port, ca_file=trusted)).open())


def test_ca_files_add_to_the_public_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = len(client_context().get_ca_certs())
    assert public > 50
    certificate = str(Authority(tmp_path).certificate)
    assert len(client_context(certificate, "SMTP_CA_FILE").get_ca_certs()) == public + 1
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    assert len(client_context().get_ca_certs()) > 50
    assert any("tests' own CA" in str(each) for each in client_context().get_ca_certs())


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_certificate_is_a_wrong_setting(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(ConfigurationError, match="SMTP_CA_FILE"):
        Server(SmtpSettings(host="mail.example.com", ca_file=str(path)))
