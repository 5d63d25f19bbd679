"""What the paths of other services are made of: the hub's own calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sanic import Blueprint

from app.api.auth import Authenticator
from app.api.docs import Reference
from app.api.notifications import NotificationResource
from app.api.preferences import PreferenceResource
from app.api.sending import SendingResource
from app.store.ports import DeliveryLog


class CompatContext(NamedTuple):
    """The resources that the hub's own paths use."""

    authenticator: Authenticator
    notifications: NotificationResource
    preferences: PreferenceResource
    sending: SendingResource
    deliveries: DeliveryLog
    wait: float
    """Seconds that a request waits at most."""


class CompatService(NamedTuple):
    """A service that the hub replaces."""

    name: str
    """In `COMPAT_ROUTES`; also the group of its calls in the OpenAPI document."""
    description: str
    prefixes: tuple[str, ...]
    """Of its paths."""
    make_blueprint: Callable[[CompatContext], Blueprint]
    reference: Reference | None = None
    """Its own API reference, where it had one."""
