"""`run.py outbox`: it delivers without a hub, and ends when it is asked to."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from app.domain.deliveries import Status
from app.server import outbox_process
from app.server.bootstrap import build_outboxes, build_store
from app.settings import Settings
from tests.support.outbox import Scene, mail
from tests.support.settings import settings_on


def settings_of(database: str, **changes: object) -> Settings:
    return settings_on("redis://nothing-listens-here", database_url=database, **changes)


async def test_it_delivers_and_stops_at_sigterm(scene: Scene, database: str) -> None:
    (waiting,) = await scene.ask(mail())
    process = asyncio.create_task(outbox_process.work(settings_of(database)))
    assert await scene.ends(waiting, Status.SIMULATED) == "email isn't configured"
    (later,) = await scene.ask(mail())
    await scene.ends(later, Status.SIMULATED)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await process
    (left,) = await scene.ask(mail())
    await asyncio.sleep(0.2)
    found = await scene.store.get(left)
    assert found is not None
    assert found[0].status == Status.PENDING


@pytest.mark.parametrize("in_process", [True, False])
async def test_a_node_delivers_unless_told_not_to(database: str, in_process: bool) -> None:
    settings = settings_of(database, outbox_in_process=in_process)
    outboxes = build_outboxes(settings, build_store(settings), run=settings.outbox.in_process)
    assert bool(outboxes.workers) is in_process
    assert (outboxes.signal is not None) is in_process
    assert {"email", "sms"} <= outboxes.channels.keys()
