"""A page with `<notification-preferences>`, and a hub for it that keeps one person's preferences."""

from __future__ import annotations

import json
from typing import Any

from playwright.async_api import Locator, Page, Route

from app.domain.preferences import ALWAYS_ON, CATEGORIES
from app.texts.categories import CATEGORY_NAMES, CHANNEL_NAMES
from app.texts.i18n import render
from tests.support.bell_pages import LIBRARY

CODE = "482913"
EMPTY = dict.fromkeys(("locale", "time_zone", "quiet_from", "quiet_until", "email", "phone"))
MOUNT = f"""async () => {{
  await import("{LIBRARY}/preferences.js");
  window.settings = document.createElement("notification-preferences");
  settings.setAttribute("user-id", "u");
  settings.getToken = () => "a.b.c";
  document.querySelector("main p").replaceWith(settings);
}}"""


class PreferencesHub:
    """Answers the element's calls as the hub does. `refuses`: the status that each call gets instead."""

    def __init__(self) -> None:
        self.profile: dict[str, Any] = {**EMPTY, "email": "mai@example.com"}
        self.choices: dict[str, bool] = {}
        self.digests: dict[str, str] = {}
        self.addresses: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.refuses = 0
        self.devices = [
            {
                "id": "d1",
                "endpoint": "https://updates.push.services.mozilla.com/wpush/v2/x",
                "created_at": "2026-11-02T08:00:00Z",
            }
        ]

    async def answer(self, route: Route) -> None:
        """For `page.route`."""
        request = route.request
        path = request.url.partition("/api/v2/notification-service")[2]
        language = (request.headers.get("accept-language") or "en")[:2]
        if self.refuses:
            await route.fulfill(status=self.refuses, json={"code": "refused", "detail": "No, not now."})
        elif path == "/devices/key":
            await route.fulfill(json={"public_key": "x"})
        elif path.startswith("/devices"):
            if request.method == "DELETE":
                self.devices = [each for each in self.devices if each["id"] != path.rpartition("/")[2]]
            await route.fulfill(json=self.devices)
        elif path.startswith("/addresses"):
            given = json.loads(request.post_data or "{}")
            status, answer = self._address(request.method, path, given)
            await route.fulfill(status=status, json=answer)
        else:
            if request.method == "PATCH":
                self._change(json.loads(request.post_data or "{}"))
            await route.fulfill(json=self._answer(language if language in ("vi", "ru") else "en"))

    def _address(self, method: str, path: str, given: dict[str, Any]) -> tuple[int, Any]:
        """As the hub: CODE is the code of each."""
        if method == "GET":
            return 200, self.addresses
        if "channel" in given:
            times = {"created_at": "2030-01-01T00:00:00Z", "expires_at": "2030-01-01T00:10:00Z"}
            added = {"id": f"a{len(self.addresses)}", "status": "pending", **given, **times}
            self.addresses.append(added)
            return 201, added
        (found,) = (each for each in self.addresses if each["id"] == path.split("/")[2])
        field = {"email": "email", "sms": "phone"}[found["channel"]]
        if method == "DELETE":
            self.addresses.remove(found)
            if self.profile[field] == found["address"]:
                self.profile[field] = None
            return 200, {"message": "The address was removed."}
        if given["code"] != CODE:
            return 409, {"code": "wrong_code", "detail": "The code is wrong."}
        found["status"] = "confirmed"
        self.profile[field] = found["address"]
        return 200, found

    def _change(self, changes: dict[str, Any]) -> None:
        self.changes.append(changes)
        self.profile |= changes.get("profile", {})
        self.choices |= changes.get("choices", {})
        self.choices = {choice: on for choice, on in self.choices.items() if on is not None}
        self.digests |= changes.get("digests", {})
        self.digests = {choice: digest for choice, digest in self.digests.items() if digest is not None}

    def _answer(self, language: str) -> dict[str, Any]:
        return {
            "profile": self.profile,
            "preferences": [
                self._preference(category, channel) for category in CATEGORIES for channel in CHANNEL_NAMES
            ],
            "categories": [
                {"id": id_, "name": render(language, name, {})} for id_, name in CATEGORY_NAMES.items()
            ],
            "channels": [
                {"id": id_, "name": render(language, name, {})} for id_, name in CHANNEL_NAMES.items()
            ],
        }

    def _preference(self, category: str, channel: str) -> dict[str, Any]:
        choice = f"{category}.{channel}"
        by = "always" if category == ALWAYS_ON else "person" if choice in self.choices else "default"
        enabled = self.choices.get(choice, choice != "inventory.email")
        digest = {"digest": self.digests[choice]} if choice in self.digests else {}
        return {"id": choice, "category": category, "channel": channel, "enabled": enabled, "by": by} | digest


async def open_preferences(page: Page, hub: PreferencesHub | None = None) -> PreferencesHub:
    """Show the preferences in the page, in place of what it has."""
    hub = hub or PreferencesHub()
    await page.route("**/api/v2/notification-service/**", hub.answer)
    await page.evaluate(MOUNT)
    return hub


def settings(page: Page) -> Locator:
    return page.locator("notification-preferences")
