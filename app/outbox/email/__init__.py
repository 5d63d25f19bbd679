"""Mail: channel, message, SMTP client, connection pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.outbox.email.channel import EmailChannel
    from app.settings.channels import ChannelSections


def make_channel(settings: ChannelSections) -> EmailChannel:
    """The channel `email`. Raises `ConfigurationError`."""
    from app.outbox.email.channel import EmailChannel
    from app.texts.rendering import MailRenderer

    return EmailChannel(settings.smtp, MailRenderer(settings.brand.brand()))
