"""The providers that EMAIL_PROVIDERS names, in its order."""

from __future__ import annotations

from collections.abc import Sequence

from app.outbox.email.api_provider import ApiProvider
from app.outbox.email.channel import smtp_provider
from app.outbox.email.mailgun import MailgunApi
from app.outbox.email.provider import MailProvider
from app.outbox.email.sendgrid import SendGridApi
from app.outbox.email.ses import SesApi
from app.outbox.email.smtp import configured_sender
from app.settings.channels import ChannelSections


def make_providers(settings: ChannelSections) -> Sequence[MailProvider]:
    """Build them; none where mail is simulated. Raises `ConfigurationError`."""
    if settings.smtp.missing is not None:
        return []
    return [_made(name, settings) for name in settings.smtp.providers]


def _made(name: str, settings: ChannelSections) -> MailProvider:
    match name:
        case "sendgrid":
            return ApiProvider(SendGridApi(settings.sendgrid), settings.sendgrid)
        case "mailgun":
            domain = configured_sender(settings.smtp.sender).mailbox.domain
            return ApiProvider(MailgunApi(settings.mailgun, domain), settings.mailgun)
        case "ses":
            return ApiProvider(SesApi(settings.ses), settings.ses)
        case _:
            return smtp_provider(settings.smtp)
