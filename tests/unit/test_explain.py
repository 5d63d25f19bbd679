"""What `GET /events/{id}/explain` says of deliveries that wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from app.api.explain import outcome_of
from app.domain.deliveries import Delivery, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = Delivery(
    id=UUID(int=1),
    number=1,
    event_id="event",
    user_id=UUID(int=2),
    foreign_user_id=None,
    channel="email",
    template="digest",
    address="user@example.com",
    locale="en",
    status=Status.PENDING,
    reason="sent at 2026-01-01 00:04 UTC if the notification is unread then",
    attempts=0,
    next_attempt_at=NOW + timedelta(minutes=4),
    error_code=None,
    error=None,
    provider_id=None,
    created_at=NOW,
    expires_at=None,
    finished_at=None,
    category="food",
    segments=None,
    digest_id=None,
)


def test_a_step_waits_until_it_is_due_by_the_hub_s_clock() -> None:
    before = outcome_of(STEP, NOW)
    assert (before.verdict, before.until) == ("wait", STEP.next_attempt_at)
    due = outcome_of(STEP, NOW + timedelta(minutes=5))
    assert (due.verdict, due.until) == ("send", None)


def test_what_a_digest_holds_waits_for_it_however_late_that_is() -> None:
    held = msgspec.structs.replace(STEP, status=Status.HELD)
    outcome = outcome_of(held, NOW + timedelta(days=1))
    assert (outcome.verdict, outcome.until) == ("wait", STEP.next_attempt_at)


def test_the_address_is_masked() -> None:
    assert STEP.address is not None
    assert STEP.address not in str(outcome_of(STEP, NOW))
