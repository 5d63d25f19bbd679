"""What receivers of mail, their programs and providers call, by the gateway's routes, without a token."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest_asyncio
import yaml
from pydantic import SecretStr

from app.auth.delivery_tokens import OPENED, DeliveryTokens
from app.auth.secrets import SecretBox
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from app.outbox.email.return_path import ReturnPath
from tests.e2e.one_hub.conftest import HOOK_TOKEN, MAILGUN_KEY
from tests.support.hub import NO_TLS, REST, Hub, eventually, new_user, token
from tests.support.kong_router import upstream_path
from tests.support.mailbox import new_address

KONG: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "kong.yml").read_text())
MAILS = Path(__file__).parents[2] / "unit" / "bounces"
ONE_CLICK = {"Content-Type": "application/x-www-form-urlencoded"}


def box(hub: Hub) -> SecretBox:
    """The keys of the hub, which it derives from these settings."""
    return SecretBox((), *(SecretStr(hub.environment[name]) for name in ("JWT_SECRET", "DATABASE_URL")))


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token('kitchen', scope='notifications:send deliveries:read')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as client:
        yield client


async def outside(hub: Hub, method: str, path: str, **more: Any) -> httpx.Response:
    """A call from outside, as Kong passes it on. It has no cookie and no token."""
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        bare, _, query = path.partition("?")
        upstream = upstream_path(KONG, method, bare)
        return await client.request(method, f"{upstream}?{query}" if query else upstream, **more)


async def mail_to(service: httpx.AsyncClient, address: str, category: str = "food") -> dict[str, Any]:
    """What became of a mail: simulated, as the hub has no mail server, or suppressed."""
    body = {"type": "email", "to": address, "title": "T", "message": "M", "category": category}
    sent = (await service.post("/notifications", json=body)).raise_for_status().json()
    found: list[dict[str, Any]] = []

    async def done() -> bool:
        found[:] = (await service.get("/deliveries", params={"event_id": sent["id"]})).json()
        return bool(found) and found[0]["finished_at"] is not None

    await eventually(done, "the mail is done with")
    return found[0]


async def test_a_mail_programs_post_stops_the_category_of_a_person(hub: Hub) -> None:
    user = new_user()
    tokens = UnsubscribeTokens((), box(hub))
    good = tokens.make(Unsubscription("food", "email", UUID(user)))
    secret = SecretStr("another secret, of forgers, that is long enough")
    forged = UnsubscribeTokens((), SecretBox((), secret, SecretStr(""))).make(
        Unsubscription("food", "email", UUID(user))
    )
    content = msgspec.json.encode(Unsubscription("food", "email", UUID(user)))
    fernet = box(hub).for_purpose(b"notification hub: unsubscribe links")
    old = fernet.encrypt_at_time(content, int(time.time()) - 401 * 24 * 3600).decode().rstrip("=")

    async def wants_food() -> bool:
        async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client:
            own = {"Authorization": f"Bearer {hub.token(user)}"}
            answer = await client.get(f"/preferences/users/{user}", headers=own)
        choices = {each["id"]: each["enabled"] for each in answer.json()["preferences"]}
        return bool(choices["food.email"])

    for bad in (forged, old, good[:-4] + "AAAA"):
        answer = await outside(hub, "POST", f"/unsubscribe/{bad}", content="List-Unsubscribe=One-Click")
        assert answer.status_code == 404
    assert (await outside(hub, "GET", f"/unsubscribe/{good}")).status_code == 200
    assert await wants_food(), "opening the page changes nothing"
    answer = await outside(
        hub, "POST", f"/unsubscribe/{good}", content="List-Unsubscribe=One-Click", headers=ONE_CLICK
    )
    assert answer.status_code == 200
    assert not await wants_food()


async def test_a_bare_address_that_unsubscribed_is_suppressed(hub: Hub, service: httpx.AsyncClient) -> None:
    address = new_address()
    good = UnsubscribeTokens((), box(hub)).make(Unsubscription("food", "email", None, address))
    assert (await mail_to(service, address))["status"] == "simulated"
    assert (await outside(hub, "POST", f"/unsubscribe/{good}")).status_code == 200
    stopped = await mail_to(service, address.upper())
    assert (stopped["status"], "unsubscribed from food" in stopped["reason"]) == ("suppressed", True)
    assert (await mail_to(service, address, "bookings"))["status"] == "simulated"


async def test_a_bounce_suppresses_its_address_and_a_forged_one_does_not(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    address = new_address()
    delivery = UUID((await mail_to(service, address))["id"])
    path = ReturnPath(hub.environment["MAIL_RETURN_PATH"], box(hub))
    mail = (MAILS / "gmail_unknown.eml").read_bytes()
    login = {"Authorization": f"Bearer {HOOK_TOKEN}", "Content-Type": "message/rfc822"}
    at = "/callbacks/bounces"
    forged = mail.replace(b"RETURN-PATH", path.of(delivery)[:-20].encode() + b"@hub.example")
    assert (await outside(hub, "POST", at, content=forged, headers=login)).status_code == 204
    assert (await mail_to(service, address, "bookings"))["status"] == "simulated"
    signed = mail.replace(b"RETURN-PATH", path.of(delivery).encode())
    assert (await outside(hub, "POST", at, content=signed)).status_code == 403
    assert (await outside(hub, "POST", at, content=signed, headers=login)).status_code == 204
    stopped = await mail_to(service, address, "bookings")
    assert stopped["status"] == "suppressed"
    assert "it bounced: 550-5.1.1 The email account" in stopped["reason"]
    events = (await service.get(f"/deliveries/{delivery}")).json()["events"]
    assert [each["kind"] for each in events] == ["bounced"]


async def test_an_opened_mail_and_a_providers_report_are_events(hub: Hub, service: httpx.AsyncClient) -> None:
    delivery = (await mail_to(service, new_address()))["id"]
    image = DeliveryTokens(box(hub), OPENED).make(UUID(delivery))
    answer = await outside(hub, "GET", f"/opened/{image}.gif")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
    assert (await outside(hub, "GET", f"/opened/{image[1:]}a.gif")).status_code == 404
    now, random = str(int(time.time())), "0" * 50
    sign = hmac.new(MAILGUN_KEY.encode(), f"{now}{random}".encode(), hashlib.sha256).hexdigest()
    event = {
        "event": "delivered",
        "id": "e1",
        "timestamp": time.time(),
        "user-variables": {"delivery": delivery},
    }
    body = {"signature": {"timestamp": now, "token": random, "signature": sign}, "event-data": event}
    assert (await outside(hub, "POST", "/callbacks/mailgun", json=body)).status_code == 204
    assert (await outside(hub, "POST", "/callbacks/mailgun", json=body)).status_code == 403, "accepted once"
    assert (await outside(hub, "POST", "/callbacks/sendgrid", json=[])).status_code == 404, "not set up"
    events = (await service.get(f"/deliveries/{delivery}")).json()["events"]
    assert sorted(each["kind"] for each in events) == ["delivered", "opened"]
