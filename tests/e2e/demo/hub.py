"""A running `make run`, and a REST client's view of it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from app.dev import samples, tokens
from tests.support.hub import NO_TLS, REST


class DevHub(NamedTuple):
    """A running `run.py dev`: what it says of itself in dev.json, and the address the page is opened at."""

    dev: dict[str, Any]
    address: str
    home: Path

    async def publish(self, event_type: str, **data: object) -> None:
        """Publish the sample of an event type, with other `data`."""
        sample = samples.load(event_type)
        sample.message["data"].update(data)
        await samples.publish(self.dev["kafka"], self.dev["topics"], sample)

    async def client(self, user: str) -> httpx.AsyncClient:
        """A REST client of a user; close it."""
        async with httpx.AsyncClient(base_url=self.address, verify=NO_TLS) as anyone:
            users = (await anyone.get("/dev/session")).json()["users"]
        token = next(person["token"] for person in users if person["id"] == user)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.address + REST, headers=headers, verify=NO_TLS)

    async def list(self, user: str, locale: str = "vi") -> list[dict[str, Any]]:
        async with await self.client(user) as client:
            answer = await client.get(f"/notifications/users/{user}", headers={"Accept-Language": locale})
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    async def empty(self, user: str) -> None:
        """Delete all notifications of the user, and take back what they chose."""
        listed = await self.list(user)
        preferences = f"/preferences/users/{user}"
        async with await self.client(user) as client:
            chosen = (await client.get(preferences)).json()["preferences"]
            gone = [f"/notifications/{each['id']}/users/{user}" for each in listed]
            gone += [f"{preferences}/{each['id']}" for each in chosen if each["by"] == "person"]
            for path in (*gone, f"{preferences}/profile"):
                (await client.delete(path)).raise_for_status()

    async def events(self) -> Counter[str]:
        """How many events were stored, or known already, by source and outcome, such as "http stored"."""
        token = tokens.sign("tests", self.dev["jwt"]["secret"], scope="metrics:read")
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.address, headers=headers, verify=NO_TLS) as client:
            text = (await client.get(f"{REST}/metrics")).raise_for_status().text
        found = re.findall(r'hub_events_total{outcome="(\w+)",source="(\w+)"} (\S+)', text)
        return Counter({f"{source} {outcome}": int(float(count)) for outcome, source, count in found})
