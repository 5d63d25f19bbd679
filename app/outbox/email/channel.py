"""Mail: made once, and handed to the first provider that takes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, ClassVar, NamedTuple, Protocol

from app.domain.addresses import Mailbox, mailbox
from app.domain.channels import EMAIL
from app.domain.deliveries import REPLY_TO
from app.domain.errors import DeliveryFailed
from app.outbox.channel import Confirm, Outgoing, Receipt, wanted
from app.outbox.email.message import Sender, build
from app.outbox.email.opens import OpenImages
from app.outbox.email.provider import ComposedMail, MailProvider
from app.outbox.email.return_path import ReturnPath
from app.outbox.email.smtp import Server, configured_sender
from app.outbox.email.smtp_provider import SmtpProvider
from app.outbox.failures import SetupFailed, not_rendered
from app.outbox.unsubscribe import is_transactional
from app.runtime.backoff import Backoff
from app.runtime.breaker import Breaker
from app.settings.channels import SmtpSettings
from app.texts.rendering import Mail

log = logging.getLogger("hub.mail")

LARGE_CHARS = 4 * 1024
"""A mail with a longer text is made in a thread, as others would wait for it."""
MAX_OUTAGES_IN_A_ROW = 3  # of a provider, after which the next one is asked first for a while
OUTAGE_BACKOFF = Backoff(first=10.0, cap=120.0)


class Renderer(Protocol):
    """Renders a template and its data as the texts of a mail."""

    def render(
        self,
        template: str,
        locale: str,
        data: Mapping[str, Any],
        unsubscribe: str | None = None,
        preferences: str | None = None,
    ) -> Mail:
        """`unsubscribe` is the URL to end this kind of mail with, `preferences` that of all preferences."""


class MailRoute(NamedTuple):
    """A provider, and whether it is worth asking now."""

    provider: MailProvider
    breaker: Breaker


class EmailChannel:
    """Sends mail by the providers, in their order.

    A provider that fails is passed over: an outage, a login or a quota. What is refused for its recipient or
    its content is refused. Raises `ConfigurationError` when the settings don't allow mail safely.
    """

    name: ClassVar[str] = EMAIL

    def __init__(
        self,
        settings: SmtpSettings,
        renderer: Renderer,
        providers: Sequence[MailProvider] | None = None,
        return_path: ReturnPath | None = None,
        opens: OpenImages | None = None,
    ) -> None:
        """Without `providers` it is the mail server alone, if one is set. Without `return_path` reports of
        failed delivery go to the sender; without `opens` no mail tells that it was opened.
        """
        self._renderer = renderer
        self._unsubscribe_url = settings.unsubscribe_url
        self._failover_after = settings.failover_after
        if providers is None:
            providers = [] if settings.host is None else [smtp_provider(settings)]
        self._members = [MailRoute(each, Breaker(MAX_OUTAGES_IN_A_ROW, OUTAGE_BACKOFF)) for each in providers]
        self._at_once = max((each.at_once for each in providers), default=settings.connections)
        self._return_path = return_path
        self._opens = opens
        if providers:
            self._sender = configured_sender(settings.sender)
            reply_to = settings.reply_to
            self._reply_to = None if reply_to is None else configured_sender(reply_to, "MAIL_REPLY_TO")

    @property
    def simulated(self) -> bool:
        """As `Channel.simulated`."""
        return not self._members

    @property
    def at_once(self) -> int:
        """As `Channel.at_once`."""
        return self._at_once

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        """As `Channel.send`.

        Every attempt has the same Message-ID, so that receivers can detect a duplicate.
        """
        assert self._members, "simulated"
        composed: ComposedMail | None = None
        failures: list[DeliveryFailed] = []
        for member in self._members:
            provider = member.provider
            last = member is self._members[-1]
            # before the mail is built: many builds at once would block the event loop
            async with provider.slots:
                composed, content = await self._prepare(outgoing, composed, provider)
                try:
                    return await self._try(member, composed, content, confirm, last=last)
                except DeliveryFailed as failure:
                    if not failure.of_provider:
                        raise
                    failures.append(failure)
            if not last:
                log.warning("failed_over", extra={"provider": provider.name, "code": failures[-1].code})
        raise _whole(failures)

    async def close(self) -> None:
        """As `Channel.close`."""
        await asyncio.gather(*(member.provider.close() for member in self._members))

    async def _try(
        self, member: MailRoute, mail: ComposedMail, content: bytes, confirm: Confirm, *, last: bool
    ) -> Receipt:
        """Raises `DeliveryFailed`. One that keeps failing isn't asked for a while, if there are others."""
        provider, breaker = member
        if len(self._members) == 1:
            return Receipt(await provider.send(mail, content, confirm))
        call = breaker.begin(monotonic())
        if call is None:
            pause = breaker.pause(monotonic())
            raise DeliveryFailed(
                "provider_down",
                f"{provider.name} keeps failing",
                retryable=True,
                retry_after=pause,
                of_provider=True,
            )
        try:
            async with asyncio.timeout(None if last else self._failover_after):
                receipt = Receipt(await provider.send(mail, content, confirm))
        except TimeoutError:
            breaker.failed(call, monotonic())
            raise DeliveryFailed(
                "timeout", f"{provider.name} took too long", retryable=True, of_provider=True
            ) from None
        except DeliveryFailed as failure:
            if failure.of_provider and failure.retryable and not isinstance(failure, SetupFailed):
                breaker.failed(call, monotonic())
            else:  # its own breaker has those
                breaker.abandoned(call)
            raise
        except BaseException:
            breaker.abandoned(call)
            raise
        breaker.succeeded(call)
        return receipt

    async def _prepare(
        self, outgoing: Outgoing, composed: ComposedMail | None, provider: MailProvider
    ) -> tuple[ComposedMail, bytes]:
        """The mail, made unless it was, and what the provider takes of it. Raises `DeliveryFailed`."""

        def prepare() -> tuple[ComposedMail, bytes]:
            mail = composed or self._compose(outgoing, to)
            return mail, provider.encode(mail)

        try:
            to = mailbox(outgoing.address)
        except ValueError as error:
            raise DeliveryFailed("bad_address", str(error), retryable=False) from None
        try:
            if outgoing.attachments or _is_large(outgoing.data):
                return await asyncio.to_thread(prepare)
            return prepare()
        except Exception as error:  # a template may raise anything
            raise not_rendered(outgoing.template, error) from None

    def _compose(self, outgoing: Outgoing, to: Mailbox) -> ComposedMail:
        unsubscribe = outgoing.unsubscribe
        if self._unsubscribe_url is not None and not is_transactional(outgoing.template, outgoing.category):
            unsubscribe = f"{self._unsubscribe_url}{outgoing.id}"
        mail = self._renderer.render(
            outgoing.template, outgoing.locale, outgoing.data, unsubscribe, outgoing.preferences
        )
        if self._opens is not None:
            mail = mail._replace(html=self._opens.add_to(mail.html, outgoing))
        message = build(
            mail,
            self._sender,
            to,
            message_id=f"{outgoing.id}@{self._sender.mailbox.domain}",
            reply_to=self._answers_to(outgoing),
            unsubscribe=unsubscribe,
            attachments=outgoing.attachments,
        )
        path = self._return_path
        envelope_sender = str(self._sender.mailbox) if path is None else path.of(outgoing.id)
        return ComposedMail(outgoing, message, to, envelope_sender)

    def _answers_to(self, outgoing: Outgoing) -> Sender | None:
        """Whom answers go to: what the message says, else the setting."""
        given = outgoing.data.get(REPLY_TO)
        try:
            return Sender("", mailbox(given)) if isinstance(given, str) else self._reply_to
        except ValueError:  # an event's own field of that name
            return self._reply_to


def smtp_provider(settings: SmtpSettings) -> SmtpProvider:
    """The mail server of the settings. Raises `ConfigurationError`."""
    return SmtpProvider(Server(settings), settings.connections)


def _whole(failures: Sequence[DeliveryFailed]) -> DeliveryFailed:
    """What became of a mail that no provider took: the failure that says the most, to be retried when the
    first provider may take it.
    """
    passing = [each for each in failures if not isinstance(each, SetupFailed)]
    if not passing:
        asked = [each for each in failures if isinstance(each, SetupFailed) and not each.repeated]
        return (asked or failures)[0]
    chosen = next((each for each in passing if each.code != "provider_down"), passing[0])
    if chosen.retryable and len(failures) > 1:
        pauses = [each.retry_after for each in failures if each.retry_after is not None]
        chosen.retry_after = min(pauses) if len(pauses) == len(failures) else None
    elif not chosen.retryable and (retryable := [each for each in failures if each.retryable]):
        return retryable[0]
    return chosen


def _is_large(data: Mapping[str, Any]) -> bool:
    return any(isinstance(value, str) and len(value) > LARGE_CHARS for value in data.values())
