"""Mail over SMTP."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from aiosmtplib import SMTPException

from app.domain.addresses import Mailbox, mailbox
from app.domain.channels import EMAIL
from app.domain.errors import DeliveryFailed
from app.outbox.channel import Confirm, Outgoing, Receipt, wanted
from app.outbox.email.message import build, to_bytes
from app.outbox.email.pool import Pool, SmtpEnvelope
from app.outbox.email.smtp import Server, classify
from app.outbox.failures import FailFastBreaker, not_rendered, without_values
from app.outbox.unsubscribe import is_transactional
from app.settings.channels import SmtpSettings
from app.texts.rendering import Mail

log = logging.getLogger("hub.mail")

_QUEUED_AS = re.compile(r"(?:queued as|id=)\s*<?([\w.@-]+)")


LARGE_CHARS = 4 * 1024
"""A mail with a longer text is made in a thread, as others would wait for it."""


class Renderer(Protocol):
    """Renders a template and its data as the texts of a mail."""

    def render(
        self, template: str, locale: str, data: Mapping[str, Any], unsubscribe: str | None = None
    ) -> Mail:
        """`unsubscribe` is the URL to end this kind of mail with."""


class EmailChannel:
    """Sends mail over connections that it keeps open (`Pool`), by TLS unless set otherwise.

    Raises `ConfigurationError` when the settings don't allow that safely.
    """

    name: ClassVar[str] = EMAIL

    def __init__(self, settings: SmtpSettings, renderer: Renderer) -> None:
        self._renderer = renderer
        self._unsubscribe_url = settings.unsubscribe_url
        self._breaker = FailFastBreaker(log)
        self._at_once = settings.connections
        self._pool: Pool | None = None
        if settings.host is not None:
            self._pool = Pool(Server(settings), settings.connections, self._breaker)

    @property
    def simulated(self) -> bool:
        return self._pool is None

    @property
    def at_once(self) -> int:
        return self._at_once

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        """As `Channel.send`.

        Every attempt has the same Message-ID, so that receivers can detect a duplicate.
        """
        assert self._pool is not None, "simulated"
        server = self._pool.server

        def clean(said: str) -> str:
            return server.clean(said, outgoing)

        # before the mail is built: many builds at once would block the event loop
        async with self._pool.slots:
            envelope = await self._envelope(outgoing, server)
            try:
                answer = await self._pool.send(envelope, confirm)
            except (SMTPException, OSError, DeliveryFailed) as error:
                failure = classify(error, clean)
                self._breaker.note(failure)
                raise failure from None
            self._breaker.succeeded()
        queued = _QUEUED_AS.search(without_values(str(answer), outgoing))
        return Receipt(queued[1] if queued else None)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def _envelope(self, outgoing: Outgoing, server: Server) -> SmtpEnvelope:
        try:
            to = mailbox(outgoing.address)
        except ValueError as error:
            raise DeliveryFailed("bad_address", str(error), retryable=False) from None
        try:
            if outgoing.attachments or _is_large(outgoing.data):
                content = await asyncio.to_thread(self._content, outgoing, server, to)
            else:
                content = self._content(outgoing, server, to)
        except Exception as error:  # a template may raise anything
            raise not_rendered(outgoing.template, error) from None
        return SmtpEnvelope(str(server.sender.mailbox), str(to), content, utf8=not to.ascii)

    def _content(self, outgoing: Outgoing, server: Server, to: Mailbox) -> bytes:
        unsubscribe = outgoing.unsubscribe
        if self._unsubscribe_url is not None and not is_transactional(outgoing.template, outgoing.category):
            unsubscribe = f"{self._unsubscribe_url}{outgoing.id}"
        mail = self._renderer.render(outgoing.template, outgoing.locale, outgoing.data, unsubscribe)
        message = build(
            mail,
            server.sender,
            to,
            message_id=f"{outgoing.id}@{server.sender.mailbox.domain}",
            unsubscribe=unsubscribe,
            attachments=outgoing.attachments,
        )
        return to_bytes(message, utf8=not to.ascii)


def _is_large(data: Mapping[str, Any]) -> bool:
    return any(isinstance(value, str) and len(value) > LARGE_CHARS for value in data.values())
