"""Digests and escalation through a hub that is killed: each item in one mail, and nothing that was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from app.api.prefixes import REST
from tests.e2e.test_killed_between_event_and_mail import lease_over
from tests.support.hub import Hub, eventually, new_user, token
from tests.support.mailbox import new_address
from tests.support.smtp_server import HANG, SmtpServer, running


async def test_a_digest_and_a_step_survive_a_kill(environment: dict[str, str], tmp_path: Path) -> None:
    """Windows are hours long, and the test makes what waits due: it depends on no time."""
    async with running(SmtpServer(extensions=())) as server:
        hub = Hub(
            {
                **environment,
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(server.port),
                "SMTP_SECURITY": "none",
                "SMTP_TIMEOUT": "60",
                "DELIVERY_LEASE": "600",
                "KAFKA_GROUP": f"digests-{new_user()}",
                "DIGESTS": "food.email=every 5h",
                "ESCALATIONS": "messages.email=after 5h if unread",
            },
            tmp_path / "log",
        )
        await hub.start()
        try:
            await digest_and_step(hub, server)
        finally:
            await hub.stop()
            print(hub.log.read_text()[-4000:])


async def digest_and_step(hub: Hub, server: SmtpServer) -> None:
    user, address = new_user(), new_address()
    sent: list[str] = []
    scope = "notifications:send deliveries:read"
    headers = {"Authorization": f"Bearer {token('orders', scope=scope)}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, timeout=20) as service:
        async with hub.client(user) as client:
            await client.put(f"/preferences/users/{user}/profile", json={"email": address, "locale": "en"})
        for number in range(3):
            await send(service, sent, user, type="email", category="food", title=f"Item {number}")
        for title in ("Read", "Unread"):
            await send(service, sent, user, type="inapp", title=title)
        tried = await service.post(
            "/notifications/dry-run", json=message(user, type="email", category="food")
        )
        (outcome,) = tried.json()["outcomes"]
        (explained,) = (await service.get(f"/events/{sent[0]}/explain")).json()["outcomes"]
        assert outcome["verdict"] == explained["verdict"] == "wait"
        assert outcome["reason"] == explained["reason"]
        assert outcome["reason"].startswith("joins the digest of ")
        assert explained["status"] == "held"
        async with hub.client(user) as client:
            inbox = (await client.get(f"/notifications/users/{user}")).json()
            read = next(each for each in inbox if each["title"] == "Read")
            await client.patch(f"/notifications/{read['id']}/users/{user}/read")
        server.answer("data", HANG, times=1)
        await due(hub, user, "digest_id is not null")
        await server.reached("data")
        await hub.kill()  # between the claim and the answer of the mail server
        server.calm()
        await hub.start()
        await lease_over(hub)
        await due(hub, user, "only_if is not null")
        await eventually(lambda: finished(hub, user), "all is sent, or not needed")
        (after,) = (await service.get(f"/events/{sent[0]}/explain")).json()["outcomes"]
        assert (after["status"], after["reason"]) == ("sent", "sent in a digest")
        steps = (await service.get(f"/events/{sent[3]}/explain")).json()["outcomes"]
        assert [each["reason"] for each in steps] == ["the notification was read"]
    subjects = sorted(str(each.parsed["Subject"]) for each in server.messages if each.recipient == address)
    assert subjects == ["3 new notifications", "Unread"]
    (digest,) = [each for each in server.messages if "3 new" in str(each.parsed["Subject"])]
    text = digest.parsed.get_body(("plain",))
    assert text is not None
    assert all(f"Item {number}" in text.get_content() for number in range(3))
    (row,) = await hub.rows(
        "select id, status from deliveries where user_id = $1::uuid and digest_id = id", user
    )
    assert (row["status"], str(digest.parsed["Message-ID"])[1:37]) == ("sent", str(row["id"]))


def message(user: str, **changes: Any) -> dict[str, Any]:
    return {"user_id": user, "title": "T", "message": "M", **changes}


async def send(service: httpx.AsyncClient, sent: list[str], user: str, **changes: Any) -> None:
    """Send a message, and note the id of its event."""
    sent.append(str(uuid4()))
    answer = await service.post("/notifications", json=message(user, event_id=sent[-1], **changes))
    assert answer.status_code == 202, answer.text


async def due(hub: Hub, user: str, which: str) -> None:
    """As if its time had come."""
    await hub.rows(
        "update deliveries set next_attempt_at = now() "
        f"where user_id = $1::uuid and next_attempt_at is not null and {which}",
        user,
    )


async def finished(hub: Hub, user: str) -> bool:
    (row,) = await hub.rows(
        "select count(*) from deliveries where user_id = $1::uuid and finished_at is null", user
    )
    return bool(row["count"] == 0)
