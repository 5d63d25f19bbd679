"""The Python client on a real hub: the examples of its README, and what they leave out."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from notification_hub_client import (
    AsyncHubClient,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Connected,
    HubClient,
    NotificationReceived,
    PermissionDeniedError,
    kafka,
)
from notification_hub_client.events import GroupUserAdded, Message
from tests.support.hub import ROOT, Hub, new_user

README = (ROOT / "client-python" / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def user(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user, whom the examples find in the environment."""
    user = new_user()
    monkeypatch.setenv("HUB_URL", hub.http)
    monkeypatch.setenv("HUB_USER", user)
    monkeypatch.setenv("HUB_TOKEN", hub.token(user, scope="notifications:send"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", hub.environment["KAFKA_BOOTSTRAP_SERVERS"])
    topics = kafka.Topics(notifications=hub.topic)
    monkeypatch.setattr(kafka, "Topics", lambda: topics)
    return user


def message(user: str, text: str) -> Message:
    return Message(type="inapp", user_id=user, message=text)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example_of_the_readme_runs(number: int, user: str) -> None:
    code = compile(EXAMPLES[number], f"README.md, example {number}", "exec")
    await asyncio.to_thread(exec, code, {"__name__": "__main__"})


async def test_a_feed_resumes_without_a_gap_and_reads_what_is_too_far_back(hub: Hub, user: str) -> None:
    async with AsyncHubClient(hub.http, hub.token(user, scope="notifications:send")) as client:
        sent = await client.publish_many(message(user, f"Dish {number}") for number in range(505))
        assert sent.accepted == 505
        seqs = []
        async with client.inbox(user).listen(after=2) as feed:
            async for event in feed:
                if isinstance(event, NotificationReceived):
                    seqs.append(event.notification.seq)
                    if event.notification.seq == 505:
                        break
            assert feed.position == 505
        assert seqs == list(range(3, 506))


async def test_a_list_follows_all_pages(hub: Hub, user: str) -> None:
    async with AsyncHubClient(hub.http, hub.token(user, scope="notifications:send")) as client:
        await client.publish_many(message(user, f"Dish {number}") for number in range(5))
        listed = [each.seq async for each in client.inbox(user).list(page_size=2)]
    assert listed == [5, 4, 3, 2, 1]


async def test_what_is_archived_or_snoozed_is_in_another_list(hub: Hub, user: str) -> None:
    async with AsyncHubClient(hub.http, hub.token(user, scope="notifications:send")) as client:
        await client.publish_many(message(user, f"Dish {number}") for number in range(4))
        inbox = client.inbox(user)
        one, two, three, _ = [each async for each in inbox.list()]
        assert (await inbox.archive(one.id)).id == one.id
        until = datetime.now(UTC) + timedelta(days=1)
        assert (await inbox.snooze(two.id, until)).snoozed_until is not None
        assert (await inbox.mark_unread((await inbox.mark_read(three.id)).id)).is_read is False
        assert [each.seq async for each in inbox.list(view="archived")] == [one.seq]
        assert [each.seq for each in (await inbox.page(view="snoozed")).notifications] == [two.seq]
        assert (await inbox.mark_all_seen()).counters.unseen == 0
        assert (await inbox.unarchive(one.id)).seq == one.seq
        assert (await inbox.archive_all(up_to=three.seq)).up_to == three.seq
        assert [each.seq async for each in inbox.list()] == [one.seq]
        assert (await inbox.delete_all()).counters.unread == 0


async def test_errors_carry_the_code_of_the_hub(hub: Hub, user: str) -> None:
    async with AsyncHubClient(hub.http, hub.token(user, scope="notifications:send")) as client:
        with pytest.raises(BadRequestError) as invalid:
            await client.publish({"event_type": "group_user_added"})
        with pytest.raises(PermissionDeniedError) as foreign:
            await client.inbox(new_user()).counters()
        event = Message(event_id=str(uuid4()), type="inapp", user_id=user, message="One")
        await client.publish(event)
        with pytest.raises(ConflictError) as conflict:
            await client.publish(Message(event_id=event.event_id, type="inapp", user_id=user, message="Two"))
    codes = [invalid.value.code, foreign.value.code, conflict.value.code]
    assert codes == ["bad_field", "other_user", "event_id_conflict"]


async def test_a_refused_token_is_renewed_once_and_a_fixed_one_is_an_error(hub: Hub, user: str) -> None:
    tokens = iter([hub.token(user, lifetime=-10), hub.token(user, scope="notifications:send")])
    async with AsyncHubClient(hub.http, lambda: next(tokens)) as client:
        await client.publish(message(user, "Dinner is ready."))
    with HubClient(hub.http, hub.token(user, lifetime=-10)) as blocking:
        with pytest.raises(AuthenticationError) as refused:
            await asyncio.to_thread(blocking.inbox(user).counters)
        with pytest.raises(AuthenticationError), blocking.inbox(user).listen() as feed:
            await asyncio.to_thread(next, feed)
    assert refused.value.code == "expired_token"


async def test_a_notification_that_comes_over_kafka_is_pushed(hub: Hub, user: str) -> None:
    async with AsyncHubClient(hub.http, hub.token(user)) as client, client.inbox(user).listen() as feed:
        async for event in feed:
            if isinstance(event, Connected):
                async with kafka.AsyncKafkaPublisher(hub.environment["KAFKA_BOOTSTRAP_SERVERS"]) as publisher:
                    await publisher.publish(
                        GroupUserAdded(
                            group_id=str(uuid4()),
                            group_name="G",
                            requester_username="j",
                            receivers=[user],
                        )
                    )
            if isinstance(event, NotificationReceived):
                assert event.notification.event_type == "group_user_added"
                break
