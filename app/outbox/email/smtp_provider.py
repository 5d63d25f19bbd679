"""The mail server of SMTP_HOST as a provider."""

from __future__ import annotations

import asyncio
import logging
import re

from aiosmtplib import SMTPException

from app.domain.errors import DeliveryFailed
from app.outbox.channel import Confirm
from app.outbox.email.message import to_bytes
from app.outbox.email.pool import Pool, SmtpEnvelope
from app.outbox.email.provider import ComposedMail
from app.outbox.email.smtp import Server, classify
from app.outbox.failures import FailFastBreaker, without_values

log = logging.getLogger("hub.mail")

_QUEUED_AS = re.compile(r"(?:queued as|id=)\s*<?([\w.@-]+)")


class SmtpProvider:
    """Sends over connections that it keeps open (`Pool`), by TLS unless set otherwise."""

    name = "smtp"

    def __init__(self, server: Server, connections: int) -> None:
        self.at_once = connections
        self._server = server
        self._breaker = FailFastBreaker(log)
        self._pool = Pool(server, connections, self._breaker)

    @property
    def slots(self) -> asyncio.Semaphore:
        """A slot for each connection of the pool."""
        return self._pool.slots

    def encode(self, mail: ComposedMail) -> bytes:
        """As `MailProvider.encode`."""
        return to_bytes(mail.message)

    async def send(self, mail: ComposedMail, content: bytes, confirm: Confirm) -> str | None:
        """As `MailProvider.send`."""
        envelope = SmtpEnvelope(mail.envelope_sender, str(mail.to), content, utf8=not mail.to.ascii)

        def clean(said: str) -> str:
            return self._server.clean(said, mail.outgoing)

        try:
            answer = await self._pool.send(envelope, confirm)
        except (SMTPException, OSError, DeliveryFailed) as error:
            failure = classify(error, clean)
            self._breaker.note(failure)
            raise failure from None
        self._breaker.succeeded()
        queued = _QUEUED_AS.search(without_values(str(answer), mail.outgoing))
        return queued[1] if queued else None

    async def close(self) -> None:
        """As `MailProvider.close`."""
        await self._pool.close()
