"""The mail server: how it is reached, and what it means when it refuses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import NamedTuple, cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPConnectTimeoutError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPResponse,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox.channel import Outgoing
from app.outbox.email.message import Sender, sender
from app.outbox.email.oauth import AccessTokens
from app.outbox.email.refusals import Refusal, refusal
from app.outbox.failures import SetupFailed, safe_words
from app.runtime.tls import client_context, tls_fault, tls_words
from app.settings.channels import SmtpSettings

_CLOSING_CODE, _NOT_LOGGED_IN_CODE, _TOO_LARGE_CODE = 421, 530, 552
_UNKNOWN_COMMAND_CODES = (500, 502, 504)
CONTENT_TIMEOUT_COUNT = 6
"""Times SMTP_TIMEOUT, for the answer to a mail: the server scans it first, and a mail given up on may be sent
twice."""


def classify(error: BaseException, clean: Callable[[str], str] = safe_words) -> DeliveryFailed:
    """Translate an SMTP exception into a delivery failure, with the server's text if there is one.

    Passes: what concerns the way to the server or the moment (no connection, no answer in time, 4xx), and
    what concerns every mail alike (`SetupFailed`), such as our own address refused. Doesn't: 5xx to this
    mail's receiver, size or content. `app.outbox.email.refusals` tells them apart.
    `clean` makes the server's words safe to keep.
    """
    if isinstance(error, DeliveryFailed):
        return error
    if isinstance(error, SMTPNotSupported):
        return DeliveryFailed("smtputf8_not_offered", str(error), retryable=False, of_provider=True)
    if isinstance(error, SMTPResponseException):
        return _answered(error, clean(f"{error.code} {error.message}"))
    if isinstance(error, (SMTPConnectError, ssl.SSLError)) and (fault := tls_fault(error)) is not None:
        return SetupFailed(*tls_words(fault))
    if isinstance(error, TimeoutError):
        words = str(error) or "the server didn't answer in time"
        return DeliveryFailed("timeout", words, retryable=True, of_provider=True)
    if isinstance(error, SMTPConnectError):
        return DeliveryFailed("connect", str(error), retryable=True, of_provider=True)
    if isinstance(error, OSError):
        words = str(error) or type(error).__name__
        return DeliveryFailed("disconnected", words, retryable=True, of_provider=True)
    return DeliveryFailed("smtp", type(error).__name__, retryable=True, of_provider=True)


def _answered(error: SMTPResponseException, said: str) -> DeliveryFailed:
    if not 400 <= error.code < 600:
        words = f"the server's answer is not valid SMTP: {said}"
        return DeliveryFailed("bad_answer", words, retryable=True, of_provider=True)
    code = f"smtp_{error.code}"
    if not isinstance(error, (SMTPRecipientRefused, SMTPDataError)):
        if error.code < 500:
            return DeliveryFailed(code, said, retryable=True, of_provider=True)
        if isinstance(error, SMTPSenderRefused) and error.code == _TOO_LARGE_CODE:
            return DeliveryFailed(code, said, retryable=False)
        return SetupFailed(code, said)
    match refusal(error.code, error.message, recipient=isinstance(error, SMTPRecipientRefused)):
        case Refusal.SENDER:
            return SetupFailed(code, said, certain=error.code == _NOT_LOGGED_IN_CODE)
        case Refusal.PASSING:
            of_provider = error.code == _CLOSING_CODE or isinstance(error, SMTPDataError)
            return DeliveryFailed(code, said, retryable=True, of_provider=of_provider)
        case Refusal.ADDRESS:
            return DeliveryFailed(code, said, retryable=False, bad_address=True)
        case Refusal.MAIL:
            return DeliveryFailed(code, said, retryable=error.code == _NOT_LOGGED_IN_CODE)


class Timeouts(NamedTuple):
    """Seconds that each answer may take. RFC 5321 (4.5.3.2) names those from `greeting` to `content`."""

    command: float
    greeting: float = 300.0
    envelope: float = 300.0
    data: float = 120.0
    content: float = 600.0


class Server:
    """How the mail server is reached. Raises `ConfigurationError` when the settings don't allow it safely."""

    def __init__(self, settings: SmtpSettings) -> None:
        self.host = settings.host or ""
        self.port = settings.port
        self.security = settings.security
        self.username = settings.username
        self.timeouts = _timeouts(settings)
        self.sender = configured_sender(settings.sender)
        self.test_return_path = (settings.return_path or str(self.sender.mailbox)).replace("*", "test")
        self._password = settings.password.get_secret_value() if settings.password else ""
        try:
            self.host.encode("idna")
        except UnicodeError:
            raise ConfigurationError(f"SMTP_HOST: {self.host!r} is not a host name.") from None
        if self.username is not None and self.security == "none":
            raise ConfigurationError(
                "SMTP_USERNAME is set, but with SMTP_SECURITY=none the password would be sent in plain text."
                " Set SMTP_SECURITY to starttls or tls, or unset SMTP_USERNAME."
            )
        if settings.oauth_fault is not None:
            raise ConfigurationError(f"{settings.oauth_fault}.")
        self._tokens = AccessTokens(settings) if settings.oauth_token_url is not None else None
        if self._tokens is not None and (self.username is None or self._password):
            raise ConfigurationError(
                "SMTP_OAUTH_TOKEN_URL is set: set SMTP_USERNAME to the mailbox, and unset SMTP_PASSWORD."
            )
        if self.username is not None and not self._password and self._tokens is None:
            raise ConfigurationError("SMTP_USERNAME is set, but SMTP_PASSWORD isn't.")
        self._tls = None if self.security == "none" else client_context(settings.ca_file, "SMTP_CA_FILE")

    def client(self) -> SMTP:
        """A connection to be; `connect`, `secure` and `login` are its first steps, in this order.

        The name it says hello with is the sender's domain: unlike this machine's it is known to resolve, and
        asking for this machine's can take long.
        """
        return SMTP(
            hostname=self.host,
            port=self.port,
            local_hostname=self.sender.mailbox.domain,
            timeout=self.timeouts.command,
            use_tls=self.security == "tls",
            start_tls=False,  # `secure` does it, and never goes on without
            tls_context=self._tls,
        )

    async def connect(self, client: SMTP) -> SMTPResponse:
        """Connect, and wait for the greeting: a server may look the hub up first, which takes a while."""
        connecting = asyncio.ensure_future(client.connect(timeout=self.timeouts.greeting))
        try:
            await asyncio.wait((connecting,), timeout=self.timeouts.command)
            if not connecting.done() and client.protocol is None:
                raise SMTPConnectTimeoutError(f"Timed out connecting to {self.host} on port {self.port}")
            return await connecting
        finally:
            connecting.cancel()

    async def secure(self, client: SMTP) -> None:
        """Send EHLO, and start TLS unless it is active or switched off. Return only when that is done.

        A server that knows no EHLO is greeted with HELO (RFC 5321, 3.2), where neither TLS nor a login
        depends on the answer.
        """
        if self.security == "starttls":
            await self._ehlo(client)
            if not client.supports_extension("starttls"):
                raise SetupFailed(
                    "tls_not_offered", "the server offers no STARTTLS; nothing is sent to it in plain text"
                )
            await client.starttls()
        await self._ehlo(client)

    async def _ehlo(self, client: SMTP) -> None:
        try:
            await client.ehlo()
        except SMTPHeloError as error:
            if error.code not in _UNKNOWN_COMMAND_CODES or not client.is_connected:
                raise
            await client.helo()

    async def login(self, client: SMTP) -> None:
        """Log in, if a username is set: then the connection is a TLS one."""
        if self.username is None:
            return
        if self._tokens is not None:
            await self._log_in_by_token(client, self.username, self._tokens)
            return
        logins = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
        # only one is tried: a password that is wrong for the first is so for all, and servers count
        for method, log_in in logins.items():
            if method in client.server_auth_methods:
                await log_in(self.username, self._password)
                return
        raise self._not_offered(client)

    async def _log_in_by_token(self, client: SMTP, username: str, tokens: AccessTokens) -> None:
        if "xoauth2" not in client.server_auth_methods:
            raise self._not_offered(client)
        token, new = await tokens.get()
        try:
            await client.auth_xoauth2(username, token)
        except SMTPAuthenticationError:
            tokens.drop(token)
            if new:
                raise
            token, _ = await tokens.get()  # the other was revoked before its time
            await client.auth_xoauth2(username, token)

    def _not_offered(self, client: SMTP) -> SetupFailed:
        offered = self.clean(", ".join(client.server_auth_methods)) or "none at all"
        return SetupFailed(
            "login_not_offered",
            (f"the server offers no login method that the hub supports; it offers {offered}"),
        )

    async def open(self) -> SMTP:
        """A connection ready for mail. Raises `DeliveryFailed`."""
        client = self.client()
        try:
            await self.connect(client)
            await self.secure(client)
            await self.login(client)
            if not client.is_connected:  # it hung up right after its last answer
                raise SMTPServerDisconnected("Connection lost")
        except (SMTPException, OSError, DeliveryFailed) as error:
            abort(client)
            raise classify(error, self.clean) from None
        except BaseException:
            abort(client)
            raise
        return client

    def clean(self, said: str, outgoing: Outgoing | None = None) -> str:
        """The server's words, without the password and what `outgoing` holds."""
        secrets = () if self._tokens is None else self._tokens.secrets
        return safe_words(said, outgoing, (self._password, *secrets))


def _timeouts(settings: SmtpSettings) -> Timeouts:
    """Those of RFC 5321, unless the operator set one."""
    limit = settings.timeout
    if "timeout" not in settings.model_fields_set:
        return Timeouts(limit)
    return Timeouts(limit, limit, limit, limit, CONTENT_TIMEOUT_COUNT * limit)


def configured_sender(text: str, setting: str = "MAIL_FROM") -> Sender:
    """Who a setting says mail is from, or answers go to. Raises `ConfigurationError`."""
    try:
        return sender(text)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}; write it as Name <address>.") from None


def abort(client: SMTP) -> None:
    """Abort the connection, without QUIT."""
    transport = client.transport
    client.close()
    if transport is not None:
        cast("asyncio.WriteTransport", transport).abort()  # uvloop's is one, and doesn't say so
