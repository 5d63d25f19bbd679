"""The last builder of a node: the WebSocket endpoint, event streams, and the REST resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from sanic import Blueprint, Request

from app.api import compat, events, sending, ws
from app.api.addresses import AddressResource
from app.api.admission import Admission
from app.api.amending import AmendingResource
from app.api.branded_page import BrandedPages
from app.api.broadcasts import BroadcastResource
from app.api.callbacks import CallbackResource
from app.api.clicked import ClickResource
from app.api.compat.context import CompatContext
from app.api.deliveries import DeliveryResource
from app.api.devices import DeviceResource
from app.api.envelope import envelope
from app.api.explain import ExplainPorts, ExplainResource
from app.api.handshake import Handshake
from app.api.health import Check, OperationResource
from app.api.idempotency import Idempotency
from app.api.notifications import NotificationResource
from app.api.opened import OpenedResource
from app.api.preferences import PreferenceResource
from app.api.preferences_page import PreferencesPageResource
from app.api.prefixes import REST, WEBSOCKET
from app.api.sending import SendingResource, SentEventResource
from app.api.sign_in import SignIn
from app.api.topics import TopicResource
from app.api.triage import TriageResource
from app.api.unsubscribe import UnsubscribeResource
from app.api.whole_inbox import WholeInboxResource
from app.auth.delivery_tokens import OPENED, DeliveryTokens
from app.auth.unsubscribe_tokens import UnsubscribeTokens
from app.domain.preferences import Evaluator
from app.ingest.dry_run import DryRun
from app.runtime.redis import check_redis
from app.server.callback_keys import callback_keys
from app.server.node_parts import Intake, Outboxes, Realtime, Store
from app.settings import Settings
from app.settings.edge import WebSocketSettings
from app.sources.http import HttpSource
from app.store.addresses import AddressStore
from app.store.broadcasts import BroadcastStore
from app.store.decisions import DecisionStore
from app.store.engine import check_postgres
from app.store.idempotency import IdempotencyStore
from app.store.parked import ParkedStore
from app.store.topics import TopicStore
from app.store.webhooks import WebhookStore
from app.store.writer import BatchWriter


class Api(NamedTuple):
    """What a node serves."""

    admission: Admission
    blueprints: Sequence[Blueprint]
    connect: Callable[[Request, str], Awaitable[None]]
    """The WebSocket endpoint, which is among the blueprints too."""


def build_api(
    settings: Settings, store: Store, realtime: Realtime, intake: Intake, outboxes: Outboxes
) -> Api:
    """Make the WebSocket endpoint, with its admission, and the REST resources."""
    authenticator, log = store.authenticator, store.deliveries
    admission = Admission(settings.websocket, realtime.manager)
    sockets, streams = _endpoints(settings.websocket, store, realtime, admission)
    idempotency = Idempotency(IdempotencyStore(store.engine))
    simulated = [name for name, channel in outboxes.channels.items() if channel.simulated]
    wait = settings.http.wait
    dry_run = DryRun(intake.pipeline, store.notifications, log.suppressions, simulated, wait, store.audiences)
    checks: dict[str, Check] = {
        "postgres": partial(check_postgres, store.engine),
        "redis": partial(check_redis, store.redis),
        **{name: source.check for name, source in intake.sources.items()},
    }
    source = HttpSource(intake.batcher, wait, settings.ingest.image_hosts)
    inboxes = _inboxes(settings, store, realtime)
    preferences = _preferences(settings, store)
    sends = SendingResource(REST, authenticator, source, idempotency, dry_run, outboxes.tested)
    context = CompatContext(authenticator, inboxes, preferences, sends, log, wait)
    blueprints = (
        *_of_inboxes(settings, store, realtime, inboxes),
        *_of_deliveries(store, [*outboxes.channels]),
        preferences.blueprint(REST),
        *_of_users(settings, store),
        sending.make_blueprint(
            REST,
            sends,
            _sent_events(store),
        ),
        AmendingResource(authenticator, sends, settings.ingest.image_hosts).blueprint(REST),
        *_of_receivers(settings, store),
        *compat.blueprints(settings.http.compat_routes, context),
        ws.make_blueprint(WEBSOCKET, sockets.connect),
        events.make_blueprint(REST, streams.connect),
        OperationResource(authenticator, checks).blueprint(REST),
    )
    return Api(admission, blueprints, sockets.connect)


def _preferences(settings: Settings, store: Store) -> PreferenceResource:
    ingest = settings.ingest
    return PreferenceResource(
        store.authenticator,
        store.people,
        Evaluator(ingest.preferences_off),
        confirm_addresses=ingest.confirm_addresses,
    )


def _of_inboxes(
    settings: Settings, store: Store, realtime: Realtime, inboxes: NotificationResource
) -> Sequence[Blueprint]:
    whole = WholeInboxResource(store.authenticator, realtime.commands, envelope(settings.http.envelope))
    triage = TriageResource(store.authenticator, inboxes, realtime.commands)
    return [resource.blueprint(REST) for resource in (inboxes, triage, whole)]


def _inboxes(settings: Settings, store: Store, realtime: Realtime) -> NotificationResource:
    return NotificationResource(
        store.authenticator,
        store.notifications,
        store.triage,
        realtime.commands,
        settings.ingest.default_locale,
        envelope(settings.http.envelope),
    )


def _sent_events(store: Store) -> SentEventResource:
    return SentEventResource(
        store.authenticator,
        store.scheduled,
        store.deliveries,
        store.notifications,
        ParkedStore(store.engine),
        BroadcastStore(store.engine),
    )


def _of_users(settings: Settings, store: Store) -> Sequence[Blueprint]:
    """What users register, follow and click, and the broadcasts to those who follow."""
    authenticator, topics = store.authenticator, TopicStore(store.engine)
    return (
        DeviceResource(authenticator, store.devices, settings.webpush).blueprint(REST),
        _addresses(store).blueprint(REST),
        TopicResource(authenticator, topics, settings.ingest.user_ids).blueprint(REST),
        ClickResource(authenticator, WebhookStore(store.engine)).blueprint(REST),
        BroadcastResource(authenticator, BroadcastStore(store.engine)).blueprint(REST),
    )


def _addresses(store: Store) -> AddressResource:
    now = store.wall_clock.now
    writer = BatchWriter(store.engine, now)
    return AddressResource(store.authenticator, AddressStore(store.engine), store.secrets, writer, now)


def _of_deliveries(store: Store, channels: Sequence[str]) -> Sequence[Blueprint]:
    ports = ExplainPorts(
        store.scheduled,
        ParkedStore(store.engine),
        store.notifications,
        store.deliveries,
        DecisionStore(store.engine),
        BroadcastStore(store.engine),
        store.wall_clock.now,
    )
    return (
        DeliveryResource(store.authenticator, store.deliveries, channels).blueprint(REST),
        ExplainResource(store.authenticator, ports).blueprint(REST),
    )


def _of_receivers(settings: Settings, store: Store) -> Sequence[Blueprint]:
    """What receivers and providers call, without a token."""
    keys = callback_keys(settings, store.secrets)
    reports = CallbackResource(store.authenticator, store.deliveries.reports, keys)
    opened = OpenedResource(
        store.authenticator, store.deliveries.reports, DeliveryTokens(store.secrets, OPENED)
    )
    return *_unsubscribing(settings, store), reports.blueprint(), opened.blueprint()


def _unsubscribing(settings: Settings, store: Store) -> tuple[Blueprint, Blueprint]:
    tokens = UnsubscribeTokens(settings.outbox.unsubscribe_keys, store.secrets)
    pages, evaluator = BrandedPages(settings.brand.brand()), Evaluator(settings.ingest.preferences_off)
    locale = settings.ingest.default_locale
    emit = WebhookStore(store.engine).emit
    suppressions = store.deliveries.suppressions
    return (
        UnsubscribeResource(tokens, store.people, suppressions, emit, pages, locale).blueprint(),
        PreferencesPageResource(tokens, store.people, evaluator, pages, locale).blueprint(),
    )


def _endpoints(
    settings: WebSocketSettings, store: Store, realtime: Realtime, admission: Admission
) -> tuple[ws.WebSocketEndpoint, events.EventStreamEndpoint]:
    sign_in = SignIn(
        store.authenticator,
        realtime.manager,
        realtime.membership,
        realtime.reader,
        realtime.bus.logged_out,
    )
    context = ws.connection_context(
        settings, realtime.timer_wheel, store.wall_clock.loop_time, admission.lost
    )
    parts = (admission, Handshake(settings), sign_in, realtime.sessions, realtime.catch_up, context)
    return ws.WebSocketEndpoint(*parts), events.EventStreamEndpoint(*parts)
