"""What the bus costs: CPU time of this process, a notification, on a real Redis."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import uvloop

from app.domain.notifications import Notification
from app.realtime.presence import NodeId, Presence
from app.realtime.protocol import notification_frame
from app.realtime.publication import Publication, Push, pack, unpack
from app.runtime.redis import connect, subscription
from bench.events import user_id
from bench.results import BusCost
from bench.site import Site
from tests.support.settings import settings_on

BATCH = 500
_THERE = NodeId(b"bench--2")


def measure(site: Site, rounds: int) -> BusCost:
    """One batch of notifications for users who are all connected to another node, again and again."""
    return uvloop.run(_measure(site, rounds))


async def _measure(site: Site, rounds: int) -> BusCost:
    settings = settings_on(site.redis_url)
    redis = connect(settings.redis)
    presence = Presence(redis, "bench")
    batch = [_notification(number) for number in range(BATCH)]
    users = {each.receiver for each in batch}
    channel = presence.channel(_THERE)
    await presence.change(_THERE, users)
    frames = [notification_frame(each) for each in batch]
    pushes = [Push(each.receiver, each.seq, frame) for each, frame in zip(batch, frames, strict=True)]

    async def each_awaited() -> None:
        for frame in frames:
            await redis.publish(channel, frame)

    async def pipelined() -> None:
        async with redis.pipeline(transaction=False) as pipe:
            for frame in frames:
                pipe.publish(channel, frame)
            await pipe.execute()

    async def packed() -> None:
        await presence.publish([(_THERE, pack(Publication(pushes)))])

    async def look_up() -> None:
        await presence.look_up(users)

    async def render() -> None:
        for each in batch:
            notification_frame(each)

    cost = BusCost(
        batch=BATCH,
        each_awaited=await _cpu(each_awaited, max(1, rounds // 10)),
        pipelined=await _cpu(pipelined, rounds),
        published=0.0,
        looked_up=await _cpu(look_up, rounds),
        rendered=await _cpu(render, rounds),
        received=0.0,
    )
    # Only now, and in step: a subscriber that lags is cut off by Redis.
    async with subscription(redis, settings.redis, channel) as subscribed:

        async def receive() -> None:
            message = await subscribed.get_message(timeout=5.0)
            assert message is not None
            unpack(message["data"])

        published, received = 0.0, 0.0
        for _ in range(rounds):
            published += await _cpu(packed, 1) / rounds
            received += await _cpu(receive, 1) / rounds
    await presence.forget(_THERE)
    await redis.aclose()
    return msgspec.structs.replace(cost, published=published, received=received)


async def _cpu(run: Callable[[], Awaitable[None]], rounds: int) -> float:
    """CPU microseconds of this process a notification."""
    before = time.process_time()
    for _ in range(rounds):
        await run()
    return (time.process_time() - before) / rounds / BATCH * 1e6


def _notification(number: int) -> Notification:
    return Notification(
        id=number + 1,
        group_id=uuid4(),
        group_name="Family Group",
        receiver=user_id(number),
        created_at=datetime.now(UTC),
        template_code="GROUP_USER_ADDED",
        raw_data=msgspec.Raw(b'{"requester_username":"john_doe"}'),
        is_read=False,
        title="Welcome to the group Family Group!",
        content="john_doe added you to the group Family Group. Start planning your meals!",
        seq=number + 1,
    )
