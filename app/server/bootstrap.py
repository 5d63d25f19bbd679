"""The composition root: five builders make the parts of a node, `bootstrap` puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.auth import Authenticator
from app.api.limits import RequestLimits
from app.api.prefixes import REST
from app.auth.jwks import Jwks
from app.auth.revocation_feed import RevocationFeed
from app.auth.revocations import PREFIXES, RevocationStore
from app.auth.secrets import SecretBox
from app.auth.tokens import TokenVerifier
from app.domain.channels import INAPP, WEBPUSH
from app.domain.planning import Planner, PushPlan
from app.domain.preferences import Evaluator
from app.domain.time import Now
from app.domain.waiting import WaitPlanner
from app.ingest.batcher import Batcher
from app.ingest.broadcasts import BroadcastPorts, BroadcastWorker
from app.ingest.parked import ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.scheduler import SCHEDULE_POLL_SECONDS, Scheduler
from app.ingest.user_service import UserService
from app.outbox import make_channels
from app.outbox.channel import Channel, ChannelPorts
from app.outbox.waiting import WaitingChannel
from app.outbox.webhooks.worker import MAX_WEBHOOK_CONNECTIONS, WEBHOOK_POLL_SECONDS, Targets, WebhookWorker
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
from app.runtime.redis import connect, subscription
from app.runtime.redis_tracking import tracked_keys
from app.runtime.services import Part, Service, every
from app.runtime.tls import client_context
from app.runtime.wall_clock import WallClock
from app.server.build_api import build_api
from app.server.hub import Hub
from app.server.node_parts import Intake, Outboxes, Realtime, Store
from app.settings import Settings
from app.sources import BROKERS, Ingest, Source
from app.store.audiences import AudienceStore
from app.store.broadcasts import BroadcastStore
from app.store.cleaner import CLEAN_EVERY_SECONDS, Cleaner
from app.store.cleaning import CleaningStore
from app.store.deliveries import DeliverySignal, DeliveryStore
from app.store.devices import DeviceStore
from app.store.engine import check_schema, make_engines
from app.store.engine import clock as engine_clock
from app.store.inboxes import InboxStore
from app.store.migrations import head
from app.store.notifications import NotificationStore
from app.store.parked import ParkedStore
from app.store.preferences import PreferenceStore
from app.store.scheduled import ScheduledStore
from app.store.triage import TriageStore
from app.store.waiting import WaitingStore
from app.store.webhooks import WebhookStore
from app.store.writer import BatchWriter
from handlers.registry import handlers, usual_details


def bootstrap(settings: Settings) -> Hub:
    """Build a node. Nothing connects or runs before `Hub.start`."""
    store = build_store(settings)
    realtime = build_realtime(settings, store)
    intake = build_intake(settings, store, realtime)
    outboxes = build_outboxes(settings, store, run=settings.outbox.in_process)
    api = build_api(settings, store, realtime, intake, outboxes)
    return Hub(
        api.blueprints,
        api.connect,
        api.admission,
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
        AudienceStore(engine, settings.ingest.default_locale),
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
    membership.attach(manager.users, bus, None if disconnected is None else disconnected.user_disconnected)
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
    ports = BroadcastPorts(BroadcastStore(store.engine), store.audiences)
    return BroadcastWorker(pipeline, ports, settings.broadcasts.rate, store.wall_clock.now)


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
    tested = (INAPP, *(name for name, channel in channels.items() if _works(channel, codes=False)))
    return Outboxes(channels, tested, workers, signal, _webhooks(settings, store) if run else ())


def _webhooks(settings: Settings, store: Store) -> Sequence[Service]:
    """The worker, and what runs it, which stops first."""
    given = settings.webhooks
    client = OutboundClient(
        client_context(), given.timeout, MAX_WEBHOOK_CONNECTIONS, allow_private=given.allow_private
    )
    records = {
        broker.name: written
        for broker in BROKERS
        if (written := broker.records(settings, given.timeout)) is not None
    }
    worker = WebhookWorker(
        WebhookStore(store.engine), Targets(client, records), store.secrets, given, store.wall_clock.now
    )
    return (
        Part(stop=worker.stop),
        every(WEBHOOK_POLL_SECONDS, worker.round, name="webhooks"),
    )


def _works(channel: Channel, *, codes: bool) -> bool:
    """Whether it needs a worker. Web push carries no codes, and nothing while it isn't configured."""
    return channel.name != WEBPUSH or not (codes or channel.simulated)


def _history(user_id: UUID, before: int) -> str:
    return f"{REST}/notifications/users/{user_id}?before={before}&protocol={SUBPROTOCOL}"
