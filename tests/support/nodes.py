"""Several nodes of one hub: real processes that share Postgres, Redis and Kafka."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.support.hub import Hub, eventually, running_hub

_EVENTS = re.compile(r'^hub_events_total\{outcome="(\w+)",source="(\w+)"\} (\S+)$', re.MULTILINE)


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


async def event_outcomes(nodes: Sequence[Hub]) -> Counter[tuple[str, str]]:
    """How many events of a source have come to an end on all nodes together, by source and outcome."""
    found = Counter[tuple[str, str]]()
    for node in nodes:
        for outcome, source, count in _EVENTS.findall(await node.metrics()):
            found[source, outcome] += int(float(count))
    return found


async def know_each_other(node: Hub, count: int) -> None:
    """Returns when the node knows of so many, itself included."""

    async def known() -> bool:
        return await node.metric("hub_nodes") == count

    await eventually(known, f"a node knows of {count}")
