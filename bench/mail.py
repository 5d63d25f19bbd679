"""Mails a second: over connections that are kept, as the hub does it, and over one connection a mail."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import aiosmtplib
import uvloop

from app.dev.mail_samples import SAMPLES
from app.domain.addresses import mailbox
from app.outbox.channel import Outgoing
from app.outbox.email.channel import EmailChannel
from app.outbox.email.message import build, sender, to_bytes
from app.settings import Settings
from app.texts.rendering import MailRenderer
from bench.clients import ROOT
from bench.progress import bar
from bench.results import MailRate
from tests.support.mail import LOGIN
from tests.support.settings import settings_on

FAR = 20.0  # milliseconds of round trip: a provider's server in a data centre not far away
TEMPLATE, ADDRESS, LOCALE = "otp_register", "an@example.com", "vi"

Send = Callable[[], Awaitable[object]]


def measure(mails: int) -> list[MailRate]:
    """The rates with a server on this machine, and with the same server `FAR` away."""
    with _server() as (near, far, certificates), _trusting(certificates):
        return [uvloop.run(_rates(port, away, mails)) for port, away in ((near, 0.0), (far, FAR))]


async def _rates(port: int, round_trip: float, mails: int) -> MailRate:
    """All have as many connections at once, and make the same mail from its template each time."""
    settings = _settings(port)
    renderer = MailRenderer(settings.brand.brand())
    channel = EmailChannel(settings.smtp, renderer)
    origin, to = sender(settings.smtp.sender), mailbox(ADDRESS)

    async def pooled() -> None:
        await channel.send(Outgoing(uuid4(), TEMPLATE, ADDRESS, LOCALE, SAMPLES[TEMPLATE]))

    def one_each(context: ssl.SSLContext | None) -> Send:
        async def send() -> None:
            mail = renderer.render(TEMPLATE, LOCALE, SAMPLES[TEMPLATE])
            message = build(mail, origin, to, message_id=f"{uuid4()}@{origin.mailbox.domain}")
            username, password = LOGIN
            await aiosmtplib.send(
                to_bytes(message),
                sender=str(origin.mailbox),
                recipients=[ADDRESS],
                hostname="127.0.0.1",
                port=port,
                start_tls=True,
                tls_context=context,
                username=username,
                password=password,
            )

        return send

    at_once = settings.smtp.connections
    where = f"mail server {round_trip:g} ms away"
    await _rate(pooled, 2 * at_once, at_once, f"{where}, warming up")
    rate = MailRate(
        round_trip=round_trip,
        connections=at_once,
        pooled=await _rate(pooled, mails, 4 * at_once, f"{where}, kept connections"),
        shared_context=await _rate(
            one_each(ssl.create_default_context()), mails // 5, at_once, f"{where}, one connection a mail"
        ),
        one_each=await _rate(
            one_each(None), mails // 5, at_once, f"{where}, one call of aiosmtplib.send a mail"
        ),
    )
    await channel.close()
    return rate


async def _rate(send: Send, mails: int, at_once: int, what: str) -> float:
    """Mails a second, from the first to the last."""
    numbers = iter(range(mails))
    with bar(what, mails, "mails") as progress:

        async def worker() -> None:
            for number in numbers:
                await send()
                progress(number)

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        return mails / (time.perf_counter() - began)


def _settings(port: int) -> Settings:
    username, password = LOGIN
    return settings_on(
        "redis://redis",
        smtp_host="127.0.0.1",
        smtp_port=port,
        smtp_username=username,
        smtp_password=password,
        mail_from="Hub <no-reply@hub.example>",
    )


@contextmanager
def _server() -> Iterator[tuple[int, int, str]]:
    """The ports of the near and the far server, and the certificates to trust."""
    command = [sys.executable, "-m", "bench.mail_server", str(FAR)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        near, far, certificates = json.loads(process.stdout.readline())
        yield near, far, certificates
        process.stdin.close()


@contextmanager
def _trusting(certificates: str) -> Iterator[None]:
    """As an operator does it whose mail server has a certificate of a private authority."""
    os.environ["SSL_CERT_FILE"] = certificates
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]
