"""Web push: channel, encryption, signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.outbox.channel import ChannelPorts
    from app.outbox.webpush.channel import WebPushChannel
    from app.settings.channels import ChannelSections


def make_channel(settings: ChannelSections, ports: ChannelPorts) -> WebPushChannel:
    """The channel `webpush`. Raises `ConfigurationError`."""
    from app.outbox.webpush.channel import WebPushChannel

    return WebPushChannel(settings.webpush, ports)
