"""Mail for tests: a channel to their own mail server, and mails with a code that must not leak."""

from __future__ import annotations

import re
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from app.domain.errors import DeliveryFailed
from app.outbox.channel import Channel, Outgoing
from app.outbox.email.channel import EmailChannel
from app.settings import Settings
from app.texts.rendering import Mail
from tests.support.settings import settings_on
from tests.support.smtp_server import SmtpServer

PATIENCE = 5.0  # seconds; longer than anything takes that works
HURRY = 0.2  # where the server hangs
CODE = "739148"  # a canary
LOGIN = ("hub", "hunter2-hunter2")


class Texts:
    """Shows the code, in all parts of the mail."""

    def render(
        self,
        template: str,
        locale: str,
        data: Mapping[str, Any],
        unsubscribe: str | None = None,
        preferences: str | None = None,
    ) -> Mail:
        shown = f"{template} {data['code']}"
        return Mail(
            data.get("subject", shown), f"Mã của bạn: {shown}\n.\n", f"<p>Ваш код: {shown} {unsubscribe}</p>"
        )


def settings_to(server: SmtpServer, **changes: Any) -> Settings:
    given = {
        "smtp_host": "127.0.0.1",
        "smtp_port": server.port,
        "smtp_username": LOGIN[0] if server.login else None,
        "smtp_password": LOGIN[1] if server.login else None,
        "smtp_timeout": PATIENCE,
        "mail_from": "Hub <no-reply@hub.example>",
    }
    return settings_on("redis://redis", **{**given, **changes})


@asynccontextmanager
async def channel_to(server: SmtpServer, **changes: Any) -> AsyncIterator[EmailChannel]:
    channel = EmailChannel(settings_to(server, **changes).smtp, Texts())
    try:
        yield channel
    finally:
        await channel.close()


def mail(address: str = "an@example.com", template: str = "otp_register", **changes: Any) -> Outgoing:
    given = {"data": {"code": CODE}, **changes}
    return Outgoing(given.pop("id", uuid4()), template, address, "vi", **given)


async def failure(channel: Channel, outgoing: Outgoing | None = None) -> DeliveryFailed:
    """Why it can't be sent. Nothing that could be written of it holds the code or the password."""
    with pytest.raises(DeliveryFailed) as failed:
        await channel.send(outgoing or mail())
    shown = "".join(traceback.format_exception(failed.value))
    assert CODE not in shown
    assert LOGIN[1] not in shown
    return failed.value


def nothing_but_hello(server: SmtpServer) -> bool:
    """Whether what came outside TLS was a greeting, and at most the wish for TLS."""
    return re.fullmatch(rb"EHLO hub\.example\r\n(STARTTLS\r\n)?", bytes(server.plain)) is not None
