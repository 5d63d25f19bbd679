"""Pages with a bell, and where their reader looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import Locator, Page

LIBRARY = "/notification-hub-client/src"
STYLE = """
  :root { color-scheme: light dark; }
  body { margin: 0; font: 16px/1.5 system-ui, "Liberation Sans", sans-serif; }
  header { display: flex; align-items: center; padding: .5rem 1rem; border-bottom: 1px solid #8886; }
  header b { flex: 1; }
  main { padding: 1rem; }
"""


def page_of(bells: str, script: str, language: str = "en") -> str:
    """A page with these bells in its header."""
    return f"""<!doctype html><html lang="{language}"><head><title>Kitchen</title>
  <meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
  <style>{STYLE}</style></head>
  <body><header><b>Kitchen</b>{bells}</header><main><h1>Today</h1><p>Two plans are open.</p></main>
  <script type="module">{script}</script></body></html>"""


LIVE = f"""
  import "{LIBRARY}/bell.js";
  const user = new URLSearchParams(location.search).get("user");
  const getToken = async () => (await fetch(`/token?user=${{user}}`)).text();
  window.opened = [];
  addEventListener("notificationopen", ({{ detail }}) => opened.push(detail.title));
  for (const bell of document.querySelectorAll("notification-bell")) {{
    bell.setAttribute("user-id", user);
    bell.getToken = getToken;
  }}
  window.bell = document.querySelector("notification-bell");
  window.inbox = bell.inbox;
"""

STUB = f"""
  import "{LIBRARY}/bell.js";
  const listeners = {{ change: new Set(), state: new Set(), notification: new Set() }};
  const emit = (name, event) => listeners[name].forEach((listener) => listener(event));
  window.bell = document.querySelector("notification-bell");
  window.stub = {{
    state: {{ name: "live" }}, items: [], older: 0, hasMore: false,
    on(name, listener) {{
      listeners[name].add(listener);
      return () => listeners[name].delete(listener);
    }},
    list: (view = "inbox") => stub[view] ?? stub.items.filter((one) => view !== "unread" || !one.is_read),
    canLoadMore: () => false,
    async archive() {{}},
    async unarchive() {{}},
    async remove() {{}},
    async snooze() {{}},
    async archiveAll() {{}},
    async markAllSeen() {{ stub.unseen = 0; }},
    unseen: 0,
    unseenCount: () => stub.unseen,
    preferences: {{ get: async () => ({{ categories: [{{ id: "food", name: "Food" }}] }}) }},
    unreadCount: () => stub.items.filter((one) => !one.is_read).length + stub.older,
    become(changes, fresh = []) {{
      Object.assign(stub, changes);
      fresh.forEach((one) => emit("notification", one));
      emit("change", stub);
      emit("state", stub.state);
    }},
    loadMore: () => new Promise(() => {{}}),
    async markRead() {{ throw new Error("no"); }},
    reported: [],
    async reportClick(...click) {{ stub.reported.push(click); throw new Error("no"); }},
    listeners: () => Object.values(listeners).reduce((count, {{ size }}) => count + size, 0),
  }};
  bell.inbox = stub;
"""
"""An inbox with scripted answers, for what a hub can't be made to do."""


def bell(page: Page) -> Locator:
    return page.locator("notification-bell [part=button]").first


def badge(page: Page) -> Locator:
    return page.locator("notification-bell [part=badge]").first


def panel(page: Page) -> Locator:
    return page.get_by_role("dialog")


def rows(page: Page) -> Locator:
    return panel(page).get_by_role("listitem")


def toasts(page: Page) -> Locator:
    return page.locator("[part=toast]")


def carrying() -> list[dict[str, Any]]:
    """The same five, with what notifications may carry beside their texts."""
    actions = [{"id": "pay", "label": "Pay", "url": "/pay/7"}, {"id": "later", "label": "Not now"}]
    details: list[dict[str, Any]] = [
        {"severity": "critical", "icon": "card", "url": "/orders/7", "actions": actions},
        {"severity": "warning", "icon": "food", "content": "Milk and rice. " * 60},
        {"severity": "success", "icon": "no-such-icon", "image": "javascript:alert(1)"},
        {"actor": {"name": "Lê Thị B", "avatar": "//evil.example/b.png"}, "url": "javascript:alert(1)"},
        {},
    ]
    return [{**each, **more} for each, more in zip(notifications(), details, strict=True)]


def notifications() -> list[dict[str, Any]]:
    """Five of them, two unread, of the last weeks."""
    now = datetime.now(UTC)
    ages = [
        timedelta(seconds=5),
        timedelta(hours=2),
        timedelta(days=1),
        timedelta(days=4),
        timedelta(days=400),
    ]
    return [
        {
            "id": number + 1,
            "seq": 10 - number,
            "title": f"Plan #{41 + number} was assigned",
            "content": "It is due tomorrow at half past six. Please look after the milk, too.\nAnd the rice.",
            "template_code": "PLAN_ASSIGNED",
            "is_read": number > 1,
            "created_at": (now - age).isoformat(),
        }
        for number, age in enumerate(ages)
    ]


def grouped(day: datetime | None = None) -> list[dict[str, Any]]:
    """Ten of one day, newest first: six of the Family Group, one of them critical, two of the Office.

    `day`: when the newest was created; otherwise at noon of the day before yesterday.
    """
    newest = day or datetime.now(UTC).replace(hour=12, minute=40) - timedelta(days=2)
    told: list[tuple[str | None, str, dict[str, Any]]] = [
        ("Family Group", "Lan added milk to the fridge", {"actor": {"name": "Lan Anh"}}),
        ("Office", "Coffee runs out", {"icon": "box"}),
        ("Family Group", "Rice expires tomorrow", {"severity": "warning", "icon": "food"}),
        (None, "Your password was changed", {"icon": "lock"}),
        ("Family Group", "The fridge is open", {"severity": "critical", "icon": "food"}),
        ("Family Group", "Minh left the group", {"icon": "users", "is_read": True}),
        ("Family Group", "Dinner was planned", {"icon": "calendar", "is_read": True, "thread_key": "dinner"}),
        ("Office", "Tea was bought", {"icon": "box", "is_read": True, "thread_key": "dinner"}),
        ("Family Group", "Lan was added", {"icon": "user", "is_read": True, "thread_key": "dinner"}),
        (None, "Welcome", {"is_read": True}),
    ]
    return [
        {
            "id": number + 1,
            "seq": 20 - number,
            "title": title,
            "content": "It is due tomorrow at half past six.",
            "template_code": "PLAN_ASSIGNED",
            "is_read": False,
            "created_at": (newest - timedelta(minutes=3 * number)).isoformat(),
            "category": "food",
            **({"group_id": group.lower(), "group_name": group} if group else {}),
            **more,
        }
        for number, (group, title, more) in enumerate(told)
    ]


async def become(page: Page, changes: dict[str, Any], fresh: int = 0) -> None:
    """The inbox says this, and that so many are new."""
    await page.evaluate(
        "async ([changes, fresh]) => { stub.become(changes, (changes.items ?? []).slice(0, fresh)); }",
        [changes, fresh],
    )
