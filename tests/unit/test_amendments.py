"""Updates and retractions, from the event to the frames, on the hub in memory."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.domain.errors import InvalidEvent
from app.realtime.event_format import payloads
from app.testing import MemoryHub
from app.testing.bus import MemoryConnection

USER = uuid4()


def message(**more: Any) -> dict[str, Any]:
    return {"type": "inapp", "user_id": str(USER), "title": "On its way", "message": "Today.", **more}


def update(**more: Any) -> dict[str, Any]:
    return {"event_type": "notification_updated", **more}


def frames(client: MemoryConnection) -> list[dict[str, Any]]:
    found = [each for each in client.received if isinstance(each, bytes)]
    return [json.loads(payload) for frame in found for payload in payloads(frame)]


async def test_an_update_reaches_session_clients_and_no_others() -> None:
    hub = MemoryHub()
    session, plain = hub.bus.connect(USER, session=True), hub.bus.connect(USER)
    assert await hub.publish(message(thread_key="order-7", event_id="one")) is None
    assert await hub.publish(update(original_event_id="one", title="Arrived", severity="success")) is None
    (frame,) = frames(session)
    assert (frame["type"], frame["place"], frame["rev"]) == ("notification_updated", "inbox", 1)
    shown = frame["data"]
    assert (shown["title"], shown["content"], shown["severity"]) == ("Arrived", "Today.", "success")
    assert (shown["thread_key"], shown["seq"], shown["is_read"]) == ("order-7", 1, False)
    retraction = {"event_type": "notification_retracted", "thread_key": "order-7", "user_id": str(USER)}
    assert await hub.publish(retraction) is None
    assert frames(session)[1]["type"] == "notification_retracted"
    assert (hub.inbox(USER), frames(plain), len(plain.received)) == ([], [], 1)


async def test_texts_of_an_event_type_give_way_to_a_publishers_own_in_every_language() -> None:
    hub = MemoryHub()
    event = {
        "event_type": "plan_assigned",
        "event_id": "plan",
        "group_id": str(uuid4()),
        "receivers": [str(USER)],
        "data": {"group_name": "Home", "plan_id": 7, "deadline": "tomorrow", "assignee_username": "mai"},
    }
    assert await hub.publish(event) is None
    assert await hub.publish(update(original_event_id="plan", message="It is done.")) is None
    (shown,) = hub.inbox(USER)
    assert (shown.template_code, shown.content) == ("MESSAGE", "It is done.")
    assert shown.details is not None
    assert shown.details.category == "plans"


async def test_an_update_may_be_of_a_template() -> None:
    hub = MemoryHub()
    await hub.publish(message(event_id="one", actions=[{"id": "a", "label": "A"}]))
    data = {"group_name": "Home", "requester_username": "mai"}
    change = update(original_event_id="one", template_code="group_user_added", data=data, actions=[])
    assert await hub.publish(change) is None
    (shown,) = hub.inbox(USER)
    assert (shown.template_code, json.loads(bytes(shown.raw_data))) == ("GROUP_USER_ADDED", data)
    assert "Home" in shown.title + shown.content
    assert shown.details is not None
    assert (shown.details.actions, shown.details.category) == ((), "messages")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (update(original_event_id="never", title="x"), "no_such_event"),
        ({"event_type": "notification_retracted", "original_event_id": "never"}, "no_such_event"),
        (update(original_event_id="one"), "bad_field"),
        (update(title="x"), "bad_field"),
        (update(original_event_id="one", thread_key="a", user_id=str(USER), title="x"), "bad_field"),
        (update(thread_key="a", title="x"), "bad_field"),
        (update(thread_key="a", user_id="nobody", title="x"), "bad_field"),
        (update(original_event_id="one", title="x", template_code="plan_assigned"), "bad_field"),
        (update(original_event_id="one", template_code="plan_assigned", data={}), "bad_field"),
        (update(original_event_id="one", template_code="otp_register"), "bad_field"),
        (update(original_event_id="one", title="\u200b"), "bad_field"),
    ],
    ids=range(11),
)
async def test_what_can_not_be_changed_is_refused_with_the_reason(event: dict[str, Any], reason: str) -> None:
    hub = MemoryHub()
    await hub.publish(message(event_id="one"))
    refused = await hub.publish(event)
    assert isinstance(refused, InvalidEvent)
    assert refused.reason == reason
    assert [each.title for each in hub.inbox(USER)] == ["On its way"]


async def test_details_that_can_not_be_used_are_left_out_of_an_update() -> None:
    hub = MemoryHub()
    await hub.publish(message(event_id="one"))
    change = update(original_event_id="one", title="x", url="javascript:x", severity="success", unread=None)
    assert await hub.publish(change) is None
    (shown,) = hub.inbox(UUID(str(USER)))
    assert shown.details is not None
    assert (shown.title, shown.details.url, shown.details.severity) == ("x", None, "success")
