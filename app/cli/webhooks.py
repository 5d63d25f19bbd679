"""`run.py webhooks`: the endpoints that are notified of deliveries and people."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from app.cli.group import new_app

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

    from app.settings import Settings
    from app.store.webhooks import WebhookStore

T = TypeVar("T")

EndpointId = Annotated[UUID, typer.Argument(metavar="ID", help="The id from `list`.")]

app = new_app()


@app.callback()
def _webhooks() -> None:
    """Add, list, rotate, enable, replay or remove webhook endpoints.

    See docs/how-to/webhooks.md.
    """


@app.command()
def add(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="The https URL that takes the POST requests, or BROKER:TOPIC."),
    ],
    kinds: Annotated[
        str, typer.Option("--kinds", metavar="KIND,KIND", help="Only these kinds of events; all by default.")
    ] = "",
) -> int:
    """Add an endpoint, and print its id and its secret. The secret is not shown again."""
    from app.domain.webhooks import new_secret
    from app.store.webhooks import MAX_ENDPOINTS

    chosen, secret = _kinds(kinds), new_secret()

    async def run(store: WebhookStore, fernet: MultiFernet, settings: Settings) -> UUID | None:
        _check_url(url, settings)
        return await store.add(url, chosen, fernet.encrypt(secret.encode()))

    made = _run(run)
    if made is None:
        print(f"There are {MAX_ENDPOINTS} endpoints already. Remove one first.", file=sys.stderr)
        return 1
    print(f"id: {made}\nsecret: {secret}")
    return 0


@app.command(name="list")
def list_() -> int:
    """List the endpoints, one JSON object per line."""
    for each in _run(lambda store, *_: store.endpoints()):
        shown = {name: _shown(value) for name, value in each._asdict().items()}
        print(json.dumps(shown))
    return 0


@app.command()
def rotate(
    endpoint: EndpointId,
    overlap: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="How long the old secret signs as well.")
    ] = 24.0,
) -> int:
    """Make a new secret and print it."""
    from app.domain.webhooks import new_secret

    secret = new_secret()
    if not _run(
        lambda store, fernet, _: store.rotate(endpoint, fernet.encrypt(secret.encode()), overlap * 3600)
    ):
        return _missing(endpoint)
    print(f"secret: {secret}")
    return 0


@app.command()
def enable(endpoint: EndpointId) -> int:
    """Send again to an endpoint that was disabled."""
    return 0 if _run(lambda store, *_: store.enable(endpoint)) else _missing(endpoint)


@app.command()
def remove(endpoint: EndpointId) -> int:
    """Remove an endpoint and its messages."""
    return 0 if _run(lambda store, *_: store.remove(endpoint)) else _missing(endpoint)


@app.command()
def replay(
    endpoint: EndpointId,
    hours: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Only messages that are at most so old.")
    ] = 24.0 * 30,
    everything: Annotated[bool, typer.Option("--all", help="Those that were sent, too.")] = False,
) -> int:
    """Send again what failed."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    number = _run(lambda store, *_: store.replay(endpoint, since, everything=everything))
    print(f"{number} due now")
    return 0


def _kinds(given: str) -> list[str]:
    from app.domain.webhooks import KINDS

    chosen = [each.strip() for each in given.split(",") if each.strip()] or [*KINDS]
    for each in chosen:
        if each not in KINDS:
            raise typer.BadParameter(f"{each!r} is not one of {', '.join(KINDS)}.", param_hint="--kinds")
    return [*dict.fromkeys(chosen)]


def _check_url(url: str, settings: Settings) -> None:
    from app.domain.outbound import https_url
    from app.domain.webhooks import record_place
    from app.sources import BROKERS

    brokers = {each.name: each for each in BROKERS if each.records(settings, 0.0) is not None}
    place = record_place(url)
    try:
        if place is None or place[0] not in brokers:
            https_url(url, allow_private=settings.webhooks.allow_private)
        elif place[1] in [each.name for each in brokers[place[0]].inputs(settings)]:
            raise ValueError("the hub consumes this topic; name one of another service")
    except ValueError as error:
        topics = " or ".join(f"{name}:TOPIC" for name in brokers)
        raise typer.BadParameter(f"{error}. {topics} is accepted, too.", param_hint="URL") from None


def _run(call: Callable[[WebhookStore, MultiFernet, Settings], Awaitable[T]]) -> T:
    from app.auth.secrets import SecretBox
    from app.cli import operator_settings
    from app.outbox.webhooks.worker import secret_fernet
    from app.store.engine import make_engine
    from app.store.webhooks import WebhookStore

    async def run() -> T:
        given = operator_settings.load()
        box = SecretBox(given.outbox.delivery_keys, given.auth.jwt_secret, given.postgres.url)
        engine = make_engine(given.postgres)
        try:
            return await call(WebhookStore(engine), secret_fernet(box), given)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | list) or value is None else str(value)


def _missing(endpoint: UUID) -> int:
    print(f"No endpoint {endpoint}. See `run.py webhooks list`.", file=sys.stderr)
    return 1
