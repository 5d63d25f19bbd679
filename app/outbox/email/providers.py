"""The providers that EMAIL_PROVIDERS names, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.outbox.email.api_provider import ApiProvider
from app.outbox.email.channel import smtp_provider
from app.outbox.email.mailgun import MailgunApi
from app.outbox.email.provider import MailProvider
from app.outbox.email.sendgrid import SendGridApi
from app.outbox.email.ses import SesApi
from app.outbox.email.smtp import configured_sender
from app.settings.channels import ChannelSections, SmtpSettings
from app.settings.mail_providers import MailgunSettings, SendGridSettings, SesSettings


class MailSections(NamedTuple):
    """The sections that providers of mail need, where no others are read."""

    smtp: SmtpSettings
    sendgrid: SendGridSettings
    mailgun: MailgunSettings
    ses: SesSettings


def make_providers(settings: ChannelSections | MailSections) -> Sequence[MailProvider]:
    """Build them; none where mail is simulated. Raises `ConfigurationError`."""
    if settings.smtp.missing is not None:
        return []
    return [_made(name, settings) for name in settings.smtp.providers]


def _made(name: str, settings: ChannelSections | MailSections) -> MailProvider:
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
