"""Canaries: passwords, codes and tokens that must stand in no log, metric, dead letter, error or description.

The same for codes on RabbitMQ and on Redis: tests/e2e/test_rabbitmq.py and test_redis_events.py.
"""

from __future__ import annotations

import asyncio
import json
import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.dev.mail import MailCatcher
from app.domain.errors import ConfigurationError
from app.settings import Settings, load
from tests.support.hub import (
    METRICS_TOKEN,
    NO_TLS,
    REST,
    ROOT,
    WEBSOCKET,
    Hub,
    eventually,
    new_user,
    running_hub,
    token,
)
from tests.support.mailbox import mailed, new_address, with_mail

CANARY = "CANARY7hunter2"
SCOPES = "notifications:send deliveries:read deliveries:resend"
UNREADABLE = {
    "DATABASE_URL": [
        f"postgresql://hub:x@db:{CANARY}/hub",
        f"postgresql://hub:{CANARY}@[::1/hub",
        f"mysql://hub:{CANARY}@db/hub",
        CANARY,
    ],
    "REDIS_URL": [
        f"redis://:{CANARY}/x@redis/0",
        f"redis://:{CANARY}#x@redis/0",
        f"redis://:{CANARY}?x@redis/0",
        f"redis://:{CANARY}[@redis/0",
        f"http://:{CANARY}@redis/0",
    ],
    "REDIS_EVENTS_URL": [f"redis://:{CANARY}/x@redis/0", f"redis://:{CANARY}#x@redis/0"],
    "RABBITMQ_URL": [f"amqp://u:{CANARY}/x@r/", f"amqp://u:{CANARY}#x@r/", f"http://u:{CANARY}@r/"],
    "USER_SERVICE_URL": [f"http://u:{CANARY}/x@users", f"htp://u:{CANARY}@users", CANARY],
    "ALLOWED_ORIGINS": [f"https://u:{CANARY}@app.example.com/x"],
    "JWT_SECRET": [CANARY],
    "DELIVERY_KEYS": [CANARY, f"{CANARY},{CANARY}"],
    "METRICS_TOKEN": [CANARY, f"{CANARY} {CANARY} {CANARY} {CANARY}"],
    "SMTP_PORT": [CANARY],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, each) for name, some in UNREADABLE.items() for each in some]
)
def test_a_setting_that_can_not_be_read_is_not_repeated(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in Settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    for each, given in {**environment, name: value}.items():
        monkeypatch.setenv(each, given)
    with pytest.raises(ConfigurationError) as refused:
        load()
    shown = "".join(traceback.format_exception(refused.value))
    assert name in str(refused.value)
    assert CANARY not in shown


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], mailbox: MailCatcher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    own = with_mail(environment, mailbox)
    async with running_hub(own, tmp_path_factory.mktemp("secrets") / "log") as running:
        yield running


def canary() -> str:
    """A code that nothing else can be taken for."""
    return f"CANARY{uuid.uuid4().hex[:16].upper()}"


def spoiled(code: str) -> list[bytes]:
    """Requests for this code that can't be handled, each for another reason."""
    good = {"email": "user@example.com", "otp_code": code, "action": "register"}
    escaped = "".join(f"\\u{ord(c):04x}" for c in code)
    messages: list[Any] = [
        {**good, "email": "no address"},
        {**good, "email": code},
        {**good, "action": "change_email"},
        {**good, "action": code},
        {**good, "otp_code": [code]},
        {**good, "otp_code": {"value": code}},
        {**good, "otp_code": f"{code} {code}"},
        {**good, "otp_code": code * 20},
        {"otp_code": code},
        {"data": good},
        [good],
        code,
        {code: good},
    ]
    return [
        *(json.dumps(each).encode() for each in messages),
        f'{{"otp_code": "{code}"'.encode(),
        f'{{"email": "no address", "otp\\u005fcode": "{escaped}", "action": "register"}}'.encode(),
        code.encode(),
        code.encode("utf-16"),
        json.dumps({**good, "email": "no address"}).encode() + b"\xff",
    ]


async def shown_everywhere(hub: Hub) -> str:
    """All that the hub shows to anybody, but for what belongs into it."""
    reader = {"Authorization": f"Bearer {token('support', scope=SCOPES)}"}
    pages = ["/deliveries?limit=1000", "/docs/openapi.json", "/docs", "/health", "/ready"]
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=reader, verify=NO_TLS) as client:
        answers = [(await client.get(page)).text for page in pages]
        ready = await client.get("/ready", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    return "\n".join([hub.log.read_text(), await hub.metrics(), ready.text, *answers])


async def dead_letters(hub: Hub, topic: str, count: int) -> str:
    """All that the dead letters of a Kafka topic hold, once there are so many."""

    async def enough() -> list[Any] | None:
        found = await hub.records(f"{topic}.dlq")
        return found if len(found) >= count else None

    found = await eventually(enough, f"{count} dead letters", within=30)
    return repr([(each.key, each.value, each.headers) for each in found])


async def test_a_code_that_can_not_be_sent_stands_nowhere(hub: Hub, mailbox: MailCatcher) -> None:
    code, topic = canary(), hub.environment["REGISTRATION_EVENTS_TOPIC"]
    await hub.publish(*spoiled(code), topic=topic)
    assert code not in await dead_letters(hub, topic, len(spoiled(code)))
    elsewhere = [each for each in spoiled(code) if b"otp" in each]
    await hub.publish(*elsewhere)  # on the wrong Kafka topic
    assert code not in await dead_letters(hub, hub.topic, len(elsewhere))
    await says_nothing_of(hub, code)


async def test_a_code_that_comes_over_http_is_not_repeated(hub: Hub) -> None:
    code = canary()
    sender = {"Authorization": f"Bearer {token('kitchen', scope=SCOPES)}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=sender, verify=NO_TLS) as client:
        for body in spoiled(code):
            for event_type in (b"", b'"event_type": "otp_register", '):
                sent = body.replace(b"{", b"{" + event_type, 1)
                for path in ("/notifications", "/notifications/dry-run"):
                    answer = await client.post(path, content=sent)
                    assert answer.status_code == 400, answer.text
                    if b"otp" in sent:
                        assert code not in answer.text, sent
    await says_nothing_of(hub, code)


async def says_nothing_of(hub: Hub, secret: str) -> None:
    assert secret not in await shown_everywhere(hub)
    tables = await hub.rows("select tablename from pg_tables where schemaname = 'public'")
    assert tables
    for (table,) in tables:
        rows = await hub.rows(f"select t::text as text from {table} t")
        assert not [row for row in rows if secret in row["text"]], table


@pytest.mark.parametrize("event_id", ["none", "too long", "a list"])
async def test_a_code_that_was_sent_stands_in_its_mail_only(
    hub: Hub, mailbox: MailCatcher, event_id: str
) -> None:
    code, address = canary(), new_address()
    unusable = {"none": None, "too long": code * 40, "a list": [code]}[event_id]
    asked = {"email": address, "otp_code": code, "action": "register", "event_id": unusable}
    await hub.publish(asked, topic=hub.environment["REGISTRATION_EVENTS_TOPIC"])
    await mailed(mailbox, address)

    async def sent() -> bool:
        rows = await hub.rows("select status from deliveries where address = $1", address)
        return [row["status"] for row in rows] == ["sent"]

    await eventually(sent, "the row says so")
    await says_nothing_of(hub, code)


async def test_a_token_stands_nowhere_however_it_is_brought(hub: Hub) -> None:
    user = new_user()
    good, expired = token(user), token(user, lifetime=-60)
    foreign = jwt.encode({"sub": user}, "another secret that is long enough to be one", algorithm="HS256")
    secrets = [good, expired, foreign, f"{good}="]
    shown = []
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        for each in secrets:
            for path in (f"{REST}/notifications/users/{user}", f"{WEBSOCKET}/notifications/users/{user}"):
                for where in (
                    path,
                    f"{path}?jwt={each}",
                    f"{path}/{each}",
                    f"/{each}",
                    f"{REST}/{each}?limit=x",
                ):
                    answer = await client.get(where, headers={"Authorization": f"Bearer {each}"})
                    shown.append(answer.text.replace(where.partition("?")[0], ""))  # the problem's `instance`
                    shown.append(str(answer.headers))
            with suppress(InvalidStatus):
                async with connect(f"{hub.socket_address(user)}?jwt={each}"):
                    pass
    mine = [broken.replace(b"USER", user.encode()) for broken in BROKEN]
    requests = [broken.replace(b"TOKEN", each.encode()) for each in secrets for broken in mine]
    shown += [(await raw(hub, request)).decode(errors="replace") for request in requests]
    everything = "\n".join([*shown, await shown_everywhere(hub)])
    for each in secrets:
        assert each.rsplit(".", 1)[1] not in everything


HOST = "Host: hub\r\n"
POST = f"POST {REST}/notifications?jwt=TOKEN HTTP/1.1\r\n{HOST}"
_UPGRADE = (
    f"GET {WEBSOCKET}/notifications/users/USER HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
).encode()
BROKEN = [
    _UPGRADE + b"Sec-WebSocket-Protocol: hub.v1, bearer.TOKEN, \x1b\r\n\r\n",
    _UPGRADE + b"Authorization: Bearer TOKEN\r\nX-Other: \x1b TOKEN\r\n\r\n",
    _UPGRADE + b"Authorization: Bearer TOKEN\r\nSec-WebSocket-Extensions: ;;TOKEN\r\n\r\n",
    _UPGRADE.replace(b"AAAA", b"\x7f") + b"Authorization: Bearer TOKEN\r\nX: TOKEN\r\n\r\n",
    b"GET /?jwt=TOKEN HTTP/9.9\r\n\r\n",
    b"G\xffT /?jwt=TOKEN HTTP/1.1\r\nHost: hub\r\n\r\n",
    f"G\x1bT {REST}/health?jwt=TOKEN HTTP/1.1\r\nHost: hub\r\n\r\n".encode(),
    f"GET {REST}/health?jwt=TOKEN HTTP/1.1\r\nHost: hub\r\nAccept-Language: \xff\r\n\r\n".encode("latin-1"),
    f"GET {REST}/nowhere\xff?jwt=TOKEN HTTP/1.1\r\nHost: hub\r\n\r\n".encode("latin-1"),
    f"GET {REST}/x?jwt=TOKEN HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer \xff\r\n\r\n".encode("latin-1"),
    f"GET {WEBSOCKET}/notifications/users/x?jwt=TOKEN HTTP/1.1\r\n{HOST}Upgrade: websocket\r\n\r\n".encode(),
    f"{POST}Content-Length: x\r\n\r\n".encode(),
    f"{POST}Transfer-Encoding: chunked\r\n\r\nxyz\r\n".encode(),
    f"{POST}Expect: TOKEN\r\nContent-Length: 1\r\n\r\n".encode(),
    f"GET {REST}/health?jwt=TOKEN HTTP/1.1\r\nHost: hub\r\nX: ".encode() + b"x" * 20_000 + b"\r\n\r\n",
    f"GET {REST}/health?jwt=TOKEN HTTP/1.1\r\nHost: [\r\nForwarded: \x00\r\n\r\n".encode(),
    f"OPTIONS {REST}/health?jwt=TOKEN HTTP/1.1\r\nHost: hub\r\nOrigin: \xff\r\n\r\n".encode("latin-1"),
]


async def raw(hub: Hub, request: bytes) -> bytes:
    """What comes back to these very bytes, as far as it comes soon."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        if b"Connection" not in request:
            request = request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.read(65536)
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.close()


def test_no_description_holds_a_secret() -> None:
    """Of REST, of the WebSocket, and of the settings: nothing that looks like a token, a key or a code."""
    for path in (
        *("docs/asyncapi.yml", "docs/reference/settings.md", ".env.example"),
        *("docker-compose.yml", "kong.yml", "README.md"),
    ):
        text = (ROOT / path).read_text()
        assert "eyJ" not in text, path
        assert "BEGIN PRIVATE" not in text, path
