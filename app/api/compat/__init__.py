"""The paths of the services that the hub replaces, as their documents have them.

Each is a thin layer over the hub's own calls. `COMPAT_ROUTES` names those that are served.
"""

from __future__ import annotations

from collections.abc import Collection

from sanic import Blueprint

from app.api.compat import in_app_service, mail_service, message_service
from app.api.compat.context import CompatContext, CompatService
from app.api.docs import Reference

SERVICES: dict[str, CompatService] = {
    service.name: service
    for service in (message_service.SERVICE, mail_service.SERVICE, in_app_service.SERVICE)
}


def blueprints(names: Collection[str], context: CompatContext) -> list[Blueprint]:
    """The paths of the named services."""
    return [SERVICES[name].make_blueprint(context) for name in names]


def references(names: Collection[str]) -> list[Reference]:
    """The API references of the named services."""
    found = (SERVICES[name].reference for name in names)
    return [reference for reference in found if reference is not None]


def tags(names: Collection[str]) -> dict[str, str]:
    """The descriptions of the groups of calls that the named services are."""
    return {name: SERVICES[name].description for name in names}


def reference_addresses(names: Collection[str]) -> dict[str, str]:
    """By prefix of the named services' paths, where their API reference is."""
    services = [SERVICES[name] for name in names]
    return {
        prefix: service.reference.swagger
        for service in services
        if service.reference is not None
        for prefix in service.prefixes
    }
