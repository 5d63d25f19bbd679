"""The tables. Migrations have to equal them; a test compares."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    String,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domain.notifications import MAX_GROUP_NAME_CHARS, MAX_TEMPLATE_CODE_CHARS, MAX_TITLE_CHARS


class Base(DeclarativeBase):
    """All tables of the hub."""


_ARCHIVED, _SNOOZED = "snoozed_until is null", "snoozed_until is not null"
_OF_THREAD = "thread_key is not null"


class NotificationRow(Base):
    """One notification of one receiver."""

    __tablename__ = "notifications"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=False), primary_key=True)
    group_id: Mapped[UUID | None]
    group_name: Mapped[str | None] = mapped_column(String(MAX_GROUP_NAME_CHARS))
    receiver: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    template_code: Mapped[str] = mapped_column(String(MAX_TEMPLATE_CODE_CHARS))
    raw_data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    # one at a time; see also `InboxRow.read_up_to`
    is_read: Mapped[bool] = mapped_column(server_default=text("false"))
    title: Mapped[str] = mapped_column(String(MAX_TITLE_CHARS))
    content: Mapped[str] = mapped_column(Text)
    seq: Mapped[int] = mapped_column(BigInteger)
    # of the event's id; null in rows of before migration 0013, which knew it no more
    event_hash: Mapped[int | None] = mapped_column(BigInteger)
    # see `app.domain.details.Details`; these three are null in most rows
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    thread_key: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        # Read backwards it also serves the list: an inbox, newest first. Unread ones are found in it alone.
        Index("notifications_inbox", "receiver", "seq", unique=True, postgresql_include=["is_read"]),
        Index("notifications_age", "created_at"),
        Index("notifications_expiry", "expires_at", postgresql_where=text("expires_at is not null")),
        Index("notifications_thread", "receiver", "thread_key", postgresql_where=text(_OF_THREAD)),
    )


class ArchivedNotificationRow(Base):
    """A notification that its user archived, or that is snoozed: it is in no inbox and in no count."""

    __tablename__ = "archived_notifications"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    group_id: Mapped[UUID | None]
    group_name: Mapped[str | None] = mapped_column(String(MAX_GROUP_NAME_CHARS))
    receiver: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    template_code: Mapped[str] = mapped_column(String(MAX_TEMPLATE_CODE_CHARS))
    raw_data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    is_read: Mapped[bool]
    title: Mapped[str] = mapped_column(String(MAX_TITLE_CHARS))
    content: Mapped[str] = mapped_column(Text)
    # where it was in the inbox, and where it returns to
    seq: Mapped[int] = mapped_column(BigInteger)
    event_hash: Mapped[int | None] = mapped_column(BigInteger)
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    thread_key: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # null: archived
    snoozed_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("archived_notifications_archive", "receiver", "seq", postgresql_where=text(_ARCHIVED)),
        Index("archived_notifications_snoozed", "receiver", "seq", postgresql_where=text(_SNOOZED)),
        Index("archived_notifications_due", "snoozed_until", postgresql_where=text(_SNOOZED)),
        Index("archived_notifications_age", "created_at"),
        Index("archived_notifications_thread", "receiver", "thread_key", postgresql_where=text(_OF_THREAD)),
        Index("archived_notifications_expiry", "expires_at", postgresql_where=text("expires_at is not null")),
    )


class ArchiveSweepRow(Base):
    """An archive-all whose notifications are still in `notifications` (`app.store.sweeps`)."""

    __tablename__ = "archive_sweeps"

    receiver: Mapped[UUID] = mapped_column(primary_key=True)
    up_to: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    from_seq: Mapped[int] = mapped_column(BigInteger)
    # of the inbox, at that time
    read_up_to: Mapped[int] = mapped_column(BigInteger)
    unread_again: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))


class InboxRow(Base):
    """How far the `seq` of one receiver has come, and how often they read, deleted, or read all (023).

    All up to `read_up_to` are read, whatever their rows say. Of the first `last_seq` notifications `settled`
    are read or gone, the others are unread. Triggers on `notifications` keep that number; a batch, which only
    adds, leaves it as it is (033). `unread_again` are the exceptions at or under `read_up_to`. All up to
    `removed_up_to` are deleted; up to `cleared_up_to` their rows are gone too (039). All up to `seen_up_to`
    were seen. If that is above `read_up_to`, `seen_settled` are seen, read or gone (045).
    """

    __tablename__ = "inboxes"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger)
    rev: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    read_up_to: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    settled: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    unread_again: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    removed_up_to: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cleared_up_to: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    seen_up_to: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    seen_settled: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    # what an archive-all hides until it is moved; else 0 (046)
    archived_up_to: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (
        Index("inboxes_removed", "user_id", postgresql_where=text("removed_up_to > cleared_up_to")),
    )


class ProcessedEventRow(Base):
    """An event that was handled: what makes a second delivery of it harmless."""

    __tablename__ = "processed_events"

    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    processed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    # See `app.domain.identity.EventIdentity`; null in rows of before migration 0015.
    fingerprint: Mapped[int | None] = mapped_column(BigInteger)
    sender: Mapped[str | None] = mapped_column(Text)
    position: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (Index("processed_events_age", "processed_at"),)


_DUE_OTHERS = text("next_attempt_at is not null and replaces is null")
_DUE_CODES = text("next_attempt_at is not null and replaces is not null")
_PARKED = "finished_at is null"


class DeliveryRow(Base):
    """One message to one address over one channel: the outbox, and the log of what became of it."""

    __tablename__ = "deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(Text)
    user_id: Mapped[UUID | None]
    foreign_user_id: Mapped[str | None] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    template: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    locale: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    attachments: Mapped[list[Any] | None] = mapped_column(JSONB)
    secret: Mapped[bytes | None]
    replaces: Mapped[str | None] = mapped_column(Text)
    limit_key: Mapped[str | None] = mapped_column(Text)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    status: Mapped[str] = mapped_column(Text, server_default="pending")
    reason: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    error_code: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    provider_id: Mapped[str | None] = mapped_column(Text)
    event_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    category: Mapped[str | None] = mapped_column(Text)
    segments: Mapped[int | None]
    # see app.store.waiting; these five are null in most rows
    digest_id: Mapped[UUID | None]
    digest_key: Mapped[str | None] = mapped_column(Text)
    digest_latest: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    seq: Mapped[int | None] = mapped_column(BigInteger)
    only_if: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("deliveries_due", "channel", "next_attempt_at", postgresql_where=_DUE_OTHERS),
        Index("deliveries_codes_due", "channel", "next_attempt_at", postgresql_where=_DUE_CODES),
        Index("deliveries_newest", "created_at", "id"),
        # A page of the log each, in its order; see `app.store.deliveries.page_of_deliveries`.
        Index(
            "deliveries_by_user",
            "user_id",
            "created_at",
            "id",
            postgresql_where=text("user_id is not null"),
        ),
        Index(
            "deliveries_by_foreign_user",
            "foreign_user_id",
            "created_at",
            "id",
            postgresql_where=text("foreign_user_id is not null"),
        ),
        Index("deliveries_by_event", "event_id", "created_at", "id"),
        # Those that belong to nobody but their address, for erasure.
        Index("deliveries_address", text("lower(address)"), postgresql_where=text("user_id is null")),
        Index("deliveries_replaces", "replaces", "event_at", postgresql_where=text("replaces is not null")),
        Index("deliveries_limit", "limit_key", "finished_at", postgresql_where=text("limit_key is not null")),
        Index("deliveries_status", "status", "created_at", "id"),
        Index("deliveries_channel", "channel", "created_at", "id"),
        Index("deliveries_digest", "digest_id", postgresql_where=text("digest_id is not null")),
        Index(
            "deliveries_open_digest",
            "digest_key",
            unique=True,
            postgresql_where=text("digest_key is not null"),
        ),
        Index("deliveries_secret", "expires_at", postgresql_where=text("secret is not null")),
    )


class SuppressionRow(Base):
    """An address that gets nothing of a category (all: an empty text) over a channel, by its hash."""

    __tablename__ = "suppressions"

    channel: Mapped[str] = mapped_column(Text, primary_key=True)
    address: Mapped[bytes] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(Text, primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class AttemptRow(Base):
    """One try to hand a delivery over."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("deliveries.id", ondelete="cascade"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    seconds: Mapped[float] = mapped_column(Float)
    outcome: Mapped[str] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    provider_id: Mapped[str | None] = mapped_column(Text)


class DeliveryEventRow(Base):
    """What a provider reported of a delivery after it had taken it. A repeated report has the same key."""

    __tablename__ = "delivery_events"

    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("deliveries.id", ondelete="cascade"), primary_key=True
    )
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    happened_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    detail: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class PreferenceRow(Base):
    """What one person has said: of themselves, and, by the id of the choice, what they want."""

    __tablename__ = "preferences"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    locale: Mapped[str | None] = mapped_column(Text)
    time_zone: Mapped[str | None] = mapped_column(Text)
    quiet_from: Mapped[time | None] = mapped_column(Time)
    quiet_until: Mapped[time | None] = mapped_column(Time)
    email: Mapped[str | None] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    digests: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    choices: Mapped[dict[str, bool]] = mapped_column(JSONB, server_default=text("'{}'"))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class DeviceRow(Base):
    """A browser of a user that takes web push: where, and the keys that encrypt what is sent there."""

    __tablename__ = "devices"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    endpoint: Mapped[str] = mapped_column(Text)
    public_key: Mapped[bytes]
    auth: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("devices_user", "user_id"),)


class AddressRow(Base):
    """An address that a user asked to confirm. `code_hash` is there while its code is worth something."""

    __tablename__ = "addresses"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    channel: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    code_hash: Mapped[bytes | None]
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("addresses_user", "user_id", "created_at"),
        Index("addresses_address", text("lower(address)"), "created_at"),
        Index("addresses_age", "created_at"),
    )


class TopicRow(Base):
    """A topic that people follow; with their tokens only if it is open."""

    __tablename__ = "topics"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    open: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class TopicFollowerRow(Base):
    """A person who follows a topic."""

    __tablename__ = "topic_followers"

    topic_key: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    followed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("topic_followers_user", "user_id", "topic_key"),)


class BroadcastRow(Base):
    """An event for an audience, and how far it is: `cursor` is the last person who was looked at."""

    __tablename__ = "broadcasts"

    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    event_type: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    sender: Mapped[str | None] = mapped_column(Text)
    audience: Mapped[dict[str, Any]] = mapped_column(JSONB)
    body: Mapped[bytes]
    happened_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(Text, server_default="running")
    reason: Mapped[str | None] = mapped_column(Text)
    people: Mapped[int | None] = mapped_column(BigInteger)
    pages: Mapped[int] = mapped_column(server_default="0")
    cursor: Mapped[UUID] = mapped_column(server_default=text("'00000000-0000-0000-0000-000000000000'"))
    exhausted: Mapped[bool] = mapped_column(server_default=text("false"))
    deferred: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
    passed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    notified: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    deliveries: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    next_page_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    leased_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    thread_key: Mapped[str | None] = mapped_column(Text)
    amendments: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    amended: Mapped[int] = mapped_column(server_default="0")

    __table_args__ = (
        Index(
            "broadcasts_thread",
            "thread_key",
            postgresql_where=text("thread_key is not null and finished_at is null"),
        ),
        Index("broadcasts_due", "next_page_at", postgresql_where=text("state = 'running'")),
        Index("broadcasts_newest", "created_at", "event_id"),
        Index("broadcasts_done", "finished_at", postgresql_where=text("finished_at is not null")),
    )


class DecisionRow(Base):
    """A decision not to notify somebody of an event, if there is no delivery that has it."""

    __tablename__ = "decisions"

    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    channel: Mapped[str] = mapped_column(Text)
    user_id: Mapped[UUID | None]
    address: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("decisions_age", "created_at"),)


class WebhookEndpointRow(Base):
    """Where webhook messages go. The secrets are encrypted."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    secret: Mapped[bytes]
    previous_secret: Mapped[bytes | None]
    previous_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class WebhookMessageRow(Base):
    """One event for one endpoint. Triggers make them (migration 0028)."""

    __tablename__ = "webhook_messages"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="cascade"))
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(Text, server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index(
            "webhook_messages_due",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at is not null"),
        ),
        Index("webhook_messages_age", "created_at"),
    )


class ScheduledEventRow(Base):
    """An event that is to happen later. `body` is the event itself."""

    __tablename__ = "scheduled_events"

    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    body: Mapped[bytes]
    sender: Mapped[str | None] = mapped_column(Text)
    send_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status: Mapped[str] = mapped_column(Text, server_default="scheduled")
    reason: Mapped[str | None] = mapped_column(Text)
    taken_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    fingerprint: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index("scheduled_events_due", "send_at", postgresql_where=text("status = 'scheduled'")),
        Index("scheduled_events_done", "send_at", postgresql_where=text("status <> 'scheduled'")),
    )


class ParkedEventRow(Base):
    """An event that waits for the answer of another service, or behind one that does (`app.store.parked`).

    One that was dead-lettered stays, without its content, so that a redelivery isn't dead-lettered again.
    """

    __tablename__ = "parked_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    position: Mapped[str] = mapped_column(Text)
    lane: Mapped[UUID]
    group_id: Mapped[UUID | None]
    order_key: Mapped[bytes | None]
    event_id: Mapped[str] = mapped_column(Text)
    event_type: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    dedup_key: Mapped[str] = mapped_column(Text)
    sender: Mapped[str | None] = mapped_column(Text)
    happened_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    body: Mapped[bytes]
    labels: Mapped[bytes | None]
    parked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    deadline: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    leased_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempts: Mapped[int] = mapped_column(server_default="0")
    fresh: Mapped[bool] = mapped_column(server_default=text("false"))
    optional: Mapped[bool] = mapped_column(server_default=text("false"))
    reason: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    fingerprint: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        UniqueConstraint("position", name="parked_events_position"),
        Index("parked_events_lane", "lane", "id", postgresql_where=text(_PARKED)),
        Index(
            "parked_events_of_group",
            "group_id",
            "id",
            postgresql_where=text(f"{_PARKED} and group_id is not null"),
        ),
        Index(
            "parked_events_of_key",
            "order_key",
            "id",
            postgresql_where=text(f"{_PARKED} and order_key is not null"),
        ),
        Index("parked_events_done", "finished_at", postgresql_where=text("finished_at is not null")),
    )


class IdempotencyKeyRow(Base):
    """A request that a service gave a key, and the answer it got (none yet: it is being handled)."""

    __tablename__ = "idempotency_keys"

    service: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[bytes]
    handled_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status: Mapped[int | None]
    answer: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("idempotency_keys_age", "created_at"),)
