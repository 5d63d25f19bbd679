"""The mails that a hub of the tests sent, as the mail catcher kept them."""

from __future__ import annotations

import email
import email.policy
import secrets
from email.message import EmailMessage
from functools import lru_cache
from pathlib import Path

from app.dev.mail import MailCatcher
from tests.support.hub import eventually


def with_mail(environment: dict[str, str], mailbox: MailCatcher, **more: str) -> dict[str, str]:
    """The settings of a hub that mails there."""
    return {
        **environment,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mailbox.port),
        "SMTP_SECURITY": "none",
        "MAIL_FROM": "Family <no-reply@family.example>",
        "DEFAULT_LOCALE": "en",
        "OTP_COOLDOWN": "0",
        "LOG_LEVEL": "debug",
        **more,
    }


def new_address() -> str:
    return f"user-{secrets.token_hex(6)}@example.com"


def mails(mailbox: MailCatcher, address: str) -> list[EmailMessage]:
    """Those to `address`, in their order."""
    kept = map(_read, sorted(mailbox.folder.glob("*.eml")))
    return [message for recipient, message in kept if address in recipient]


@lru_cache(maxsize=10_000)
def _read(path: Path) -> tuple[str, EmailMessage]:
    """Read the recipient and the message once: tests poll, and parsing costs milliseconds."""
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    return str(message["To"]), message


async def mailed(
    mailbox: MailCatcher, address: str, count: int = 1, within: float = 20.0
) -> list[EmailMessage]:
    """The mails to `address`, once there are at least `count`."""

    async def enough() -> list[EmailMessage] | None:
        found = mails(mailbox, address)
        return found if len(found) >= count else None

    return await eventually(enough, f"{count} mails to {address}", within)


def text_of(message: EmailMessage) -> str:
    """The text part."""
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())
