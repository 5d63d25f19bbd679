"""What the browser library loaded, and all it received since, is what a fresh page loads, also on two nodes.

Tabs of one Chromium have an inbox on each node; they read, remove, archive, snooze, mark all read, load more,
leave and come back at once, while events come in by both nodes, are updated, retracted and expire. The lists
compared are the inbox, its unread part and the archive. CLIENT_SCHEDULES=… runs more, FIRST=… others. A
failure names its seed, which repeats what is done, but not who wins each race.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import needs_chromium
from tests.support.hub import NO_TLS, REST, Hub, eventually, free_port, running_hub, token
from tests.support.nodes import know_each_other
from tests.support.tabs import Tabs, open_tabs

SCHEDULES = int(os.environ.get("CLIENT_SCHEDULES", "1"))
FIRST = int(os.environ.get("FIRST", "1"))
STEPS = 15
AT_ONCE = 4
FEW_TABS = 2
MANY_TABS = 30
LONGEST_SECONDS = 3.0  # until what is snoozed comes back, and what expires is gone
VIEWS = ("inbox", "unread", "archived")
PAGE = """<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { createInbox } from "/notification-hub-client/src/index.js";
  const asked = new URLSearchParams(location.search);
  const userId = asked.get("user");
  const getToken = async () => (await fetch(`/token?user=${userId}`)).text();
  window.inboxes = asked.getAll("hub").map((url) => createInbox({ url, userId, getToken }));
  window.received = inboxes.map(() => []);
  inboxes.forEach((inbox, n) => inbox.on("notification", ({ seq }) => received[n].push(seq)));
  inboxes.forEach((inbox) => inbox.connect());
  window.does = async (n, what, chance, argument) => {
    const inbox = inboxes[n];
    if (what === "leave") return void (inbox.close(), inbox.connect());
    if (what === "loadMore") return void (await inbox.loadMore(argument));
    if (what === "markAllRead") return void (await inbox.markAllRead());
    const list = inbox.list(what === "unarchive" ? "archived" : "inbox");
    const { id, seq } = list[Math.floor(chance * list.length)] ?? {};
    if (!id) return;
    await inbox[what](id, argument).catch((error) => {
      if (error.status !== 404) throw error; // another tab was faster
    });
    return seq;
  };
  const rows = (list) => list.map(({ seq, is_read, title }) => [seq, is_read, title]);
  window.shown = () => inboxes.map((inbox, n) => ({
    state: inbox.state.name, unread: inbox.unreadCount(), unseen: inbox.unseenCount(), received: received[n],
    lists: Object.fromEntries(["inbox", "unread", "archived"].map((view) => [view, rows(inbox.list(view))])),
    more: Object.fromEntries(["inbox", "unread", "archived"].map((view) => [view, inbox.canLoadMore(view)])),
  }));
</script>"""

pytestmark = needs_chromium


@pytest_asyncio.fixture(scope="module")
async def nodes(environment: dict[str, str], tmp_path_factory: Any) -> AsyncIterator[list[Hub]]:
    """Two nodes; pages of the first one's origin may use both."""
    folder: Path = tmp_path_factory.mktemp("nodes")
    ports = free_port(), free_port()
    own = {**environment, "ALLOWED_ORIGINS": f"http://127.0.0.1:{ports[0]}"}
    async with AsyncExitStack() as running:
        started = [
            await running.enter_async_context(running_hub(own, folder / str(port), port)) for port in ports
        ]
        for node in started:
            await know_each_other(node, 2)
        yield started


@dataclass(frozen=True)
class Fresh:
    """What the hub answers to a page that is loaded now."""

    lists: dict[str, list[list[object]]]
    unread: int
    unseen: int
    to_come: bool
    """Whether a snooze ends or something expires later, after which this is something else."""


class Schedule:
    """Random steps, several at a time, for one user with some tabs."""

    def __init__(self, nodes: Sequence[Hub], tabs: Tabs, services: httpx.AsyncClient, seed: int) -> None:
        self._nodes = nodes
        self._tabs = tabs
        self._services = services
        self._random = random.Random(seed)
        self.done: list[str] = []
        self._threads = 0
        self._put_back: set[object] = set()
        """The `seq` of those that left the archive: a tab that was away may list one it never received."""
        self.difference = ""

    async def run(self, tabs: int) -> None:
        await self._publish(70)
        self._tabs.query = "".join(f"&hub={node.http}" for node in self._nodes)
        for _ in range(tabs):
            await self._open()
        for _ in range(STEPS):
            await asyncio.gather(*(self._step() for _ in range(self._random.randint(1, AT_ONCE))))
        await self._publish(1, expires=False)
        await eventually(self._as_fresh, "every inbox is what a fresh page shows")

    async def _step(self) -> None:
        steps: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (6, "publish", lambda: self._publish(self._random.randint(1, 4))),
            (6, "markRead", lambda: self._does("markRead")),
            (3, "remove", lambda: self._does("remove")),
            (2, "markUnread", lambda: self._does("markUnread")),
            (3, "archive", lambda: self._does("archive")),
            (2, "unarchive", lambda: self._does("unarchive")),
            (3, "snooze", lambda: self._does("snooze", self._soon())),
            (1, "markAllRead", lambda: self._does("markAllRead")),
            (3, "update", self._update),
            (2, "retract", self._retract),
            (1, "seen", lambda: self._all("POST", "/seen")),
            (1, "archive all", lambda: self._all("PATCH", "/archive")),
            (3, "loadMore", lambda: self._does("loadMore", self._random.choice(VIEWS))),
            (2, "leave", lambda: self._does("leave")),
            (1, "die", self._die),
        ]
        [(_, name, step)] = self._random.choices(steps, [weight for weight, _, _ in steps])
        self.done.append(name)
        await step()

    def _soon(self) -> str:
        seconds = self._random.uniform(0.2, LONGEST_SECONDS)
        return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()

    async def _publish(self, count: int, expires: bool = True) -> None:
        """Some notifications; a quarter of them expires soon."""
        node = self._random.choice(self._nodes)
        message = {"type": "inapp", "user_id": self._tabs.user, "title": "title", "message": "message"}
        self._threads += count
        notifications = [
            {**message, "thread_key": f"thread {number}", **self._expiry(expires)}
            for number in range(self._threads - count, self._threads)
        ]
        body = {"notifications": notifications}
        answer = await self._services.post(f"{node.http}{REST}/notifications/bulk", json=body)
        assert answer.is_success, answer.text

    def _expiry(self, expires: bool = True) -> dict[str, str]:
        return {"expires_at": self._soon()} if expires and self._random.random() < 0.25 else {}

    async def _update(self) -> None:
        title = f"title {self._random.randint(1, 1000)}"
        await self._amend(
            "PATCH", json={"title": title, "unread": self._random.random() < 0.5, **self._expiry()}
        )

    async def _retract(self) -> None:
        await self._amend("DELETE")

    async def _amend(self, method: str, **more: Any) -> None:
        """What the publisher does to one of its notifications, which may be gone."""
        node = self._random.choice(self._nodes)
        target = {"thread_key": f"thread {self._random.randrange(self._threads)}", "user_id": self._tabs.user}
        answer = await self._services.request(
            method, f"{node.http}{REST}/notifications", params=target, **more
        )
        assert answer.is_success, answer.text

    async def _all(self, method: str, call: str) -> None:
        async with self._random.choice(self._nodes).client(self._tabs.user) as client:
            answer = await client.request(method, f"/notifications/users/{self._tabs.user}{call}")
            assert answer.is_success, answer.text

    async def _does(self, what: str, argument: str | None = None) -> None:
        page, inbox, chance = (
            self._random.choice(self._tabs.pages),
            self._random.randint(0, 1),
            self._random.random(),
        )
        seq = await page.evaluate("(asked) => does(...asked)", [inbox, what, chance, argument])
        if what == "unarchive":
            self._put_back.add(seq)

    async def _open(self) -> None:
        page = await self._tabs.open(PAGE)
        await page.wait_for_function("window.inboxes?.every(({state}) => state.name === 'live')")

    async def _die(self) -> None:
        """A tab goes, be it the one that leads, in the middle of what it does; another one comes."""
        if len(self._tabs.pages) > 1:
            page = self._tabs.pages.pop(0)
            await self._open()
            await page.close()

    async def _as_fresh(self) -> bool:
        fresh = await self._fresh()
        if fresh.to_come:
            self.difference = "something is still snoozed, or has not expired yet"
            return False
        pages = await asyncio.gather(*(page.evaluate("shown()") for page in self._tabs.pages))
        different = (_difference(each, fresh, self._put_back) for shown in pages for each in shown)
        self.difference = "; ".join(filter(None, different))
        return not self.difference and fresh == await self._fresh()

    async def _fresh(self) -> Fresh:
        async with self._nodes[0].client(self._tabs.user) as client:
            path = f"/notifications/users/{self._tabs.user}"
            asked = {"inbox": {}, "unread": {"unread": "true"}, "archived": {"archived": "true"}}
            found = {
                view: (await client.get(path, params={"protocol": "hub.v1", **query})).json()
                for view, query in asked.items()
            }
            snoozed = (await client.get(path, params={"snoozed": "true"})).json()
            count = (await client.get(f"{path}/unread-count")).json()
        expiring = any("expires_at" in item for items in found.values() for item in items)
        lists = {
            view: [[item["seq"], item["is_read"], item["title"]] for item in items]
            for view, items in found.items()
        }
        return Fresh(lists, count["unread"], count["unseen"], bool(snoozed) or expiring)


def _difference(shown: dict[str, Any], fresh: Fresh, put_back: set[object]) -> str:
    """In what an inbox isn't what a fresh page shows; nothing when it is."""
    received, rows = shown["received"], fresh.lists["inbox"]
    wrong = {
        "state": shown["state"] != "live",
        "unread": shown["unread"] != fresh.unread,
        "unseen": shown["unseen"] != fresh.unseen,
        "received": received != sorted(set(received)),
        "not received": bool(received)
        and not {seq for seq, *_ in rows if seq >= received[0]} - put_back <= set(received),
    }
    for view, listed in shown["lists"].items():
        whole = fresh.lists[view]
        wrong[f"list of {view}"] = listed != whole[: len(listed)]
        wrong[f"end of {view}"] = not shown["more"][view] and len(listed) != len(whole)
    found = [name for name, is_wrong in wrong.items() if is_wrong]
    return f"{found}: {shown['state']}, {shown['unread']} unread of {fresh.unread}" if found else ""


@pytest.mark.parametrize(
    ("seed", "tabs"),
    [
        *((seed, FEW_TABS) for seed in range(FIRST, FIRST + SCHEDULES)),
        pytest.param(FIRST, MANY_TABS, marks=pytest.mark.slow),
    ],
)
async def test_old_state_and_events_are_the_freshly_loaded_state(
    nodes: list[Hub], browser: Browser, seed: int, tabs: int
) -> None:
    service = {"Authorization": f"Bearer {token('kitchen-service', scope='notifications:send')}"}
    async with (
        open_tabs(browser, nodes[0].http, nodes[0]) as opened,
        httpx.AsyncClient(headers=service, verify=NO_TLS) as services,
    ):
        schedule = Schedule(nodes, opened, services, seed)
        try:
            await schedule.run(tabs)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {schedule.difference}; {', '.join(schedule.done)}") from error
