"""The mailbox that mails come back to, over IMAP (RFC 3501)."""

from __future__ import annotations

import imaplib
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from app.domain.errors import ConfigurationError, HubError
from app.outbox.failures import safe_words
from app.runtime.tls import client_context, tls_fault, tls_words
from app.settings.bounces import BounceSettings

MAX_MAIL_BYTES = 1024 * 1024  # read of one mail; what it returns is behind what it says
MAX_MAILS_COUNT = 500  # of one session
_FAULTS = (imaplib.IMAP4.error, OSError, EOFError)


class MailboxFailed(HubError):  # noqa: N818 - named as its siblings in app.errors
    """The mailbox can't be read now. The text says why, and holds no password."""


class BounceMailbox:
    """One session, for `with`. All calls block, and raise `MailboxFailed`: call them in a thread."""

    def __init__(self, settings: BounceSettings, token: str | None = None) -> None:
        """`token` is an access token (XOAUTH2), used where there is no password.

        Raises `ConfigurationError` when the settings are incomplete.
        """
        if settings.host is None or settings.username is None:
            raise ConfigurationError("Set BOUNCE_IMAP_HOST and BOUNCE_IMAP_USERNAME to the mailbox to read.")
        self._settings = settings
        self._password = settings.password.get_secret_value() if settings.password else ""
        self._token = token or ""
        self._client: imaplib.IMAP4 | None = None

    def __enter__(self) -> BounceMailbox:
        try:
            self._call("connect", self._connect)
            self._call("log in", self._log_in)
            folder = f'"{self._settings.folder}"'
            self._call("open the folder", lambda client: client.select(folder))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Log out. Mails that `done` deleted are gone then."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(*_FAULTS):
                if kind is None and self._settings.delete and client.state == "SELECTED":
                    client.expunge()
                client.logout()

    def unread(self) -> Sequence[str]:
        """The ids of unread mails, the oldest first, up to `MAX_MAILS_COUNT`."""
        (found,) = self._call("search", lambda client: client.uid("SEARCH", "UNSEEN"))
        return (found or b"").decode("ascii", "replace").split()[:MAX_MAILS_COUNT]

    def fetch(self, uid: str) -> bytes | None:
        """A mail, cut at `MAX_MAIL_BYTES`; None if it is gone. It stays unread."""
        part = f"(BODY.PEEK[]<0.{MAX_MAIL_BYTES}>)"
        found = self._call("fetch", lambda client: client.uid("FETCH", uid, part))
        return next((each[1] for each in found if isinstance(each, tuple)), None)

    def done(self, uid: str, *, report: bool) -> None:
        """Mark a mail as read; a report is deleted, if the settings say so."""
        flags = r"(\Seen \Deleted)" if report and self._settings.delete else r"(\Seen)"
        self._call("mark as read", lambda client: client.uid("STORE", uid, "+FLAGS.SILENT", flags))

    def _connect(self, _: imaplib.IMAP4 | None) -> tuple[str, list[Any]]:
        given = self._settings
        host, timeout = given.host or "", given.timeout
        context = None if given.security == "none" else client_context(given.ca_file, "BOUNCE_IMAP_CA_FILE")
        if given.security == "tls":
            self._client = imaplib.IMAP4_SSL(host, given.port, ssl_context=context, timeout=timeout)
        else:
            self._client = imaplib.IMAP4(host, given.port, timeout=timeout)
        if given.security == "starttls":
            return self._client.starttls(context)
        return "OK", []

    def _log_in(self, client: imaplib.IMAP4) -> tuple[str, list[Any]]:
        name = self._settings.username or ""
        if self._password:
            client.login(name, self._password)
        else:
            answer = f"user={name}\x01auth=Bearer {self._token}\x01\x01"
            client.authenticate("XOAUTH2", lambda _: answer.encode())
        return "OK", []  # both raise otherwise

    def _call(self, what: str, call: Callable[[Any], tuple[str, list[Any]]]) -> list[Any]:
        try:
            status, found = call(self._client)
        except _FAULTS as error:
            fault = tls_fault(error)
            said = tls_words(fault)[1] if fault is not None else str(error) or type(error).__name__
            raise self._failure(what, said) from None
        if status != "OK":
            raise self._failure(what, b" ".join(each for each in found if isinstance(each, bytes)).decode())
        return found

    def _failure(self, what: str, said: str) -> MailboxFailed:
        words = safe_words(said, None, (self._password, self._token))
        return MailboxFailed(f"The mailbox of BOUNCE_IMAP_HOST can't be read ({what}): {words}")
