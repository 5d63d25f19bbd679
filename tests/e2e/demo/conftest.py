"""One `run.py dev` for all tests of what it starts, and a real browser on its page."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from tests.e2e.demo.hub import DevHub
from tests.e2e.demo.people import INBOXES, opened
from tests.support.hub import ROOT, eventually, free_port
from tests.support.install_tools import has_rabbitmq
from tests.support.rabbitmq_server import new_vhost
from tests.support.services import own_home

START_SECONDS = 100
STOP_SECONDS = 30
# axe posts a message to each frame, and the frame that shows a mail is sandboxed. The page itself posts none.
AXE_MESSAGE = "Failed to execute 'postMessage' on 'DOMWindow'"

expect.set_options(timeout=10_000)


@pytest.fixture(scope="package")
def rabbitmq_url(request: pytest.FixtureRequest) -> str | None:
    """The address of a RabbitMQ, where there can be one."""
    return new_vhost(request.getfixturevalue("rabbitmq_address")).url if has_rabbitmq() else None


@pytest.fixture(scope="package")
def hub_home() -> Iterator[Path]:
    with own_home() as folder:
        yield folder


@pytest_asyncio.fixture(scope="package")
async def hub(hub_home: Path, rabbitmq_url: str | None) -> AsyncIterator[DevHub]:
    port = free_port()
    environment = {**os.environ, "HUB_HOME": str(hub_home), "PORT": str(port)}
    environment.pop("USER_SERVICE_URL", None)  # the demo's people are known to the stand-in only
    environment.pop("REDIS_EVENTS_URL", None)
    environment["RABBITMQ_URL"] = rabbitmq_url or ""
    log = hub_home / "log"
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "run.py", "dev"), cwd=ROOT, env=environment, stdout=output, stderr=output
        )

    async def runs() -> bool:
        assert process.returncode is None, log.read_text()
        return "The hub runs." in log.read_text()

    try:
        await eventually(runs, "the hub runs", START_SECONDS)
        yield DevHub(json.loads((hub_home / "dev.json").read_text()), f"http://localhost:{port}", hub_home)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
        print(log.read_text()[-4000:])


@pytest_asyncio.fixture
async def blank(hub: DevHub, browser: Browser) -> AsyncIterator[Page]:
    """A page that isn't opened yet, with both inboxes empty. Fails on anything in its console."""
    for user in INBOXES:
        await hub.empty(user)
    context = await browser.new_context(
        base_url=hub.address,
        viewport={"width": 1280, "height": 900},
        locale="en-GB",
        timezone_id="Asia/Ho_Chi_Minh",
        reduced_motion="reduce",
    )
    complaints: list[str] = []
    page = await context.new_page()

    def note(message: ConsoleMessage) -> None:
        if AXE_MESSAGE not in message.text:
            complaints.append(f"{message.type}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert complaints == []


@pytest_asyncio.fixture
async def page(blank: Page) -> Page:
    """The page, with both people live."""
    await opened(blank)
    return blank
