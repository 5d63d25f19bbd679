"""Passwords of services that refuse them or aren't there: in no log, metric, answer or command's output."""

from __future__ import annotations

import asyncio
import os
import uuid
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.dev.mail import MailCatcher
from tests.support import prefork
from tests.support.hub import NO_TLS, REST, SECRET, WAIT, Hub, eventually, free_port, new_user, token

CANARY = "CANARY7hunter2"
SCOPES = "notifications:send deliveries:read"
PASSWORDS = {
    "METRICS_TOKEN": f"{CANARY}-metrics-that-is-long-enough",
    "RABBITMQ_URL": f"amqp://user:{CANARY}@127.0.0.1:9/",
    "REDIS_EVENTS_URL": f"redis://:{CANARY}@127.0.0.1:9/0",
    "USER_SERVICE_URL": f"http://user:{CANARY}@127.0.0.1:9",
    "SMTP_HOST": "127.0.0.1",
    "SMTP_USERNAME": "user",
    "SMTP_PASSWORD": CANARY,
    "TWILIO_ACCOUNT_SID": "AC0",
    "TWILIO_AUTH_TOKEN": CANARY,
    "TWILIO_MESSAGING_SERVICE_SID": "MG0",
    "TWILIO_ENDPOINT": "http://127.0.0.1:9",
    "LOG_LEVEL": "debug",
}


@pytest.fixture
def failing(environment: dict[str, str], mailbox: MailCatcher) -> dict[str, str]:
    """Settings full of passwords, for services that refuse them or aren't there."""
    database = environment["DATABASE_URL"].replace("postgres@", f"postgres:{CANARY}@")
    assert CANARY in database
    smtp = {"SMTP_PORT": str(mailbox.port)}  # which knows no STARTTLS
    return {**environment, **PASSWORDS, **smtp, "DATABASE_URL": database}


async def test_passwords_of_services_that_fail_stand_nowhere(failing: dict[str, str], tmp_path: Path) -> None:
    hub = Hub(failing, tmp_path / "log", free_port())
    with hub.log.open("wb") as log:
        hub.process = prefork.start(("run.py",), {**os.environ, **failing, "PORT": str(hub.port)}, log)
    try:
        operator = {"Authorization": f"Bearer {failing['METRICS_TOKEN']}"}
        sender = {"Authorization": f"Bearer {token('kitchen', scope=SCOPES)}"}
        mail = {"type": "email", "to": "user@example.com", "title": "Hello", "message": "Hi."}
        async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client:

            async def answers() -> bool:
                with suppress(httpx.TransportError):
                    return (await client.get("/ready", headers=operator)).status_code == 503
                return False

            await eventually(answers, f"not ready:\n{hub.log.read_text()}", within=40)
            for body in (mail, {"type": "sms", "to": "+84912345678", "message": "Hi."}):
                assert (await client.post("/notifications", json=body, headers=sender)).status_code == 202
            asks = {"event_type": "food_expired", "group_id": new_user(), "data": {"unit_name": "x"}}
            await client.post("/notifications/dry-run", json=asks, headers=sender)

            async def tried() -> bool:
                listed = (await client.get("/deliveries", headers=sender)).json()
                return all(each["error_code"] for each in listed) and len(listed) >= 2

            await eventually(tried, "both were tried, without success")
            told = (await client.get("/ready", headers=operator)).json()["dependencies"]["rabbitmq"]
            assert told.keys() == {"status", "latency_ms", "error"}
            for headers in ({}, sender, {"Authorization": "Bearer x"}):
                stranger = await client.get("/ready", headers=headers)
                assert stranger.status_code == 503
                assert all("error" not in each for each in stranger.json()["dependencies"].values())
            shown = [
                (await client.get(path, headers=headers)).text
                for path in ("/ready", "/metrics", "/deliveries", "/docs/openapi.json")
                for headers in (operator, sender, {})
            ]
        commands = await asyncio.gather(
            *(
                asyncio.to_thread(command, failing, tmp_path / "-".join(arguments[:2]), *arguments)
                for arguments in COMMANDS
            )
        )
    finally:
        hub.process.terminate()
        await hub.wait()
    everything = "\n".join([hub.log.read_text(), *shown, *commands])
    assert "rabbitmq_unavailable" in everything
    assert "redis_events_unavailable" in everything
    assert CANARY not in everything
    assert SECRET not in everything


COMMANDS = [
    ("dlq", "list"),
    ("dlq", "replay", "--all", "--dry-run"),
    ("mail", "test", "--to", "user@example.com"),
    ("erase", str(uuid.UUID(int=7)), "--dry-run"),
    ("publish", "message"),
    ("token", str(uuid.UUID(int=7))),
]


def command(environment: dict[str, str], output: Path, *arguments: str) -> str:
    """What `run.py` prints, of whatever kind."""
    with output.open("wb") as file:
        started = prefork.start(
            ("run.py", *arguments), {**os.environ, **environment, "HUB_HOME": "/nowhere"}, file
        )
        started.wait(WAIT)
    said = output.read_text()
    assert said, arguments
    return said
