"""Deliveries: rows claimed, rendered and handed to their channels."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from app.domain.channels import DELIVERY_CHANNELS
from app.outbox.channel import NO_PORTS, ChannelPorts

if TYPE_CHECKING:
    from app.outbox.channel import Channel
    from app.settings.channels import ChannelSections


def make_channels(settings: ChannelSections, ports: ChannelPorts = NO_PORTS) -> dict[str, Channel]:
    """Build each delivery channel, by name: the module of that name in this package has `make_channel`.

    The names are those of `app.domain.channels`, which is the registry; a test holds that each has its module
    and each module its name. Raises `ConfigurationError` when the settings of one are incomplete or unsafe.
    """
    return {name: _factory(name)(settings, ports) for name in DELIVERY_CHANNELS}


def _factory(channel: str) -> Callable[[ChannelSections, ChannelPorts], Channel]:
    factory: Callable[[ChannelSections, ChannelPorts], Channel] = import_module(
        f"app.outbox.{channel}"
    ).make_channel
    return factory
