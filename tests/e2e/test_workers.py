"""`run.py --workers N`: a supervisor and nodes on one port."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.hub import Hub, added, close_code, eventually, new_user, receive
from tests.support.nodes import know_each_other


async def test_workers_are_nodes_that_share_a_port_and_are_replaced_when_they_fall(
    environment: dict[str, str], tmp_path: Path
) -> None:
    own = {**environment, "TEST_HUB_START": "fresh"}  # a supervisor decides before it imports
    hub = Hub(own, tmp_path / "log", command=("run.py", "--workers", "3"))
    user = new_user()
    await hub.start()
    try:
        await know_each_other(hub, 3)
        async with AsyncExitStack() as opened:
            sockets = [await opened.enter_async_context(hub.socket(user)) for _ in range(12)]
            await hub.publish(added(user), added(user))
            for socket in sockets:
                assert [(await receive(socket))["data"]["seq"] for _ in range(2)] == [1, 2]
            assert await hub.metric("hub_connections") == 12
            assert hub.process is not None
            fallen, *others = psutil.Process(hub.process.pid).children()
            fallen.kill()
            await eventually(lambda: replaced(hub, others), "the worker is replaced")
            await know_each_other(hub, 3)
        async with hub.socket(user) as socket:
            await hub.publish(added(user))
            assert (await receive(socket))["data"]["seq"] == 3
    finally:
        assert await hub.stop() == 0
        print(hub.log.read_text()[-8000:])


async def replaced(hub: Hub, others: list[psutil.Process]) -> bool:
    assert hub.process is not None
    now = psutil.Process(hub.process.pid).children()
    return len(now) == 3 and set(others) < set(now) and "worker_ended" in hub.log.read_text()


async def test_a_worker_that_cannot_start_ends_all_with_its_reason(
    environment: dict[str, str], tmp_path: Path
) -> None:
    empty = {**environment, "DATABASE_URL": environment["DATABASE_URL"].rsplit("/", 1)[0] + "/postgres"}
    hub = Hub(empty, tmp_path / "log", command=("run.py", "--workers", "2"))
    with pytest.raises(AssertionError, match="alembic upgrade head"):
        await hub.start()
    assert await hub.wait() == 1


async def test_workers_end_when_their_supervisor_is_killed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    hub = Hub(environment, tmp_path / "log", command=("run.py", "--workers", "2"))
    await hub.start()
    assert hub.process is not None
    workers = psutil.Process(hub.process.pid).children()
    async with hub.socket(new_user()) as socket:
        await hub.kill()
        assert await close_code(socket) == 1012
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
