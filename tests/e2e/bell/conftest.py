"""A hub whose pages have a bell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.conftest import running_hub
from tests.hub import Hub, free_port
from tests.network import Way, open_way


@pytest_asyncio.fixture(scope="module")
async def way() -> AsyncIterator[Way]:
    """The network between the browser and the hub."""
    async with open_way(free_port()) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], way: Way, tmp_path_factory: Any) -> AsyncIterator[Hub]:
    log = tmp_path_factory.mktemp("hub") / "log"
    async with running_hub({**environment, "ALLOWED_ORIGINS": way.origin}, log, way.port_behind) as running:
        yield running
