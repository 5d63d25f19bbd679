"""What the builders of a node make, and take from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.auth import Authenticator
from app.auth.revocation_feed import RevocationFeed
from app.auth.revocations import RevocationStore
from app.auth.secrets import SecretBox
from app.ingest.batcher import Batcher
from app.ingest.broadcasts import BroadcastWorker
from app.ingest.parked import ParkedWorker
from app.ingest.pipeline import Pipeline
from app.ingest.scheduler import Scheduler
from app.ingest.user_service import UserService
from app.outbox.channel import Channel
from app.outbox.worker import Outbox
from app.realtime.bus import RedisBus
from app.realtime.catch_up import CatchUp
from app.realtime.changes import InboxCommands
from app.realtime.disconnected import DisconnectedUsers
from app.realtime.inboxes import InboxReader
from app.realtime.manager import WebSocketManager
from app.realtime.membership import Membership
from app.realtime.presence import Presence
from app.realtime.reconciler import Reconciler
from app.realtime.revocations import RevocationWatch
from app.realtime.session import Sessions
from app.realtime.timer_wheel import TimerWheel
from app.runtime.redis import Client
from app.runtime.services import Service
from app.runtime.wall_clock import WallClock
from app.sources import Source
from app.store.audiences import AudienceStore
from app.store.cleaner import Cleaner
from app.store.deliveries import DeliverySignal, DeliveryStore
from app.store.devices import DeviceStore
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.preferences import PreferenceStore
from app.store.scheduled import ScheduledStore
from app.store.triage import TriageStore


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
    audiences: AudienceStore
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
    tested: Sequence[str]
    """The channels that a test goes over: not web push where it isn't configured."""
    workers: Sequence[Outbox]
    signal: DeliverySignal | None
    """What wakes the workers; None where there are none."""
    webhooks: Sequence[Service]
    """What sends webhook messages."""
