"""Mail: channel, message, and its providers (SMTP, SendGrid, Mailgun, Amazon SES)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.outbox.channel import ChannelPorts
    from app.outbox.email.channel import EmailChannel
    from app.settings.channels import ChannelSections


def make_channel(settings: ChannelSections, ports: ChannelPorts) -> EmailChannel:
    """The channel `email`. Raises `ConfigurationError`."""
    from app.outbox.email.channel import EmailChannel
    from app.outbox.email.opens import OpenImages
    from app.outbox.email.providers import make_providers
    from app.outbox.email.return_path import ReturnPath
    from app.texts.rendering import MailRenderer

    smtp, box = settings.smtp, ports.secrets
    return EmailChannel(
        smtp,
        MailRenderer(settings.brand.brand()),
        make_providers(settings),
        None if smtp.return_path is None else ReturnPath(smtp.return_path, box),
        None if not smtp.opens or box is None else OpenImages(smtp.opens, smtp.public_url, box),
    )
