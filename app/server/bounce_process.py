"""`run.py bounces`: reads the mailbox that mails come back to."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from app.auth.secrets import SecretBox
from app.domain.errors import ConfigurationError, DeliveryFailed, Unavailable
from app.outbox.email.bounce_mailbox import BounceMailbox, MailboxFailed
from app.outbox.email.bounces import read_returned
from app.outbox.email.oauth import AccessTokens
from app.outbox.email.return_path import ReturnPath
from app.runtime import log
from app.server.callback_keys import signing_return_path
from app.settings import Settings
from app.settings.bounces import BounceSettings
from app.store.delivery_events import DeliveryEventStore
from app.store.engine import check_schema, make_engine
from app.store.migrations import head

_log = logging.getLogger("hub.bounces")


def run(settings: Settings, *, once: bool) -> int:
    """Read until SIGTERM or Ctrl-C, or `once`. Only then it raises `HubError` if it can't read."""
    log.configure(settings.server.log_level)
    asyncio.run(_work(settings, once=once))
    return 0


async def _work(settings: Settings, *, once: bool) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    engine = make_engine(settings.postgres)
    try:
        box = SecretBox(settings.outbox.delivery_keys, settings.auth.jwt_secret, settings.postgres.url)
        path = signing_return_path(settings, box, "run.py bounces")
        reader = BounceReader(settings.bounces, DeliveryEventStore(engine), path)
        if once:
            await check_schema(engine, head())
            await reader.read()
            return
        while not stopping.is_set():
            try:
                await check_schema(engine, head())
                await reader.read()
            except (MailboxFailed, Unavailable, DeliveryFailed) as error:
                _log.warning("bounces_unreachable", extra={"why": str(error)})
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), settings.bounces.interval)
    finally:
        await engine.dispose()


class BounceReader:
    """Records what the unread mails of a mailbox report, and marks them as read afterwards.

    One that dies in between reads them again, which changes nothing: each report has a key.
    """

    def __init__(self, settings: BounceSettings, reports: DeliveryEventStore, path: ReturnPath) -> None:
        """Raises `ConfigurationError` when the settings are incomplete."""
        if settings.password is None and (settings.oauth_token_url is None or settings.oauth_fault):
            raise ConfigurationError(
                "Set BOUNCE_IMAP_PASSWORD, or SMTP_OAUTH_TOKEN_URL and what belongs to it, to log in to the "
                "mailbox."
            )
        BounceMailbox(settings)
        self._settings = settings
        self._reports = reports
        self._path = path
        self._tokens = AccessTokens(settings) if settings.password is None else None

    async def read(self) -> None:
        """Read what is unread now. Raises `MailboxFailed`, `Unavailable` or `DeliveryFailed` (no token)."""
        token = None if self._tokens is None else (await self._tokens.get())[0]
        mailbox = BounceMailbox(self._settings, token)
        mails = reports = 0
        await asyncio.to_thread(mailbox.__enter__)
        try:
            for uid in await asyncio.to_thread(mailbox.unread):
                mails, reports = mails + 1, reports + await self._read_one(mailbox, uid)
        except MailboxFailed:
            if token is not None and self._tokens is not None:
                self._tokens.drop(token)
            raise
        finally:
            await asyncio.to_thread(mailbox.__exit__, None, None, None)
        if mails:
            _log.info("bounces_read", extra={"mails": mails, "reports": reports})

    async def _read_one(self, mailbox: BounceMailbox, uid: str) -> int:
        raw = await asyncio.to_thread(mailbox.fetch, uid)
        if raw is None:
            return 0
        read = partial(read_returned, raw, self._path, datetime.now(UTC))
        answer = await asyncio.to_thread(read)
        new = await self._reports.record(answer.reports) if answer.reports else 0
        await asyncio.to_thread(mailbox.done, uid, report=bool(answer.reports))
        return new
