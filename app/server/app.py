"""The one place that wires everything: it starts in the order of `_start` and stops in the reverse."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import UUID

import uvloop
from sanic import Blueprint, Request, Sanic
from sanic.response import BaseHTTPResponse
from sanic_ext import Extend
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app import __version__
from app.api import cors, docs, errors, sending, ws
from app.api.admission import Admission
from app.api.auth import Authenticator
from app.api.deliveries import DeliveryResource
from app.api.handshake import Handshake
from app.api.health import Check, OperationResource
from app.api.idempotency import Idempotency
from app.api.notifications import NotificationResource
from app.api.preferences import PreferenceResource
from app.api.prefixes import REST, WEBSOCKET
from app.api.sending import SendingResource, SentEventResource
from app.api.sign_in import SignIn
from app.auth.revocations import RevocationStore
from app.auth.secrets import SecretBox
from app.auth.tokens import TokenVerifier
from app.domain.errors import Unavailable
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batcher import Batcher
from app.ingest.dry_run import DryRun
from app.ingest.pipeline import Pipeline
from app.ingest.scheduler import SCHEDULE_POLL_SECONDS, Scheduler
from app.ingest.user_service import UserService
from app.outbox import make_channels
from app.outbox.channel import Channel
from app.outbox.worker import Outbox
from app.realtime.bus import RedisBus
from app.realtime.catch_up import CatchUp
from app.realtime.changes import InboxCommands
from app.realtime.inboxes import InboxReader
from app.realtime.manager import WebSocketManager
from app.realtime.membership import Membership
from app.realtime.presence import Presence
from app.realtime.reconciler import Reconciler
from app.realtime.resync import Resync
from app.realtime.revocations import CHECK_SECONDS, RevocationWatch
from app.realtime.session import Sessions
from app.realtime.timer_wheel import TimerWheel
from app.runtime import log
from app.runtime.metrics import REQUESTS
from app.runtime.redis import REDIS_ERRORS, Client, connect, subscription
from app.runtime.services import every
from app.runtime.wall_clock import WallClock
from app.server.serve import bind, raise_file_limit, serve
from app.server.supervisor import Supervisor
from app.settings import Settings
from app.sources import BROKERS, Ingest, Source
from app.sources.http import HttpSource
from app.store.cleaner import CLEAN_EVERY_SECONDS, Cleaner
from app.store.cleaning import CleaningStore
from app.store.deliveries import DeliverySignal, DeliveryStore
from app.store.engine import check_schema, make_engine, store_errors
from app.store.engine import clock as engine_clock
from app.store.idempotency import IdempotencyStore
from app.store.inboxes import InboxStore
from app.store.migrations import head
from app.store.notifications import NotificationStore
from app.store.preferences import PreferenceStore
from app.store.scheduled import ScheduledStore
from app.store.writer import BatchWriter
from handlers.registry import handlers

MAX_REQUEST_BYTES = 1024 * 1024
METHODS = frozenset(("GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "POST", "PUT"))


def create_app(settings: Settings, *more: Blueprint) -> Sanic[Any, Any]:
    """The hub as a Sanic app; its listeners start and stop all the rest. `more` is served beside it."""
    app: Sanic[Any, Any] = Sanic("notification-hub", configure_logging=False, request_class=errors.HubRequest)
    app.config.update(_http_limits(settings))
    engine = make_engine(settings.postgres)
    redis = connect(settings.redis)
    store = NotificationStore(engine)
    user_service = UserService(settings.user_service)
    revocation_store = RevocationStore(redis, one_by_one=settings.redis.cluster)
    clock = TimerWheel()
    inboxes = InboxStore(engine)
    reader = InboxReader(inboxes)
    catch_up = CatchUp(reader)
    presence = Presence(redis, settings.redis.prefix)
    wall_clock = WallClock({"postgres": partial(engine_clock, engine), "redis": presence.time})
    now = wall_clock.now
    membership = Membership(presence, partial(subscription, redis, settings.redis))
    manager = WebSocketManager(catch_up.start, membership.left)
    reconciler = Reconciler(manager, inboxes, catch_up, membership)
    resync = Resync(manager, membership, reader)
    bus = RedisBus(manager, presence, membership, reconciler.soon, resync.start, revocation_store.forget)
    membership.attach(manager.users, bus)
    people = PreferenceStore(engine)
    evaluator = Evaluator(settings.ingest.preferences_off)
    box = SecretBox(settings.outbox.delivery_keys, settings.auth.jwt_secret, settings.postgres.url)
    writer = BatchWriter(engine, now)
    table = handlers(settings.outbox.otp_ttl)
    locale = settings.ingest.default_locale
    planner = Planner(people, evaluator, locale, now)
    pipelines = [
        Pipeline(table, user_service, planner, writer, store, bus, locale, box.encrypt, now) for _ in range(2)
    ]
    intake = Batcher(pipelines[0], settings.ingest.batch_size)
    scheduled = ScheduledStore(engine)
    scheduler = Scheduler(scheduled, intake)
    cleaner = Cleaner(CleaningStore(engine), settings.retention.event_ids, settings.retention.notifications)
    periodic = (
        every(SCHEDULE_POLL_SECONDS, scheduler.hand_over_due, name="scheduler"),
        every(CLEAN_EVERY_SECONDS, cleaner.clean, name="cleaner"),
    )
    sources: dict[str, Source] = {}
    ingest = Ingest(pipelines[0], pipelines[1], intake, now)
    for broker in BROKERS:
        if broker.configured(settings):
            sources.update(broker.sources(settings, ingest))
    log_of_deliveries = DeliveryStore(engine)
    # Nor does one wait for the mail server's answers to other mail.
    channels = make_channels(settings)
    outboxes = [
        Outbox(log_of_deliveries, channel, box, settings.outbox, codes=codes)
        for codes, each in ((False, channels), (True, make_channels(settings)))
        for channel in each.values()
    ]

    def wake_outboxes() -> None:
        for outbox in outboxes:
            outbox.wake()

    signal_of_deliveries = DeliverySignal(settings.postgres, wake_outboxes)
    authenticator = Authenticator(
        TokenVerifier(settings.auth, now), revocation_store, settings.auth.metrics_token
    )
    watch = every(
        CHECK_SECONDS,
        RevocationWatch(manager, revocation_store).check,
        name="revocation watch",
        at_start=False,
    )
    changes = InboxCommands(store, bus)
    sessions = Sessions(resync, reader, catch_up, changes, authenticator.claims, _history)
    admission = Admission(settings.websocket, manager)
    endpoint = ws.WebSocketEndpoint(
        admission,
        Handshake(settings.websocket),
        SignIn(authenticator, manager, membership, reader, bus.logged_out),
        sessions,
        catch_up,
        ws.connection_context(settings.websocket, clock, wall_clock.loop_time, admission.lost),
    )

    errors.install(app)
    docs.configure(app, __version__)
    Extend(app, config={"oas": False, "cors": False})
    cors.install(app, settings.http.allowed_origins)
    app.blueprint(NotificationResource(authenticator, store, changes, locale).blueprint(REST))
    app.blueprint(DeliveryResource(authenticator, log_of_deliveries, [*channels]).blueprint(REST))
    app.blueprint(PreferenceResource(authenticator, people, evaluator).blueprint(REST))
    app.blueprint(
        sending.make_blueprint(
            REST,
            SendingResource(
                REST,
                authenticator,
                HttpSource(intake, settings.http.wait),
                Idempotency(IdempotencyStore(engine)),
                DryRun(pipelines[0], store, _simulated(channels), settings.http.wait),
            ),
            SentEventResource(authenticator, scheduled, log_of_deliveries, store),
        )
    )
    app.blueprint(ws.make_blueprint(WEBSOCKET, endpoint.connect))
    checks = {
        "postgres": _check_postgres(engine),
        "redis": _check_redis(redis),
        **{name: source.check for name, source in sources.items()},
    }
    app.blueprint(OperationResource(authenticator, checks).blueprint(REST))
    for blueprint in more:
        app.blueprint(blueprint)
    _measure_requests(app)
    app.ctx.repeat_offenders = admission.repeat_offenders.wait
    running = AsyncExitStack()

    @app.before_server_start
    async def start(*_: object) -> None:
        running.push_async_callback(engine.dispose)
        await check_schema(engine, head())
        running.push_async_callback(redis.aclose)
        running.push_async_callback(user_service.close)
        await wall_clock.start()
        running.push_async_callback(wall_clock.stop)
        await clock.start()
        running.push_async_callback(clock.stop)
        running.push_async_callback(reader.close)
        await watch.start()
        running.push_async_callback(watch.stop)
        await reconciler.start()
        running.push_async_callback(reconciler.stop)
        await membership.start()
        running.push_async_callback(membership.stop)
        for outbox in outboxes:
            await outbox.start()
        await signal_of_deliveries.start()
        running.push_async_callback(signal_of_deliveries.stop)
        await bus.start()
        running.push_async_callback(bus.stop)
        await intake.start()
        running.push_async_callback(intake.stop)
        for each in periodic:
            await each.start()
            running.push_async_callback(each.stop)

    @app.after_server_start
    async def consume(*_: object) -> None:
        for source in sources.values():
            await source.start()

    @app.before_server_stop
    async def drain(*_: object) -> None:
        """Take no one new, finish what is in hand, send the clients to another node: all within the grace."""
        end = time.monotonic() + settings.server.shutdown_grace
        admission.close()
        within = settings.server.shutdown_grace * 0.6
        await asyncio.gather(
            *(source.stop(within) for source in sources.values()),
            *(outbox.stop(within) for outbox in outboxes),
        )
        await manager.drain(within=max(0.5, end - time.monotonic()))

    @app.after_server_stop
    async def stop(*_: object) -> None:
        await running.aclose()

    return app


def _simulated(channels: Mapping[str, Channel]) -> list[str]:
    return [name for name, channel in channels.items() if channel.simulated]


def _history(user_id: UUID, before: int) -> str:
    return f"{REST}/notifications/users/{user_id}?before={before}"


def _http_limits(settings: Settings) -> dict[str, object]:
    return {
        "ACCESS_LOG": False,  # Sanic's shows the whole address, with the token in it
        "FALLBACK_ERROR_FORMAT": "json",
        "REQUEST_MAX_SIZE": MAX_REQUEST_BYTES,
        "REQUEST_MAX_HEADER_SIZE": 16 * 1024,
        "REQUEST_TIMEOUT": 10,
        "RESPONSE_TIMEOUT": 30,
        "KEEP_ALIVE_TIMEOUT": 75,
        "PROXIES_COUNT": settings.server.proxies_count or None,
        "GRACEFUL_SHUTDOWN_TIMEOUT": settings.server.shutdown_grace,
    }


def _measure_requests(app: Sanic[Any, Any]) -> None:
    async def begin(request: Request) -> None:
        request.ctx.begun = time.perf_counter()

    async def end(request: Request, response: BaseHTTPResponse) -> None:
        route = request.route.path if request.route else "unknown"
        seconds = time.perf_counter() - getattr(request.ctx, "begun", time.perf_counter())
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, route, response.status).observe(seconds)

    app.register_middleware(begin, "request")
    app.register_middleware(end, "response")


def _check_postgres(engine: AsyncEngine) -> Check:
    async def check() -> None:
        with store_errors():
            async with engine.connect() as connection:
                await connection.execute(text("select 1"))

    return check


def _check_redis(redis: Client) -> Check:
    async def check() -> None:
        try:
            await redis.ping()
        except REDIS_ERRORS as error:
            raise Unavailable("redis", type(error).__name__) from None

    return check


def run(settings: Settings) -> int:
    """Serve with `settings` until told to stop; the exit status."""
    log.configure(settings.server.log_level)
    raise_file_limit()
    if settings.server.workers == 1:
        _work(settings, bind(settings.server.host, settings.server.port))
        return 0
    bind(settings.server.host, settings.server.port).close()  # fails if someone else has it, be it shared
    one_more = partial(bind, settings.server.host, settings.server.port, shared=True)
    return Supervisor(
        settings.server.workers, one_more, partial(_work, settings), settings.server.shutdown_grace
    ).run()


def _work(
    settings: Settings,
    listener: socket.socket,
    lifeline: int | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    try:
        app = create_app(settings)
        uvloop.run(serve(app, listener, app.ctx.repeat_offenders, on_ready, lifeline))
    finally:
        listener.close()
