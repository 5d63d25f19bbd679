"""Several nodes of one hub: real processes that share Postgres, Redis and Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.conftest import running_hub
from tests.hub import Hub, eventually


@asynccontextmanager
async def run_nodes(count: int, environment: dict[str, str], folder: Path) -> AsyncIterator[list[Hub]]:
    """Nodes that know each other."""
    async with AsyncExitStack() as running:
        nodes = [
            await running.enter_async_context(running_hub(environment, folder / f"{number}"))
            for number in range(count)
        ]
        for node in nodes:
            await know_each_other(node, count)
        yield nodes


async def know_each_other(node: Hub, count: int) -> None:
    """Returns when the node knows of so many, itself included."""

    async def known() -> bool:
        return await node.metric("hub_nodes") == count

    await eventually(known, f"a node knows of {count}")
