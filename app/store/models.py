"""The tables. Migrations have to equal them; a test compares."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Index, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables of the hub."""


class NotificationRow(Base):
    """One notification of one receiver."""

    __tablename__ = "notifications"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    group_id: Mapped[UUID | None]
    group_name: Mapped[str | None] = mapped_column(Text)
    receiver: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    template_code: Mapped[str] = mapped_column(Text)
    raw_data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    is_read: Mapped[bool] = mapped_column(server_default=text("false"))
    title: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    seq: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        # read backwards it also serves the list: an inbox, newest first
        UniqueConstraint("receiver", "seq", name="notifications_receiver_seq"),
        Index("notifications_unread", "receiver", "seq", postgresql_where=text("not is_read")),
    )


class InboxRow(Base):
    """How far the `seq` of one receiver has come."""

    __tablename__ = "inboxes"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger)


class ProcessedEventRow(Base):
    """An event that was handled: what makes a second delivery of it harmless."""

    __tablename__ = "processed_events"

    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    processed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
