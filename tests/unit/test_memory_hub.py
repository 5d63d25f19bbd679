"""The hub in memory: what the author of an event type builds on. Its parts: tests/contract."""

from __future__ import annotations

import time
from uuid import uuid4

import msgspec

from app.realtime.protocol import CloseCode
from app.store.scheduled import ScheduledState
from app.testing import MemoryHub
from handlers.registry import HANDLERS

OTP = {"email": "mai@example.com", "otp_code": "482913", "action": "register"}


def message(user: object, **changes: object) -> dict[str, object]:
    return {"type": "inapp", "user_id": user, "title": "T", "message": "M", **changes}


async def test_the_same_event_twice_has_its_effects_once() -> None:
    hub, user = MemoryHub(), uuid4()
    event = message(user, event_id="a")
    assert [await hub.publish(event), await hub.publish(event)] == [None, None]
    assert [each.seq for each in hub.inbox(user)] == [1]
    assert hub.pushed(user) == hub.inbox(user), "a copy is pushed to nobody"


async def test_two_events_without_an_id_are_two() -> None:
    hub, user = MemoryHub(), uuid4()
    for _ in range(2):
        await hub.publish(message(user))
    assert [each.seq for each in hub.inbox(user)] == [1, 2]


async def test_a_connected_client_gets_what_is_pushed_and_a_logout_ends_it() -> None:
    hub, user = MemoryHub(), uuid4()
    await hub.publish(message(user))
    client = hub.bus.connect(user, last_seq=1)
    await hub.publish(message(user))
    assert [each.seq for each in client.notifications] == [2]
    assert await hub.publish({"event_type": "account_logged_out", "user_id": user}) is None
    assert client.close_code == CloseCode.LOGGED_OUT
    assert hub.bus.logouts == [user]


async def test_what_is_rejected_is_kept_with_its_message() -> None:
    hub = MemoryHub()
    for event, reason in ((b"{", "not_json"), (b'{"event_type": "nobody_knows"}', "unknown_event_type")):
        error = await hub.publish(event)
        assert error is not None
        assert error.reason == reason
    found = [(each.message.value, each.error.reason) for each in hub.rejected]
    assert found == [(b"{", "not_json"), (b'{"event_type": "nobody_knows"}', "unknown_event_type")]


async def test_an_event_type_that_its_topic_names_is_taken_from_there_only() -> None:
    hub = MemoryHub()
    assert await hub.publish(OTP, event_type="otp_register") is None
    (mail,) = hub.deliveries
    assert mail.secret is not None
    assert msgspec.json.decode(mail.secret) == {"code": "482913"}
    assert await hub.publish(OTP, event_type="otp_register", source="http") is not None
    assert hub.deliveries == [mail]


async def test_the_clock_goes_ahead_and_what_is_due_then_has_a_status() -> None:
    began = time.time()
    hub, user = MemoryHub(now=lambda: began), uuid4()
    later = message(user, event_id="later", send_at="2999-01-01T00:00:00Z")
    await hub.publish(later)
    await hub.advance(60)
    assert hub.inbox(user) == []
    scheduled = await hub.store.scheduled.get("later")
    assert scheduled is not None
    assert scheduled.status is ScheduledState.SCHEDULED
    await hub.advance(scheduled.send_at.timestamp() - began)
    assert [each.seq for each in hub.inbox(user)] == [1]
    scheduled = await hub.store.scheduled.get("later")
    assert scheduled is not None
    assert scheduled.status is ScheduledState.SENT
    await hub.publish(later)
    assert len(hub.inbox(user)) == 1, "it was processed"


async def test_it_knows_the_event_types_it_is_given() -> None:
    hub, user = MemoryHub({"message": HANDLERS["message"]}), uuid4()
    assert await hub.publish(message(user)) is None
    error = await hub.publish({"event_type": "low_stock", "receivers": [user]})
    assert error is not None
    assert error.reason == "unknown_event_type"
