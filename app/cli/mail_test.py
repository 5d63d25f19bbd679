"""`run.py mail test`: send a mail by each provider, and explain what fails and how to fix it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer
from aiosmtplib import SMTP, SMTPException

from app.cli.group import new_app
from app.domain.addresses import Mailbox, mailbox
from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox.channel import Outgoing, wanted
from app.outbox.email.message import build, to_bytes
from app.outbox.email.provider import ComposedMail, MailProvider
from app.outbox.email.providers import MailSections, make_providers
from app.outbox.email.smtp import Server, abort, classify, configured_sender
from app.outbox.email.smtp_provider import SmtpProvider
from app.settings import load_section, notices
from app.settings.channels import SmtpSettings
from app.settings.mail_providers import MailgunSettings, SendGridSettings, SesSettings
from app.texts.rendering import Mail

RENEWAL_WARNING_DAYS = 14
_TEST = Mail(
    "A test of the notification hub",
    "The hub can send mail with these settings.\n",
    "<p>The hub can send mail with these settings.</p>",
)

app = new_app()


@app.callback()
def _mail() -> None:
    """Check the settings of mail."""


@app.command()
def test(to: Annotated[str, typer.Option(metavar="ADDRESS", help="The recipient of the test mail.")]) -> int:
    """Send a test mail by each provider of EMAIL_PROVIDERS. Prints what fails and how to fix it."""
    return asyncio.run(run(to))


async def run(to: str) -> int:
    """Check the settings by sending a mail to `to` by each provider. Prints each step and returns the exit
    status.

    Raises `ConfigurationError` if no provider is configured, or if `to` is not usable.
    """
    # Only these sections: a machine that checks mail may not have the other settings.
    smtp = load_section(SmtpSettings)
    apis = (load_section(SendGridSettings), load_section(MailgunSettings), load_section(SesSettings))
    for notice in notices():
        print(notice.why)
    if smtp.missing is not None:
        raise ConfigurationError(
            "SMTP_HOST is not set, so mail is simulated. Set it to the mail server's name."
        )
    try:
        recipient = mailbox(to)
    except ValueError as error:
        raise ConfigurationError(f"--to: {error}.") from None
    if not recipient.ascii:
        raise ConfigurationError("--to must be ASCII before the @, which every server accepts.")
    providers = make_providers(MailSections(smtp, *apis))
    succeeded = True
    for provider in providers:
        if len(providers) > 1:
            print(f"{provider.name}:")
        if isinstance(provider, SmtpProvider):
            succeeded &= await _Check(Server(smtp), recipient).succeeds()
        else:
            succeeded &= await _taken_by(provider, smtp, recipient)
        await provider.close()
    return 0 if succeeded else 1


async def _taken_by(provider: MailProvider, smtp: SmtpSettings, to: Mailbox) -> bool:
    """Send the mail by an API. Prints what the API answers."""
    origin = configured_sender(smtp.sender)
    delivery = uuid4()
    message = build(_TEST, origin, to, message_id=f"{delivery}@{origin.mailbox.domain}")
    path = (smtp.return_path or str(origin.mailbox)).replace("*", "test")
    mail = ComposedMail(Outgoing(delivery, "plain", str(to), "en", {}), message, to, path)
    try:
        found = await provider.send(mail, provider.encode(mail), wanted)
    except DeliveryFailed as failure:
        _say("✗", "send", str(failure))
        _say(" ", "", f"→ {_API_REMEDY if failure.of_provider else _BY_STEP['recipient']}")
        return False
    _say("✓", "send", f"{provider.name} took the mail{'' if found is None else f' as {found}'}")
    return True


class _Check:
    """One SMTP session. A step returns what it found, or None if the settings skip it."""

    def __init__(self, server: Server, to: Mailbox) -> None:
        self._server = server
        self._to = to
        self._client = server.client()

    async def succeeds(self) -> bool:
        """Run the steps until one fails. Returns whether all succeeded."""
        steps = {
            "resolve": self._resolve,
            "connect": self._connect,
            "TLS": self._secure,
            "login": self._login,
            "sender": self._sender,
            "recipient": self._recipient,
            "send": self._send,
        }
        try:
            for name, step in steps.items():
                try:
                    found = await step()
                except (SMTPException, OSError, DeliveryFailed) as error:
                    self._say_failure(name, error)
                    return False
                _say("✓" if found else "–", name, found or _LEFT_OUT[name])
            return True
        finally:
            with suppress(SMTPException, OSError):
                await self._client.quit()
            abort(self._client)

    async def _resolve(self) -> str:
        server = self._server
        async with asyncio.timeout(server.timeouts.command):
            found = await asyncio.get_running_loop().getaddrinfo(
                server.host, server.port, type=socket.SOCK_STREAM
            )
        return f"{server.host} is {', '.join(dict.fromkeys(str(each[4][0]) for each in found))}"

    async def _connect(self) -> str:
        greeting = await self._server.connect(self._client)
        return f"{self._server.host}:{self._server.port} says: {self._server.clean(str(greeting))}"

    async def _secure(self) -> str | None:
        await self._server.secure(self._client)
        return None if self._server.security == "none" else _certificate(self._client)

    async def _login(self) -> str | None:
        await self._server.login(self._client)
        return self._server.username and f"as {self._server.username}"

    async def _sender(self) -> str:
        return_path = self._server.test_return_path
        await self._client.mail(return_path)
        return return_path

    async def _recipient(self) -> str:
        await self._client.rcpt(str(self._to))
        return str(self._to)

    async def _send(self) -> str:
        origin = self._server.sender
        message = build(_TEST, origin, self._to, message_id=f"{uuid4()}@{origin.mailbox.domain}")
        return self._server.clean(str(await self._client.data(to_bytes(message))))

    def _say_failure(self, step: str, error: Exception) -> None:
        failure = classify(error, self._server.clean)
        if step == "connect" and failure.code in ("tls", "certificate"):
            _say("✓", step, f"{self._server.host}:{self._server.port} answers")
            step = "TLS"
        _say("✗", step, str(failure))
        _say(" ", "", f"→ {_remedy(step, error, failure, self._server)}")


def _say(mark: str, step: str, text: str) -> None:
    print(f"{mark} {step:<9} {text}", flush=True)


def _certificate(client: SMTP) -> str:
    """Describe the server's certificate and how long it is valid."""
    certificate = client.get_transport_info("peercert")
    names = ", ".join(value for _, value in certificate.get("subjectAltName", ()))
    issuer = {key: value for part in certificate["issuer"] for key, value in part}
    by = issuer.get("organizationName") or issuer.get("commonName") or "an unnamed issuer"
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    days = (until - datetime.now(UTC)).days
    soon = ", renew it" if days < RENEWAL_WARNING_DAYS else ""
    version = client.get_transport_info("cipher")[1]
    return f"{version}, certificate for {names} by {by}, until {until:%Y-%m-%d} ({days} days{soon})"


def _remedy(step: str, error: Exception, failure: DeliveryFailed, server: Server) -> str:
    """What to do about the failure."""
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(cause.verify_code, _CERTIFICATE_ELSE)
    if failure.code == "timeout" and step == "connect":
        return _SILENT
    if failure.code == "tls" and server.security == "tls":
        return (
            "The port doesn't speak TLS from the first byte: set SMTP_SECURITY=starttls (usually port 587)."
        )
    if failure.code in _BY_CODE:
        return _BY_CODE[failure.code]
    if failure.code.startswith("oauth_"):
        return "Check SMTP_OAUTH_TOKEN_URL and the other SMTP_OAUTH_ settings at the provider."
    if failure.code.startswith("smtp_4"):
        return "Usually transient: retry in some minutes. Many servers defer unknown senders (greylisting)."
    return _BY_STEP[step]


_LEFT_OUT = {
    "TLS": "SMTP_SECURITY=none: everything is sent in plain text",
    "login": "SMTP_USERNAME is not set",
}
_TRUST = (
    "If your own CA signed it, set SMTP_CA_FILE to a file with that CA's certificate. The hub sends no "
    "mail to a server that it cannot verify."
)
_NAME = "Set SMTP_HOST to a name in the certificate, or give the server a certificate for this name."
_CERTIFICATE: Mapping[int, str] = {  # by OpenSSL's X509_V_ERR_…
    9: "It is not valid yet: check the clock of this machine and of the issuer.",
    10: "It has expired: renew it at the server (or check the clock of this machine).",
    18: _TRUST,
    19: _TRUST,
    20: _TRUST,
    62: _NAME,
    64: _NAME,
}
_SILENT = (
    "Check SMTP_HOST, SMTP_PORT and firewalls. A server that sends no greeting may expect TLS from the "
    "first byte, as on port 465: then set SMTP_SECURITY=tls."
)
_CERTIFICATE_ELSE = "Configure the server with a valid certificate and its whole chain."
_API_REMEDY = (
    "Check the provider's key, its endpoint and region, and that MAIL_FROM is an address or domain that you "
    "verified there."
)
_BY_CODE = {
    "tls_not_offered": (
        "Use the server's port for submission (SMTP_PORT=587), or SMTP_SECURITY=tls with port 465. If the "
        "server offers STARTTLS to other clients, a device on the network removes it. SMTP_SECURITY=none "
        "is for"
        " servers on this machine."
    ),
    "login_not_offered": (
        "Unset SMTP_USERNAME if the server requires no login; otherwise use its submission port (587 or 465)."
    ),
    "smtp_530": "The server requires a login: set SMTP_USERNAME and SMTP_PASSWORD.",
}
_BY_STEP = {
    "resolve": "The name does not resolve: check SMTP_HOST and the DNS of this machine.",
    "connect": ("Check SMTP_HOST, SMTP_PORT and firewalls. Many networks block port 25: use 587."),
    "TLS": "See the server's log. The hub needs TLS 1.2 or newer.",
    "login": "Check SMTP_USERNAME and SMTP_PASSWORD; some providers need an application password.",
    "sender": "Set MAIL_FROM to an address this account may send from.",
    "recipient": (
        "Check the address. The server may require a login (SMTP_USERNAME), or must allow this machine to "
        "relay."
    ),
    "send": (
        "See the server's answer. Often the sender's domain lacks SPF or DKIM, or its SPF record "
        "does not include this server."
    ),
}
