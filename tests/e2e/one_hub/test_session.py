"""The session protocol hub.v1: resume without a gap, state on every device, a new token in place."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.dev import asyncapi
from tests.support.hub import Hub, added, new_user, quiet, receive, token


def session(hub: Hub, user: str, query: str = "", **changes: Any) -> connect:
    """A client that offers the subprotocol."""
    return connect(
        hub.socket_address(user) + query,
        subprotocols=["hub.v1", f"bearer.{token(user, **changes)}"],  # type: ignore[list-item]
        compression=None,
        max_queue=None,  # a client that stops listening still sees the answer to its close
    )


async def say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def seqs(socket: ClientConnection, count: int) -> list[int]:
    return [(await receive(socket))["data"]["seq"] for _ in range(count)]


def counts(unread: int, last_seq: int, rev: int, unseen: int, seen_up_to: int) -> dict[str, Any]:
    """The counters of a frame."""
    return {
        **{"unread": unread, "last_seq": last_seq, "rev": rev},
        **{"unseen": unseen, "seen_up_to": seen_up_to},
    }


def tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def checked(frame: dict[str, Any]) -> dict[str, Any]:
    """The frame, which is as docs/asyncapi.yml says."""
    schemas = asyncapi.document()["components"]["schemas"]
    kinds = {
        schema["properties"]["type"]["enum"][0]: name
        for name, schema in schemas.items()
        if "enum" in schema.get("properties", {}).get("type", {})
    }
    name = kinds[frame["type"]] if "type" in frame else "NotificationFrame"
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(frame)
    return frame


def test_the_description_is_what_the_code_says() -> None:
    assert asyncapi.PATH.read_text("utf-8") == asyncapi.text(), "run `make asyncapi`"


async def test_every_kind_of_frame_is_as_described(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user), added(user))
    first, second = [row["id"] for row in await hub.stored(user, 2)]
    kinds: set[str] = set()
    async with session(hub, user, "?after=1") as socket, hub.client(user) as client:
        await say(socket, type="read", id=first)
        for call in ("unread", "archive", "unarchive", "snooze"):
            path = f"/notifications/{first}/users/{user}/{call}"
            (await client.patch(path, params={"until": tomorrow()})).raise_for_status()
        await client.delete(f"/notifications/{second}/users/{user}")
        await client.patch(f"/notifications/users/{user}/read")
        await say(socket, type="seen", up_to=1)
        await client.patch(f"/notifications/users/{user}/archive")
        await client.delete(f"/notifications/users/{user}")
        await say(socket, type="token", jwt=token(user))
        await say(socket, type="ping")
        await say(socket, type="nothing")
        while len(kinds) < 16:
            frame = checked(await receive(socket))
            assert frame.get("type") or frame.keys() == {"event_type", "data"}
            kinds.add(frame.get("type", "notification"))
    assert kinds == {
        *("connected", "notification", "resumed", "notification_read", "notification_deleted"),
        *("all_read", "all_seen", "all_archived", "all_deleted", "token_renewed", "pong", "error"),
        *("notification_unread", "notification_archived", "notification_unarchived", "notification_snoozed"),
    }


async def test_the_first_frame_says_how_the_inbox_stands(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user), added(user))
    await hub.stored(user, 2)
    async with session(hub, user) as socket:
        connected = await receive(socket)
        assert connected.pop("node")
        assert connected == {"type": "connected", **counts(2, 2, 0, 2, 0)}
        await hub.publish(added(user))
        assert await seqs(socket, 1) == [3]


async def test_a_client_that_comes_back_gets_what_it_missed_in_order_and_then_goes_live(hub: Hub) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(5)))
    await hub.stored(user, 5)
    async with session(hub, user, "?after=2") as socket:
        assert (await receive(socket))["type"] == "connected"
        assert await seqs(socket, 3) == [3, 4, 5]
        assert await receive(socket) == {"type": "resumed", "from": 2, "to": 5, "complete": True}
        await hub.publish(added(user))
        assert await seqs(socket, 1) == [6]


async def test_a_resume_may_be_asked_for_by_message(hub: Hub) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(3)))
    await hub.stored(user, 3)
    async with session(hub, user) as socket:
        assert (await receive(socket))["last_seq"] == 3
        await say(socket, type="resume", after=0)
        assert await seqs(socket, 3) == [1, 2, 3]
        assert (await receive(socket))["complete"] is True


async def test_a_resume_from_too_far_back_says_where_to_read_on(hub: Hub) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(501)))
    await hub.stored(user, 501)
    async with session(hub, user, "?after=0") as socket, hub.client(user) as client:
        await receive(socket)
        resumed = await receive(socket)
        assert (resumed["from"], resumed["to"], resumed["complete"]) == (0, 501, False)
        listed = (await client.get(hub.http + resumed["read_on"])).json()
        assert [item["seq"] for item in listed] == list(range(501, 0, -1))
        await hub.publish(added(user))
        assert await seqs(socket, 1) == [502]


async def test_a_client_of_an_erased_inbox_is_resynced(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user))
    await hub.stored(user, 1)
    async with session(hub, user, "?after=50") as socket, hub.client(user) as client:
        assert (await receive(socket))["last_seq"] == 1
        resumed = await receive(socket)
        assert (resumed["from"], resumed["to"], resumed["complete"]) == (50, 1, False)
        listed = (await client.get(hub.http + resumed["read_on"])).json()
        assert [item["seq"] for item in listed] == [1]
        await hub.publish(added(user))
        assert await seqs(socket, 1) == [2]


async def test_a_client_that_resumes_from_before_what_retention_removed_gets_the_rest(hub: Hub) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(5)))
    await hub.stored(user, 5)
    await hub.rows("delete from notifications where receiver = $1 and seq <= 3", user)
    async with session(hub, user, "?after=1") as socket:
        connected = await receive(socket)
        assert (connected["last_seq"], connected["unread"]) == (5, 2)
        assert await seqs(socket, 2) == [4, 5]
        assert await receive(socket) == {"type": "resumed", "from": 1, "to": 5, "complete": True}
        await hub.publish(added(user))
        assert await seqs(socket, 1) == [6]


async def test_reconnecting_all_the_time_while_events_come_misses_and_doubles_nothing(hub: Hub) -> None:
    user = new_user()
    total = 400  # fewer than a resume may bring
    publishing = asyncio.create_task(hub.publish(*(added(user, f"name {n}") for n in range(total))))
    seen: list[int] = []
    while len(seen) < total:
        async with session(hub, user, f"?after={len(seen)}") as socket:
            patience = 5 + len(seen) % 7  # frames until the next hiccup
            with suppress(ConnectionClosed):
                while patience and len(seen) < total:
                    frame = await receive(socket)
                    if "data" in frame:
                        seen.append(frame["data"]["seq"])
                        patience -= 1
    await publishing
    assert seen == list(range(1, total + 1))


async def test_what_one_device_does_the_others_hear_with_the_exact_unread_count(hub: Hub) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(5)))
    rows = await hub.stored(user, 5)
    ids = [row["id"] for row in rows]
    async with (
        session(hub, user) as phone,
        session(hub, user) as laptop,
        hub.socket(user) as plain,
        hub.client(user) as client,
    ):
        await receive(phone)
        await receive(laptop)
        answer = await client.patch(f"/notifications/{ids[0]}/users/{user}/read")
        assert answer.headers["inbox-count"] == "unread=4, last_seq=5, rev=1, unseen=4, seen_up_to=0"
        expected: dict[str, Any] = {"type": "notification_read", "id": ids[0], **counts(4, 5, 1, 4, 0)}
        assert await receive(phone) == await receive(laptop) == expected
        answer = await client.delete(f"/notifications/{ids[1]}/users/{user}")
        assert answer.headers["inbox-count"] == "unread=3, last_seq=5, rev=2, unseen=3, seen_up_to=0"
        expected = {"type": "notification_deleted", "id": ids[1], **counts(3, 5, 2, 3, 0)}
        assert await receive(phone) == await receive(laptop) == expected
        await say(phone, type="read", id=ids[2])
        expected = {"type": "notification_read", "id": ids[2], **counts(2, 5, 3, 2, 0)}
        assert await receive(phone) == await receive(laptop) == expected
        answer = await client.patch(f"/notifications/users/{user}/read", params={"up_to": 4})
        assert answer.json() == {"up_to": 4, "unread": 1, "unseen": 1}
        assert answer.headers["inbox-count"] == "unread=1, last_seq=5, rev=4, unseen=1, seen_up_to=4"
        expected = {"type": "all_read", "up_to": 4, **counts(1, 5, 4, 1, 4)}
        assert await receive(phone) == await receive(laptop) == expected
        path = f"/notifications/users/{user}/unread-count"
        assert (await client.get(path)).json() == {"unread": 1, "unseen": 1}
        answer = await client.post(f"/notifications/users/{user}/seen", params={"up_to": 9})
        assert answer.json() == {"up_to": 5, "unread": 1, "unseen": 0}
        expected = {"type": "all_seen", "up_to": 5, **counts(1, 5, 5, 0, 5)}
        assert await receive(phone) == await receive(laptop) == expected
        await say(phone, type="seen")
        expected["rev"] = 6
        assert await receive(phone) == await receive(laptop) == expected
        assert (await client.patch(f"/notifications/users/{user}/read")).json()["unread"] == 0
        assert await quiet(plain)


async def test_what_is_archived_on_one_device_goes_and_comes_back_on_the_others(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user), added(user))
    ids = [row["id"] for row in await hub.stored(user, 2)]
    async with session(hub, user) as phone, hub.socket(user) as plain, hub.client(user) as client:

        async def listed(**query: str) -> list[int]:
            answer = await client.get(f"/notifications/users/{user}", params=query)
            return [each["id"] for each in answer.raise_for_status().json()]

        async def changes(call: str, unread: int, **query: str) -> dict[str, Any]:
            """The frame that the other device gets; its counters are those of the answer."""
            path = f"/notifications/{ids[0]}/users/{user}/{call}"
            answer = await client.patch(path, params={"protocol": "hub.v1", **query})
            frame = checked(await receive(phone))
            counted = f"unread={frame['unread']}, last_seq={frame['last_seq']}, rev={frame['rev']}, "
            assert answer.headers["inbox-count"].startswith(counted)
            assert answer.json() == frame["data"]
            assert (frame["id"], frame["unread"]) == (ids[0], unread)
            return frame

        await receive(phone)
        assert (await changes("archive", 1))["type"] == "notification_archived"
        assert (await listed(), await listed(archived="true")) == ([ids[1]], [ids[0]])
        back = await changes("unarchive", 2)
        assert (back["type"], back["data"]["seq"]) == ("notification_unarchived", 1)
        assert await listed() == [ids[1], ids[0]]
        until = tomorrow()
        gone = await changes("snooze", 1, until=until)
        assert gone["data"]["snoozed_until"] == until
        assert (await listed(), await listed(snoozed="true")) == ([ids[1]], [ids[0]])
        assert await quiet(plain)
        await changes("snooze", 1, until="2020-01-01T00:00:00Z")
        new, told = await receive(phone), await receive(plain)
        assert (new["data"]["seq"], new["data"]["id"] in ids) == (3, False)
        assert told["data"].items() <= new["data"].items()
        assert await listed() == [new["data"]["id"], ids[1]]
        both = await client.get(f"/notifications/users/{user}?archived=true&unread=true")
        assert both.status_code == 400
        assert await listed(category="groups,food", severity="info") == [new["data"]["id"], ids[1]]
        assert await listed(category="food") == []
        path = f"/notifications/users/{user}/unread-count"
        counted = (await client.get(path, params={"category": ["groups", "food"]})).json()
        assert counted == {"unread": 2, "unseen": 2, "exact": True}
        for query in ({"category": "fodo"}, {"severity": "high"}, {"category": ""}):
            refused = await client.get(path, params=query)
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_parameter")
            assert next(iter(query)) in refused.json()["detail"]
        following = await client.get(f"/notifications/users/{user}?limit=1&severity=info&protocol=hub.v1")
        assert "severity=info" in following.headers["link"]


async def test_live_notifications_are_in_the_language_of_their_reader_as_lists_are(hub: Hub) -> None:
    user = new_user()
    russian = {"Authorization": f"Bearer {token(user)}", "Accept-Language": "ru;q=0.9, fr"}
    async with (
        session(hub, user, "?lang=en") as english,
        hub.socket(user, additional_headers=russian) as plain,
        hub.socket(user) as stored,
        hub.client(user) as client,
    ):
        await receive(english)
        await hub.publish(added(user))

        async def listed(**wanted: Any) -> dict[str, Any]:
            answer = await client.get(f"/notifications/users/{user}", **wanted)
            return dict(answer.raise_for_status().json()[0])

        as_stored = (await receive(stored))["data"]
        assert (await receive(plain))["data"] == await listed(headers={"Accept-Language": "ru"})
        live = (await receive(english))["data"]
        assert live == await listed(params={"lang": "en", "protocol": "hub.v1"})
        assert as_stored == await listed()
        assert len({live["title"], as_stored["title"], (await listed(params={"lang": "ru"}))["title"]}) > 1
        await say(english, type="language", lang="ru-RU")
        await say(english, type="ping")
        assert (await receive(english))["type"] == "pong"
        (await client.patch(f"/notifications/{live['id']}/users/{user}/archive")).raise_for_status()
        archived = await receive(english)
        assert archived["data"] == await listed(
            params={"lang": "ru", "archived": "true", "protocol": "hub.v1"}
        )
        await say(english, type="resume", after=0)
        assert (await receive(english))["type"] == "resumed"


async def test_what_another_device_does_while_a_client_connects_is_delivered_after_the_greeting(
    environment: dict[str, str], tmp_path: Path
) -> None:
    own = {name: f"racing-{new_user()}" for name in ("KAFKA_GROUP", "REDIS_PREFIX", "NOTIFICATION_TOPIC")}
    racing = Hub({**environment, **own}, tmp_path / "log", command=("-m", "tests.support.racing_hub"))
    await racing.start()
    try:
        user = new_user()
        await racing.publish(added(user), added(user))
        await racing.stored(user, 2)
        async with session(racing, user, "?after=1") as socket:
            connected, all_read = await receive(socket), await receive(socket)
            assert (connected["type"], connected["unread"], connected["rev"]) == ("connected", 2, 0)
            assert all_read == {"type": "all_read", "up_to": 2, **counts(0, 2, 1, 0, 2)}
            assert await seqs(socket, 1) == [2]
    finally:
        await racing.stop()


async def test_a_new_token_in_place_keeps_the_connection(hub: Hub) -> None:
    user = new_user()
    async with session(hub, user, lifetime=2) as socket:
        await receive(socket)
        await say(socket, type="token", jwt=token(user))
        assert (await receive(socket))["type"] == "token_renewed"
        assert await quiet(socket, during=4.5)
        await hub.publish(added(user))
        assert await seqs(socket, 1) == [1]


async def test_a_new_token_that_does_not_hold_changes_nothing_and_anothers_ends_it(hub: Hub) -> None:
    user = new_user()
    async with session(hub, user) as socket:
        await receive(socket)
        await say(socket, type="token", jwt="nonsense")
        assert (await receive(socket))["code"] == "invalid_token"
        await say(socket, type="token", jwt=token(new_user()))
        async with asyncio.timeout(10):
            await socket.wait_closed()
        assert socket.close_code == 4503


async def test_what_can_not_be_read_is_said_and_the_connection_stays(hub: Hub) -> None:
    user = new_user()
    async with session(hub, user) as socket:
        await receive(socket)
        for text in (
            "{",
            "[]",
            '{"type":"dance"}',
            '{"type":"resume","after":-1}',
            *(
                f'{{"type":"read","id":{wrong}}}'
                for wrong in ('"x"', '"1"', 0, -1, 1.5, "null", 2**53, 2**64)
            ),
        ):
            await socket.send(text)
            assert (await receive(socket))["code"] == "bad_message"
        await say(socket, type="read", id=2**53 - 1)
        assert (await receive(socket))["code"] == "no_such_notification"
        await hub.publish(added(user))
        assert await seqs(socket, 1) == [1]


async def test_a_resume_of_megabytes_is_sent_as_fast_as_the_client_reads(hub: Hub) -> None:
    """Far more than a connection may leave unread, to a client that has a little buffer."""
    user = new_user()
    await hub.publish(*({**added(user), "extra": f"{number:04}" * 2500} for number in range(300)))
    await hub.stored(user, 300)
    async with connect(
        hub.socket_address(user) + "?after=0",
        subprotocols=["hub.v1", f"bearer.{token(user)}"],  # type: ignore[list-item]
        compression=None,
        max_queue=4,
    ) as socket:
        assert (await receive(socket))["type"] == "connected"
        await hub.publish(added(user))
        assert await seqs(socket, 300) == list(range(1, 301))
        resumed = await receive(socket)
        assert (resumed["type"], resumed["to"], resumed["complete"]) == ("resumed", 300, True)
        assert await seqs(socket, 1) == [301]


async def test_the_last_count_of_many_reads_at_once_is_exact(hub: Hub) -> None:
    for _ in range(3):
        user = new_user()
        await hub.publish(*(added(user) for _ in range(20)))
        rows = await hub.stored(user, 20)
        async with session(hub, user) as socket, hub.client(user) as client:
            await receive(socket)
            reads = (client.patch(f"/notifications/{row['id']}/users/{user}/read") for row in rows)
            await asyncio.gather(*reads)
            counts = [(await receive(socket))["unread"] for _ in range(20)]
            assert counts == list(range(19, -1, -1))
