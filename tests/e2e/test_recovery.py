"""Parked events of a node with a tenth of a core, and of one that was killed: they resolve by themselves.

`PARKED_EVENTS=1000 pytest -m slow tests/e2e/test_recovery.py` is a look at it.
"""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from tests.support.hub import Hub, added, close_code, event, eventually, new_user, receive
from tests.support.throttle import throttled
from tests.support.user_service import FakeUserService

EVENTS = int(os.environ.get("PARKED_EVENTS", "10000"))
EVENTS_PER_GROUP = 5
SHARE_OF_A_CORE = 0.1
RECOVERED_WITHIN_SECONDS = 600.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


async def test_parked_events_are_resolved_by_a_node_with_a_tenth_of_a_core(
    own_hub: Hub, user_service: FakeUserService
) -> None:
    groups = [new_user() for _ in range(EVENTS // EVENTS_PER_GROUP)]
    users = [new_user() for _ in range(40)]
    for group in groups:
        user_service.add_group(group, "Nhà mình", users[:1])
    user_service.status = 503
    sent = [
        event("food_expired", [users[number % 40]], unit_name=f"{number}", storage_name="s")
        | {"group_id": groups[number % len(groups)], "data": {"unit_name": f"{number}", "storage_name": "s"}}
        for number in range(EVENTS)
    ]
    await own_hub.publish(*sent, partition=0)
    await eventually(lambda: _parked(own_hub, EVENTS), "all are parked", within=120)
    assert own_hub.process is not None
    async with throttled(own_hub.process.pid, SHARE_OF_A_CORE):
        user_service.calm()
        user_service.latency = 0.02
        began = time.monotonic()
        other, leaves = new_user(), new_user()
        async with own_hub.socket(other) as socket, own_hub.socket(leaves) as leaving:
            await asyncio.sleep(1.1)  # a logout ends no session that began in its own second
            logout = {"event_type": "account_logged_out", "user_id": leaves, "access_token_id": "x"}
            await own_hub.publish(logout, topic=own_hub.logout_topic)
            await own_hub.publish(added(other), partition=0)
            assert (await receive(socket))["data"]["receiver"] == other
            assert await close_code(leaving) == 4500
            assert await _parked(own_hub, 1) or EVENTS < 10_000, "they passed what is parked"
        await eventually(lambda: _parked(own_hub, 0), "all are resolved", RECOVERED_WITHIN_SECONDS)
        print(f"{EVENTS} events were resolved after {time.monotonic() - began:.1f} s")
    for user in users:
        rows = await own_hub.stored(user, EVENTS // 40)
        assert [row["seq"] for row in rows] == [*range(1, EVENTS // 40 + 1)]
    asked = len(user_service.asked)
    assert asked < 2 * len(groups) + 200, "a call a group, and those that found it down"


async def _parked(hub: Hub, at_least: int) -> bool:
    """Whether so many events are parked; 0: none."""
    [row] = await hub.rows("select count(*) as number from parked_events where finished_at is null")
    number: int = row["number"]
    return number >= at_least if at_least else number == 0


async def test_what_a_killed_node_had_leased_is_resolved_when_the_lease_ends(
    own_hub: Hub, user_service: FakeUserService
) -> None:
    group, user = new_user(), new_user()
    user_service.add_group(group, "Nhà mình", [user])
    user_service.awake.clear()
    about = event("food_expired", unit_name="Trứng gà", storage_name="Kho") | {"group_id": group}
    await own_hub.publish(about)

    async def asked() -> bool:
        return group in user_service.asked

    await eventually(asked, "the node asks about the group")
    await own_hub.kill()
    killed = time.monotonic()
    user_service.calm()
    await own_hub.start()
    await eventually(lambda: _parked(own_hub, 0), "another node resolved it", within=60)
    print(f"{time.monotonic() - killed:.1f} s after the kill")
    assert len(await own_hub.stored(user, 1)) == 1
