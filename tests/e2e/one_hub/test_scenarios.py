"""What clients rely on: an event goes in, the right people are notified, over socket, table and REST."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.hub import GROUP, Hub, added, event, new_user, quiet, receive
from tests.support.nodes import event_outcomes
from tests.support.user_service import FakeUserService

A_NOTIFICATION = {
    *("id", "group_id", "group_name", "receiver", "created_at", "template_code"),
    *("raw_data", "is_read", "title", "content", "seq"),
}


async def reaches_everywhere(hub: Hub, user: str, message: dict[str, Any]) -> dict[str, Any]:
    """Publish; the notification as the socket brought it, which the table and GET have just the same."""
    async with hub.socket(user) as socket, hub.client(user) as client:
        await hub.publish(message)
        frame = await receive(socket)
        listed = (await client.get(f"/notifications/users/{user}")).json()
    row = (await hub.stored(user, 1))[-1]
    assert frame.keys() == {"event_type", "data"}
    assert frame["event_type"] == message["event_type"]
    notification: dict[str, Any] = frame["data"]
    assert notification.keys() == A_NOTIFICATION
    assert listed == [notification]
    assert row["id"] == notification["id"]
    assert (row["title"], row["content"]) == (notification["title"], notification["content"])
    assert json.loads(row["raw_data"]) == notification["raw_data"] == message["data"]
    assert notification["receiver"] == user
    assert notification["group_id"] == GROUP
    assert notification["is_read"] is False
    assert notification["created_at"].endswith("Z")
    assert notification["seq"] == 1
    return notification


async def test_1_group_user_added_reaches_bs_socket_the_table_and_bs_get(hub: Hub) -> None:
    user = new_user()
    message = event(
        "group_user_added", [user], requester_username="john_doe", requester_id="789e0123-e89b-12d3"
    )
    notification = await reaches_everywhere(hub, user, message)
    assert notification["template_code"] == "GROUP_USER_ADDED"
    assert notification["title"] == "Chào mừng bạn gia nhập nhóm Family Group!"
    assert (
        notification["content"]
        == "john_doe đã thêm bạn vào nhóm Family Group. Hãy bắt đầu lên thực đơn ngay nhé!"
    )


async def test_2_group_user_removed(hub: Hub) -> None:
    user = new_user()
    notification = await reaches_everywhere(
        hub, user, event("group_user_removed", [user], requester_username="john_doe")
    )
    assert notification["template_code"] == "GROUP_USER_REMOVED"
    assert "john_doe" in notification["content"]


async def test_3_group_user_left(hub: Hub) -> None:
    user = new_user()
    notification = await reaches_everywhere(hub, user, event("group_user_left", [user]))
    assert notification["template_code"] == "GROUP_USER_LEFT"
    assert notification["title"] == "Bạn đã rời nhóm Family Group"  # who got it is no member any more


async def test_4_group_head_chef_updated_without_receivers_reaches_the_whole_group(
    hub: Hub, user_service: FakeUserService
) -> None:
    users = [new_user(), new_user(), new_user()]
    user_service.add_group(GROUP, "Nhà mình", users, head_chef=users[0])
    stranger = new_user()
    message = event("group_head_chef_updated", new_head_chef_username="mai", requester_username="john_doe")
    del message["data"]["group_name"]
    async with (
        hub.socket(users[0]) as first,
        hub.socket(users[1]) as second,
        hub.socket(users[2]) as third,
        hub.socket(stranger) as other,
    ):
        await hub.publish(message)
        for user, socket in zip(users, (first, second, third), strict=True):
            frame = await receive(socket)
            assert frame["data"]["receiver"] == user
            assert frame["data"]["group_name"] == "Nhà mình"
            assert "mai" in frame["data"]["content"]
        assert await quiet(other)


async def test_5_logout_closes_all_of_as_sockets_and_bs_stay(hub: Hub) -> None:
    a, b = new_user(), new_user()
    async with hub.socket(a) as phone, hub.socket(a) as laptop, hub.socket(b) as other:
        await hub.publish(
            {"event_type": "account_logged_out", "user_id": a, "access_token_id": "x", "timestamp": "now"},
            topic=hub.logout_topic,
        )
        for socket in (phone, laptop):
            with pytest.raises(ConnectionClosed):
                await receive(socket)
            assert socket.close_code == 4500
        await hub.publish(added(b))
        assert (await receive(other))["data"]["receiver"] == b


async def test_6_food_expiring_soon_for_a_group(hub: Hub, user_service: FakeUserService) -> None:
    users = [new_user(), new_user()]
    user_service.add_group(GROUP, "Nhà mình", users)
    message = event(
        "food_expiring_soon",
        unit_name="Sữa tươi",
        storage_name="Tủ lạnh",
        expiration_date="24/11/2026",
    )
    async with hub.socket(users[0]) as first, hub.socket(users[1]) as second:
        await hub.publish(message)
        for socket in (first, second):
            frame = await receive(socket)
            assert "Sữa tươi" in frame["data"]["title"]
            assert "Tủ lạnh" in frame["data"]["content"]


NO_IDS = [
    "0",
    "-1",
    "1.5",
    "abc",
    "1e3",
    "007",
    "+1",
    "1_0",
    "%EF%BC%91",
    "%201",
    str(2**53),
    str(2**63),
    new_user(),
]


async def test_7_list_mark_read_delete_with_400_401_403_404(hub: Hub) -> None:
    user, other = new_user(), new_user()
    await hub.publish(*(added(user, f"name {number}") for number in range(3)))
    await hub.stored(user, 3)
    path = f"/notifications/users/{user}"
    async with hub.client(user) as client, hub.client(other) as stranger:
        listed = (await client.get(path)).json()
        assert [item["seq"] for item in listed] == [3, 2, 1]
        newest = listed[0]["id"]

        read = await client.patch(f"/notifications/{newest}/users/{user}/read")
        assert read.status_code == 200
        assert read.json() == {**listed[0], "is_read": True}
        unread = (await client.get(path, params={"unread": "true"})).json()
        assert [item["seq"] for item in unread] == [2, 1]

        deleted = await client.delete(f"/notifications/{newest}/users/{user}")
        assert deleted.status_code == 200
        assert deleted.json().keys() == {"message"}
        assert [item["seq"] for item in (await client.get(path)).json()] == [2, 1]

        not_mine = f"/notifications/{listed[1]['id']}/users"
        for status, answer in (
            (400, await client.get(path, params={"limit": "many"})),
            (400, await client.get("/notifications/users/no-uuid")),
            *[
                (400, await client.request(method, f"/notifications/{wrong}/users/{user}{end}"))
                for method, end in (("PATCH", "/read"), ("DELETE", ""))
                for wrong in NO_IDS
            ],
            (401, await client.get(path, headers={"Authorization": ""})),
            (401, await client.get(path, headers={"Authorization": "Bearer nonsense"})),
            (403, await stranger.get(path)),
            (403, await stranger.patch(f"{not_mine}/{user}/read")),
            (404, await stranger.patch(f"{not_mine}/{other}/read")),
            (404, await stranger.delete(f"{not_mine}/{other}")),
            (404, await client.delete(f"/notifications/{newest}/users/{user}")),
        ):
            assert answer.status_code == status, answer.request.url
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status
            assert answer.json()["detail"]


async def test_a_user_has_many_connections_and_each_gets_every_notification(hub: Hub) -> None:
    user = new_user()
    async with hub.socket(user) as first, hub.socket(user) as second:
        await hub.publish(*(added(user) for _ in range(5)))
        for socket in (first, second):
            assert [(await receive(socket))["data"]["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]


async def test_daily_meal_reaches_the_head_chef_alone(hub: Hub, user_service: FakeUserService) -> None:
    chef, member = new_user(), new_user()
    user_service.add_group(GROUP, "Nhà mình", [chef, member], head_chef=chef)
    message = event("daily_meal", breakfast=["Phở gà"], lunch=["Cơm tấm", "Canh chua"], dinner=[])
    message["receiver_is_head_chef"] = True
    async with hub.socket(chef) as first, hub.socket(member) as second:
        await hub.publish(message)
        frame = await receive(first)
        assert "Phở gà" in frame["data"]["content"]
        assert await quiet(second)


async def test_get_speaks_the_language_that_is_asked_for(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user))
    await hub.stored(user, 1)
    titles = {}
    async with hub.client(user) as client:
        for language in ("vi", "en-GB,en;q=0.9", "ru", "fr"):
            answer = await client.get(f"/notifications/users/{user}", headers={"Accept-Language": language})
            titles[answer.headers.get("content-language", "")] = answer.json()[0]["title"]
    assert titles["en"] == "Welcome to the group Family Group!"
    assert titles["vi"] == "Chào mừng bạn gia nhập nhóm Family Group!"
    assert "Family Group" in titles["ru"]
    assert titles[""] == titles["vi"], "the one it was stored in"
    assert len(set(titles.values())) == 3


async def test_without_limit_the_list_leads_on_by_link(hub: Hub) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(1005)))
    await hub.stored(user, 1005)
    async with hub.client(user) as client:
        first = await client.get(f"/notifications/users/{user}")
        assert len(first.json()) == 1000
        rest = await client.get(hub.http + first.links["next"]["url"])
        assert [item["seq"] for item in rest.json()] == [5, 4, 3, 2, 1]
        assert "next" not in rest.links


async def test_events_that_need_no_group_never_wait_for_the_user_service(
    hub: Hub, user_service: FakeUserService
) -> None:
    waiting, other = new_user(), new_user()
    user_service.add_group(GROUP, "Nhà mình", [waiting])
    user_service.awake.clear()
    try:
        async with hub.socket(waiting) as slow, hub.socket(other) as fast:
            await hub.publish(event("food_expired", unit_name="Trứng gà", storage_name="Kho"), added(other))
            assert (await receive(fast))["data"]["receiver"] == other
            user_service.calm()
            assert (await receive(slow))["data"]["receiver"] == waiting
    finally:
        user_service.calm()


async def test_a_parked_event_outlives_a_restart_and_its_offset_has_passed(
    hub: Hub, user_service: FakeUserService
) -> None:
    user, other = new_user(), new_user()
    user_service.add_group(GROUP, "Nhà mình", [user])
    user_service.status = 500
    try:
        await hub.publish(event("food_expired", unit_name="Trứng gà", storage_name="Kho"), added(other))
        await hub.stored(other, 1)
        assert await hub.rows("select 1 from parked_events where finished_at is null")
        await hub.stop()
        await hub.start()
    finally:
        user_service.calm()
    assert (await hub.stored(user, 1))[0]["template_code"] == "FOOD_EXPIRED"
    outcomes = await event_outcomes([hub])
    assert outcomes["kafka", "duplicate"] == outcomes["kafka", "parked"] == 0, "nothing was read again"


async def test_ten_events_of_a_group_that_is_not_cached_keep_their_order(
    hub: Hub, user_service: FakeUserService
) -> None:
    user, group = new_user(), new_user()
    user_service.add_group(group, "Nhà mình", [user])
    names = [f"{number}" for number in range(10)]
    async with hub.socket(user) as socket:
        for name in names:
            about = event("food_expired", unit_name=name, storage_name="Kho") | {"group_id": group}
            await hub.publish(about, partition=0)
        frames = [await receive(socket) for _ in names]
    assert [frame["data"]["raw_data"]["unit_name"] for frame in frames] == names
    assert [frame["data"]["seq"] for frame in frames] == [*range(1, 11)]
