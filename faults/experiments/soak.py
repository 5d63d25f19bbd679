"""Half an hour of churn: what grows, and what isn't given back."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
from websockets.exceptions import WebSocketException

from bench.site import look_through
from faults.experiment import Run, experiment
from faults.world import Node, World, in_background

RATE = 100.0
BURST, BURST_RATE = 15_000, 5000.0  # events, while nobody takes them; and how many a second
CHURNERS = 40
LOOK_EVERY = 5.0
FILL = 0.15  # share of the time before all is counted the first time: pools fill
WARM = 0.5  # share of the time before memory is looked at: known tokens are kept for a quarter of an hour
MB_AN_HOUR = 10.0  # slope that may be the allocator's noise
CALM = 10.0  # seconds for what was closed to be given back
LONG = 600.0  # seconds from which on a slope means something


@dataclass(frozen=True)
class Size:
    """What a node holds at a moment."""

    at: float
    megabytes: float
    files: int
    """File descriptors, without those of WebSockets: clients come back on another node."""
    tasks: int


@experiment(
    "soak",
    "30 minutes of churn on 2 nodes: connections come and go, read, and are logged out, under load",
    promises="2, 3",
)
async def soak(run: Run) -> None:
    seconds = run.sized(1800, least=40)
    done: Counter[str] = Counter()
    async with run.world(nodes=2) as world:
        await asyncio.gather(*(_with_window(node, run.folder) for node in world.nodes))
        await _backlog(run, world)
        async with world.load.publishing(RATE):
            await _churned(world, done, seconds * FILL)
            await asyncio.sleep(CALM)
            before = [await _size(node, run.folder) for node in world.nodes]
            sizes = await _watched(world, run, done, seconds)
            await asyncio.sleep(CALM)
            after = [await _size(node, run.folder) for node in world.nodes]
    for name, count in sorted(done.items()):
        run.figure(name, count)
    for number, (was, is_) in enumerate(zip(before, after, strict=True)):
        run.figure(
            f"node {number}: more file descriptors (with sockets) than before",
            is_.files - was.files,
            at_most=5,
        )
        run.figure(f"node {number}: more tasks than before", is_.tasks - was.tasks, at_most=5)
        slope = _slope([size for size in sizes[number] if size.at > seconds * WARM])
        limit = MB_AN_HOUR if seconds >= LONG else None
        run.figure(f"node {number}: memory slope", slope, "MB an hour", at_most=limit)
        run.figure(f"node {number}: memory", is_.megabytes, "MB")


async def _backlog(run: Run, world: World) -> None:
    """Have the nodes fall behind, and catch up. An allocator keeps what the largest batches took: a node that
    meets them only later, on a busy machine, seems to leak.
    """
    for node in world.nodes:
        node.freeze()
    async with world.load.publishing(BURST_RATE, run.sized(BURST)):
        pass
    for node in world.nodes:
        node.thaw()
    await world.caught_up()


async def _with_window(node: Node, folder: Path) -> None:
    await node.stop()
    node.command = ("-m", "bench.harness", "hub", str(_window(node, folder)))
    await node.start_again()


def _window(node: Node, folder: Path) -> Path:
    return folder / f"{node.port}.window"


async def _size(node: Node, folder: Path) -> Size:
    assert node.process is not None
    process = psutil.Process(node.process.pid)
    shown = await asyncio.to_thread(look_through, _window(node, folder), process)
    return Size(
        time.monotonic(),
        process.memory_info().rss / 2**20,
        process.num_fds() - round(await node.metric("hub_connections")),
        shown["tasks"],
    )


async def _watched(world: World, run: Run, done: Counter[str], seconds: float) -> list[list[Size]]:
    """Churn for so long: what each node held, again and again, by seconds since the beginning."""
    begun = time.monotonic()
    sizes: list[list[Size]] = [[] for _ in world.nodes]

    async def watch() -> None:
        while True:
            for node, found in zip(world.nodes, sizes, strict=True):
                size = await _size(node, run.folder)
                found.append(replace(size, at=size.at - begun))
            latest = [
                f"{found[-1].megabytes:.0f} MB, {found[-1].files} files, {found[-1].tasks} tasks"
                for found in sizes
            ]
            run.say(f"nodes: {'; '.join(latest)}")
            await asyncio.sleep(LOOK_EVERY)

    async with in_background(watch()):
        await _churned(world, done, seconds)
    return sizes


async def _churned(world: World, done: Counter[str], seconds: float) -> None:
    """People who come, read and go; each ends what it is at."""
    end = time.monotonic() + seconds
    chances = [random.Random(world.chance.random()) for _ in range(CHURNERS)]
    await asyncio.gather(*(_churn(world, done, end, chance) for chance in chances))


async def _churn(world: World, done: Counter[str], end: float, chance: random.Random) -> None:
    while time.monotonic() < end:
        node, user = chance.choice(world.nodes), chance.choice(world.users)
        try:
            await _visit(node, user, done, chance)
        except (WebSocketException, httpx.HTTPError, OSError, TimeoutError):
            done["connections cut short"] += 1
        await asyncio.sleep(chance.uniform(0, 1))


async def _visit(node: Node, user: str, done: Counter[str], chance: random.Random) -> None:
    async with node.socket(user) as socket:
        done["connections"] += 1
        async with node.client(user) as rest:
            page = await rest.get(f"/notifications/users/{user}", params={"limit": 20, "unread": "true"})
            if page.is_success and (unread := page.json()):
                await rest.patch(f"/notifications/{unread[0]['id']}/users/{user}/read")
                done["notifications read"] += 1
        await asyncio.sleep(chance.uniform(0, 3))
        if chance.random() < 0.05:
            logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
            await node.publish(logout, topic=node.logout_topic)
            done["logouts"] += 1
        if chance.random() < 0.3:
            socket.transport.abort()


def _slope(sizes: list[Size]) -> float:
    """Megabytes an hour, by least squares."""
    if len(sizes) < 3:
        return 0.0
    return statistics.linear_regression([s.at / 3600 for s in sizes], [s.megabytes for s in sizes]).slope
