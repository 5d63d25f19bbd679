"""The composition root: five builders make the parts of a node, `bootstrap` puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from sanic import Blueprint
from sqlalchemy.ext.asyncio import AsyncEngine

from app.api import compat, events, sending, ws
from app.api.admission import Admission
from app.api.amending import AmendingResource
from app.api.auth import Authenticator
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
from app.api.limits import RequestLimits
from app.api.notifications import NotificationResource
from app.api.opened import OpenedResource
from app.api.preferences import PreferenceResource
from app.api.prefixes import REST, WEBSOCKET
from app.api.sending import SendingResource, SentEventResource
from app.api.sign_in import SignIn
from app.api.topics import TopicResource
from app.api.triage import TriageResource
from app.api.unsubscribe import UnsubscribeResource
from app.api.whole_inbox import WholeInboxResource
from app.auth.delivery_tokens import OPENED, DeliveryTokens
from app.auth.jwks import Jwks
from app.auth.revocation_feed import RevocationFeed
from app.auth.revocations import PREFIXES, RevocationStore
from app.auth.secrets import SecretBox
from app.auth.tokens import TokenVerifier
from app.auth.unsubscribe_tokens import UnsubscribeTokens
from app.domain.channels import INAPP, WEBPUSH
from app.domain.planning import Planner, PushPlan
from app.domain.preferences import Evaluator
from app.domain.time import Now
from app.domain.waiting import WaitPlanner
from app.ingest.batcher import Batcher
from app.ingest.broadcasts import BroadcastPorts, BroadcastWorker
from app.ingest.dry_run import DryRun
from app.ingest.parked import ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.scheduler import SCHEDULE_POLL_SECONDS, Scheduler
from app.ingest.user_service import UserService
from app.outbox import make_channels
from app.outbox.channel import Channel, ChannelPorts
from app.outbox.waiting import WaitingChannel
from app.outbox.webhooks.worker import MAX_WEBHOOK_CONNECTIONS, WEBHOOK_POLL_SECONDS, WebhookWorker
from app.outbox.worker import Outbox
from app.realtime.bus import RedisBus
from app.realtime.catch_up import CatchUp
from app.realtime.changes import LOOK_AT_TIMES_SECONDS, InboxCommands
from app.realtime.disconnected import LOOK_AT_DISCONNECTED_SECONDS, DisconnectedUsers
from app.realtime.inboxes import InboxReader
from app.realtime.manager import WebSocketManager
from app.realtime.membership import UNRESPONSIVE_AFTER_SECONDS, Membership
from app.realtime.presence import Presence
from app.realtime.protocol import SUBPROTOCOL
from app.realtime.reconciler import Reconciler
from app.realtime.resync import Resync
from app.realtime.revocations import CHECK_SECONDS, RevocationWatch
from app.realtime.session import Sessions
from app.realtime.timer_wheel import TimerWheel
from app.runtime.outbound import OutboundClient
from app.runtime.redis import Client, check_redis, connect, subscription
from app.runtime.redis_tracking import tracked_keys
from app.runtime.services import Part, Service, every
from app.runtime.tls import client_context
from app.runtime.wall_clock import WallClock
from app.server.callback_keys import callback_keys
from app.server.hub import Hub
from app.settings import Settings
from app.settings.edge import WebSocketSettings
from app.sources import BROKERS, Ingest, Source
from app.sources.http import HttpSource
from app.store.audiences import AudienceStore
from app.store.broadcasts import BroadcastStore
from app.store.cleaner import CLEAN_EVERY_SECONDS, Cleaner
from app.store.cleaning import CleaningStore
from app.store.decisions import DecisionStore
from app.store.deliveries import DeliverySignal, DeliveryStore
from app.store.devices import DeviceStore
from app.store.engine import check_postgres, check_schema, make_engines
from app.store.engine import clock as engine_clock
from app.store.idempotency import IdempotencyStore
from app.store.inboxes import InboxStore
from app.store.migrations import head
from app.store.notifications import NotificationStore
from app.store.parked import ParkedStore
from app.store.preferences import PreferenceStore
from app.store.scheduled import ScheduledStore
from app.store.topics import TopicStore
from app.store.triage import TriageStore
from app.store.waiting import WaitingStore
from app.store.webhooks import WebhookStore
from app.store.writer import BatchWriter
from handlers.registry import handlers, usual_details


@dataclass(frozen=True)
class Store:
    """Postgres, Redis, and what is kept in them."""

    intake_engine: AsyncEngine
    """The pool of pipelines."""
    engine: AsyncEngine
    redis: Client
    presence: Presence
    wall_clock: WallClock
    notifications: NotificationStore
    triage: TriageStore
    inboxes: InboxStore
    people: PreferenceStore
    deliveries: DeliveryStore
    devices: DeviceStore
    scheduled: ScheduledStore
    cleaner: Cleaner
    secrets: SecretBox
    revocations: RevocationStore
    revocation_feed: RevocationFeed | None
    """None on a cluster, whose keys are on many servers."""
    authenticator: Authenticator
    key_services: Sequence[Service]
    """What reads the keys of tokens, where they are not in the settings."""


@dataclass(frozen=True)
class Realtime:
    """The connections of this node, and the way to those of the others."""

    timer_wheel: TimerWheel
    reader: InboxReader
    catch_up: CatchUp
    membership: Membership
    manager: WebSocketManager
    reconciler: Reconciler
    bus: RedisBus
    watch: RevocationWatch
    commands: InboxCommands
    sessions: Sessions
    disconnected: DisconnectedUsers | None
    """None if nothing waits for users to disconnect."""


@dataclass(frozen=True)
class Intake:
    """Where events come in."""

    broadcasts: BroadcastWorker
    user_service: UserService
    pipeline: Pipeline
    batcher: Batcher
    scheduler: Scheduler
    parked: ParkedWorker
    sources: Mapping[str, Source]


@dataclass(frozen=True)
class Outboxes:
    """Where mails and SMS go out."""

    channels: Mapping[str, Channel]
    workers: Sequence[Outbox]
    signal: DeliverySignal | None
    """What wakes the workers; None where there are none."""
    webhooks: Sequence[Service]
    """What sends webhook messages."""


def bootstrap(settings: Settings) -> Hub:
    """Build a node. Nothing connects or runs before `Hub.start`."""
    store = build_store(settings)
    realtime = build_realtime(settings, store)
    intake = build_intake(settings, store, realtime)
    outboxes = build_outboxes(settings, store, run=settings.outbox.in_process)
    admission, blueprints = build_api(settings, store, realtime, intake, outboxes)
    return Hub(
        blueprints,
        admission,
        realtime.manager,
        services_of(store, realtime, intake, outboxes),
        tuple(intake.sources.values()),
        outboxes.workers,
        settings.server.shutdown_grace,
    )


def services_of(store: Store, realtime: Realtime, intake: Intake, outboxes: Outboxes) -> Sequence[Service]:
    """List what runs as long as the node, in the order to start it; it is stopped in the reverse."""
    return (
        Part(stop=store.intake_engine.dispose),
        Part(partial(check_schema, store.engine, head()), store.engine.dispose),
        Part(stop=store.redis.aclose),
        Part(stop=store.revocations.close),
        Part(stop=intake.user_service.close),
        *store.key_services,
        store.wall_clock,
        realtime.timer_wheel,
        Part(stop=realtime.reader.close),
        *(() if store.revocation_feed is None else (Part(stop=store.revocation_feed.stop),)),
        every(CHECK_SECONDS, realtime.watch.check, name="revocation watch", at_start=False),
        realtime.reconciler,
        realtime.membership,
        *(Part(worker.start) for worker in outboxes.workers),  # `Hub.drain` stops them
        *(() if outboxes.signal is None else (outboxes.signal,)),
        *outboxes.webhooks,
        realtime.bus,
        intake.batcher,
        intake.parked,
        intake.broadcasts,
        every(SCHEDULE_POLL_SECONDS, intake.scheduler.hand_over_due, name="scheduler"),
        every(CLEAN_EVERY_SECONDS, store.cleaner.clean, name="cleaner"),
        every(LOOK_AT_TIMES_SECONDS, realtime.commands.look_at_times, name="times"),
        *(
            ()
            if realtime.disconnected is None
            else (every(LOOK_AT_DISCONNECTED_SECONDS, realtime.disconnected.look, name="disconnected"),)
        ),
    )


def build_store(settings: Settings) -> Store:
    """Make the pools, and what reads and writes through them."""
    intake_engine, engine = make_engines(settings.postgres)
    redis = connect(settings.redis)
    presence = Presence(redis, settings.redis.prefix)
    wall_clock = WallClock({"postgres": partial(engine_clock, engine), "redis": presence.time})
    revocations = RevocationStore(redis, one_by_one=settings.redis.cluster)
    user_ids = settings.ingest.user_ids
    jwks = Jwks(settings.auth) if settings.auth.jwks_url else None
    verifier = TokenVerifier(settings.auth, wall_clock.now, user_ids, jwks)
    return Store(
        intake_engine,
        engine,
        redis,
        presence,
        wall_clock,
        NotificationStore(engine),
        TriageStore(engine),
        InboxStore(engine),
        PreferenceStore(engine),
        DeliveryStore(engine),
        DeviceStore(engine),
        ScheduledStore(engine),
        Cleaner(CleaningStore(engine), settings.retention.event_ids, settings.retention.notifications),
        SecretBox(settings.outbox.delivery_keys, settings.auth.jwt_secret, settings.postgres.url),
        revocations,
        None if settings.redis.cluster else RevocationFeed(partial(tracked_keys, settings.redis, PREFIXES)),
        Authenticator(
            verifier, revocations, settings.auth.metrics_token, user_ids, RequestLimits(settings.http)
        ),
        ()
        if jwks is None
        else (jwks, every(settings.auth.jwks_refresh, jwks.reload, name="jwks", at_start=False)),
    )


def build_realtime(settings: Settings, store: Store) -> Realtime:
    """Make what pushes to connections."""
    reader = InboxReader(store.inboxes)
    catch_up = CatchUp(reader)
    membership = Membership(store.presence, partial(subscription, store.redis, settings.redis))
    disconnected = _disconnected_users(settings, store)

    def user_disconnected(user: UUID) -> None:
        membership.user_disconnected(user)
        if disconnected is not None:
            disconnected.user_disconnected(user)

    manager = WebSocketManager(catch_up.start, user_disconnected)
    reconciler = Reconciler(manager, store.inboxes, catch_up, membership)
    resync = Resync(manager, membership, reader)
    bus = RedisBus(
        manager, store.presence, membership, reconciler.soon, resync.start, store.revocations.forget
    )
    membership.attach(manager.users, bus)
    commands = InboxCommands(store.notifications, store.triage, bus)
    sessions = Sessions(resync, reader, catch_up, commands, store.authenticator.claims, _history)
    watch = RevocationWatch(manager, store.revocations, store.revocation_feed)
    return Realtime(
        TimerWheel(),
        reader,
        catch_up,
        membership,
        manager,
        reconciler,
        bus,
        watch,
        commands,
        sessions,
        disconnected,
    )


def _disconnected_users(settings: Settings, store: Store) -> DisconnectedUsers | None:
    """None if no step of an escalation waits for a connection to end."""
    steps = [step for chain in settings.waits.rules.escalations.values() for step in chain]
    if all(step.channel != WEBPUSH for step in steps):
        return None
    return DisconnectedUsers(store.deliveries.waiting.look_again)


def build_intake(settings: Settings, store: Store, realtime: Realtime) -> Intake:
    """Make the sources, and the pipelines that they hand events to: one-time codes have a separate one."""
    user_ids = settings.ingest.user_ids
    user_service = UserService(settings.user_service, user_ids=user_ids)
    now = store.wall_clock.now
    ports = _pipeline_ports(settings, store, realtime, user_service)
    pipeline, code_pipeline = (
        Pipeline(
            handlers(
                settings.outbox.otp_ttl,
                user_ids,
                settings.ingest.stock_receivers,
                settings.sms.limit,
                settings.ingest.image_hosts,
            ),
            ports,
            settings.ingest.default_locale,
            store.secrets.encrypt,
            now,
        )
        for _ in range(2)
    )
    batcher = Batcher(pipeline, settings.ingest.batch_size)
    ingest = Ingest(pipeline, code_pipeline, batcher, now)
    sources: dict[str, Source] = {}
    dead_letters: dict[str, Source] = {}
    for broker in BROKERS:
        if broker.configured(settings):
            made = broker.sources(settings, ingest)
            dead_letters[broker.name] = next(iter(made.values()))
            sources.update(made)
    parked = ParkedWorker(pipeline, ParkedPorts(ParkedStore(store.engine), user_service, dead_letters.get))
    scheduler = Scheduler(store.scheduled, batcher)
    broadcasts = _broadcasts(settings, store, pipeline)
    return Intake(broadcasts, user_service, pipeline, batcher, scheduler, parked, sources)


def _pipeline_ports(
    settings: Settings, store: Store, realtime: Realtime, user_service: UserService
) -> PipelinePorts:
    engine, now = store.intake_engine, store.wall_clock.now
    return PipelinePorts(
        user_service,
        _planner(settings, engine, now),
        BatchWriter(engine, now),
        NotificationStore(engine),
        realtime.bus,
    )


def _broadcasts(settings: Settings, store: Store, pipeline: Pipeline) -> BroadcastWorker:
    ports = BroadcastPorts(BroadcastStore(store.engine), _audiences(settings, store))
    return BroadcastWorker(pipeline, ports, settings.broadcasts.rate, store.wall_clock.now)


def _audiences(settings: Settings, store: Store) -> AudienceStore:
    return AudienceStore(store.engine, settings.ingest.default_locale)


def _planner(settings: Settings, engine: AsyncEngine, now: Now) -> Planner:
    evaluator = Evaluator(settings.ingest.preferences_off)
    push = None
    if settings.webpush.private_key is not None:
        push = PushPlan(DeviceStore(engine), settings.webpush.ttl, usual_details)
    waits = WaitPlanner(
        settings.waits.rules, evaluator, WaitingStore(engine), settings.ingest.default_locale, usual_details
    )
    return Planner(PreferenceStore(engine), evaluator, settings.ingest.default_locale, now, push, waits)


def build_outboxes(settings: Settings, store: Store, *, run: bool = True) -> Outboxes:
    """Make two workers a channel: no one-time code waits for the provider's answers to other messages.

    Without `run` there are none, and the channels only tell what is simulated.
    """
    connected = partial(store.presence.is_connected, unresponsive_after=UNRESPONSIVE_AFTER_SECONDS)
    ports = ChannelPorts(store.devices, connected, store.secrets)
    channels = make_channels(settings, ports)
    decided = partial(
        WaitingChannel,
        waiting=store.deliveries.waiting,
        people=store.people,
        evaluator=Evaluator(settings.ingest.preferences_off),
        now=store.wall_clock.now,
        base_url=settings.waits.base_url,
    )
    workers = [
        Outbox(store.deliveries, decided(channel), store.secrets, settings.outbox, codes=codes)
        for codes, each in ((False, channels), (True, make_channels(settings, ports)))
        for channel in each.values()
        if run and _works(channel, codes=codes)
    ]

    def wake() -> None:
        for worker in workers:
            worker.wake()

    signal = DeliverySignal(settings.postgres, wake) if run else None
    return Outboxes(channels, workers, signal, _webhooks(settings, store) if run else ())


def _webhooks(settings: Settings, store: Store) -> Sequence[Service]:
    """The worker, and what runs it, which stops first."""
    given = settings.webhooks
    client = OutboundClient(
        client_context(), given.timeout, MAX_WEBHOOK_CONNECTIONS, allow_private=given.allow_private
    )
    worker = WebhookWorker(WebhookStore(store.engine), client, store.secrets, given, store.wall_clock.now)
    return (
        Part(stop=worker.stop),
        every(WEBHOOK_POLL_SECONDS, worker.round, name="webhooks"),
    )


def _works(channel: Channel, *, codes: bool) -> bool:
    """Whether it needs a worker. Web push carries no codes, and nothing while it isn't configured."""
    return channel.name != WEBPUSH or not (codes or channel.simulated)


def _tested(channels: Mapping[str, Channel]) -> Sequence[str]:
    """The channels that a test goes over: not web push where it isn't configured."""
    return (INAPP, *(name for name, channel in channels.items() if _works(channel, codes=False)))


def build_api(
    settings: Settings, store: Store, realtime: Realtime, intake: Intake, outboxes: Outboxes
) -> tuple[Admission, Sequence[Blueprint]]:
    """Make the WebSocket endpoint, with its admission, and the REST resources."""
    authenticator, log = store.authenticator, store.deliveries
    admission = Admission(settings.websocket, realtime.manager)
    sockets, streams = _endpoints(settings.websocket, store, realtime, admission)
    idempotency = Idempotency(IdempotencyStore(store.engine))
    simulated = [name for name, channel in outboxes.channels.items() if channel.simulated]
    wait = settings.http.wait
    audiences = _audiences(settings, store)
    dry_run = DryRun(intake.pipeline, store.notifications, log.suppressions, simulated, wait, audiences)
    checks: dict[str, Check] = {
        "postgres": partial(check_postgres, store.engine),
        "redis": partial(check_redis, store.redis),
        **{name: source.check for name, source in intake.sources.items()},
    }
    source = HttpSource(intake.batcher, wait, settings.ingest.image_hosts)
    inboxes = _inboxes(settings, store, realtime)
    preferences = PreferenceResource(authenticator, store.people, Evaluator(settings.ingest.preferences_off))
    sends = SendingResource(REST, authenticator, source, idempotency, dry_run, _tested(outboxes.channels))
    context = CompatContext(authenticator, inboxes, preferences, sends, log, wait)
    return admission, (
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
        TopicResource(authenticator, topics, settings.ingest.user_ids).blueprint(REST),
        ClickResource(authenticator, WebhookStore(store.engine)).blueprint(REST),
        BroadcastResource(authenticator, BroadcastStore(store.engine)).blueprint(REST),
    )


def _of_deliveries(store: Store, channels: Sequence[str]) -> Sequence[Blueprint]:
    ports = ExplainPorts(
        store.scheduled,
        ParkedStore(store.engine),
        store.notifications,
        store.deliveries,
        DecisionStore(store.engine),
        BroadcastStore(store.engine),
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
    return _unsubscribing(settings, store), reports.blueprint(), opened.blueprint()


def _unsubscribing(settings: Settings, store: Store) -> Blueprint:
    tokens = UnsubscribeTokens(settings.outbox.unsubscribe_keys, store.secrets)
    suppressions, brand = store.deliveries.suppressions, settings.brand.brand()
    locale = settings.ingest.default_locale
    emit = WebhookStore(store.engine).emit
    return UnsubscribeResource(tokens, store.people, suppressions, emit, brand, locale).blueprint()


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


def _history(user_id: UUID, before: int) -> str:
    return f"{REST}/notifications/users/{user_id}?before={before}&protocol={SUBPROTOCOL}"
