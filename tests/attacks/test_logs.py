"""Texts that try to be log lines, or to move an operator's cursor.

What the formatter makes of any text is tested in tests/unit/test_log.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from tests.support.command import run_command
from tests.support.hub import NO_TLS, REST, WEBSOCKET, Hub, added, eventually, new_user, running_hub, token

FORGED = "2026-01-01T00:00:00.000Z error hub.api FORGED"
BREAKS = ("\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029")
HOSTILE = [
    *(f"x{end}{FORGED}" for end in BREAKS),
    "\x1b[2J\x1b[31mFORGED",
    "\x1b]0;FORGED\x07",
    "\x9b31mFORGED",
    "\x08\x08\x08FORGED",
    "\u202eDEGROF",
    "x level=error FORGED='1",
]
HEAD = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error|critical) [\w.]+")


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    """One that logs all it can, and believes a proxy."""
    own = {**environment, "LOG_LEVEL": "debug", "PROXIES_COUNT": "1", "WS_MAX_PER_ADDRESS": "1"}
    async with running_hub(own, tmp_path_factory.mktemp("logs") / "log") as running:
        yield running


def inert(text: str) -> bool:
    """Whether nothing in it controls a terminal or ends a line but a line feed."""
    return all(c == "\n" or not unicodedata.category(c).startswith(("C", "Zl", "Zp")) for c in text)


async def test_whatever_comes_in_each_event_of_the_log_is_one_line(hub: Hub) -> None:
    user = new_user()
    sender = {"Authorization": f"Bearer {token('kitchen', scope='notifications:send')}"}
    seen = len(hub.log.read_bytes())
    for hostile in HOSTILE:
        await hub.publish(
            {"event_type": hostile, "event_id": hostile},
            {"event_type": "message", "type": hostile, "to": hostile},
            {**added(user), "event_id": hostile, "group_id": hostile},
            hostile.encode(errors="surrogatepass"),
            key=hostile.encode(errors="surrogatepass"),
        )
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        for hostile in HOSTILE:
            there = quote(hostile, safe="")
            await client.get(f"{REST}/{there}", headers=sender, params={"x": hostile})
            await client.get(f"{REST}/notifications/{there}", headers=sender)
            await client.get(f"{WEBSOCKET}/{there}")
            await client.post(f"{REST}/notifications", headers=sender, json={"type": hostile, "to": hostile})
    await asyncio.gather(*(crowd(hub, hostile) for hostile in ("\x9b31mFORGED", "\x85FORGED", "x FORGED='1")))

    async def rejected() -> bool:
        return hub.log.read_text().count("event_rejected") >= 4 * len(HOSTILE) - 2

    await eventually(rejected, "all were rejected")
    written = hub.log.read_bytes()[seen:].decode()
    assert "too_many_of_one_address" in written
    assert inert(written), [line for line in written.split("\n") if not inert(line)]
    for line in written.splitlines():
        shown = json.loads(line)
        assert HEAD.fullmatch(f"{shown['timestamp']} {shown['level']} {shown['logger']}"), line
        assert not shown["timestamp"].startswith("2026-01-01")
        assert not any("FORGED" in name for name in shown), line


async def crowd(hub: Hub, address: str) -> None:
    """Two connections from one such address: the second is one too many, and that is logged."""
    writers = []
    for _ in range(2):
        user = new_user()
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writers.append(writer)
        writer.write(
            f"GET {WEBSOCKET}/notifications/users/{user} HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Version: 13\r\nX-Forwarded-For: {address}\r\n"
            f"Authorization: Bearer {token(user)}\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def test_a_dead_letter_moves_no_cursor_when_it_is_looked_at(
    hub: Hub, environment: dict[str, str]
) -> None:
    mark = uuid.uuid4().hex
    before = len(await hub.records(f"{hub.topic}.dlq"))
    messages: list[Any] = [{"event_type": f"{mark} {hostile}", "data": hostile} for hostile in HOSTILE]
    await hub.publish(*messages, *(f"{mark} {hostile}".encode() for hostile in HOSTILE))

    async def there() -> bool:
        return len(await hub.records(f"{hub.topic}.dlq")) >= before + 2 * len(HOSTILE)

    await eventually(there, "all are dead-lettered")
    for arguments in (
        ("list",),
        ("list", "--json"),
        ("replay", "--all", "--dry-run"),
        ("drop", "--all", "--dry-run"),
    ):
        _, printed, complaints = await asyncio.to_thread(run_command, ("dlq", *arguments), hub.environment)
        assert printed
        assert inert(printed.decode()), arguments
        assert inert(complaints)
    _, printed, _ = await asyncio.to_thread(run_command, ("dlq", "list"), hub.environment)
    dead_letters = [line.split()[0] for line in printed.decode().splitlines()[1:]]
    for dead_letter in dead_letters[-3:]:
        _, printed, _ = await asyncio.to_thread(run_command, ("dlq", "show", dead_letter), hub.environment)
        assert inert(printed.decode()), dead_letter
