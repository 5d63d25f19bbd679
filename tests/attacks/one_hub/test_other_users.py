"""What one user can learn of another, or do to them: nothing."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.support.hub import NO_TLS, REST, WEBSOCKET, Hub, added, new_user, receive, token

ROUNDS = 60
IDENTITY = [
    "X-User-Id",
    "X-User-ID",
    "X-Userid",
    "X-Consumer-ID",
    "X-Consumer-Username",
    "X-Consumer-Custom-ID",
    "X-Consumer-Groups",
    "X-Credential-Identifier",
    "X-Authenticated-Userid",
    "X-Authenticated-Groups",
    "X-Authenticated-Scope",
    "X-Forwarded-User",
    "X-Remote-User",
    "Remote-User",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "Cookie",
]


async def notification(hub: Hub, user: str) -> int:
    """The id of one of this user."""
    count = len(await hub.rows("select 1 from notifications where receiver = $1", user))
    await hub.publish(added(user))
    found: int = (await hub.stored(user, count + 1))[-1]["id"]
    return found


def without_path(answer: httpx.Response, path_id: int) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
    """All that an answer says, but for the path that was asked for and what time changes."""
    body = json.loads(answer.text.replace(f"/{path_id}/", "/ID/"))
    kept = {name: value for name, value in answer.headers.items() if name not in ("date", "ratelimit")}
    kept["content-length"] = str(int(kept["content-length"]) - len(str(path_id)))
    return answer.status_code, body, sorted(kept.items())


@pytest.mark.parametrize(("method", "end"), [("PATCH", "/read"), ("DELETE", "")])
async def test_anothers_notification_is_as_one_that_is_not_there(hub: Hub, method: str, end: str) -> None:
    victim, thief = new_user(), new_user()
    theirs, seconds = await notification(hub, victim), {}
    missing = theirs + 10**9
    async with hub.client(thief) as client:

        async def ask(wanted: int) -> httpx.Response:
            return await client.request(method, f"/notifications/{wanted}/users/{thief}{end}")

        answers = [without_path(await ask(each), each) for each in (theirs, missing)]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
        taken: dict[int, list[float]] = {theirs: [], missing: []}
        for number in range(2 * ROUNDS):
            wanted = (theirs, missing)[number % 2]
            begun = time.perf_counter()
            await ask(wanted)
            taken[wanted].append(time.perf_counter() - begun)
        seconds = {wanted: statistics.median(each) for wanted, each in taken.items()}
    # That it is the same statements: tests/integration/test_store.py. This is for whatever else takes long.
    assert max(seconds.values()) < 1.6 * min(seconds.values()) + 0.002, seconds
    (row,) = await hub.rows("select is_read from notifications where id = $1", theirs)
    assert not row["is_read"]


async def test_nor_over_the_session_protocol(hub: Hub) -> None:
    victim, thief = new_user(), new_user()
    theirs = await notification(hub, victim)
    missing = theirs + 10**9
    protocols = ["hub.v1", f"bearer.{token(thief)}"]
    async with connect(hub.socket_address(thief), subprotocols=protocols) as socket:  # type: ignore[arg-type]
        await receive(socket)
        answers = []
        for wanted in (theirs, missing):
            await socket.send(json.dumps({"type": "read", "id": wanted}))
            answers.append(await receive(socket))
        assert answers[0] == answers[1]
        await socket.send(json.dumps({"type": "token", "jwt": token(victim)}))
        await socket.wait_closed()
        assert socket.close_code == 4503
    (row,) = await hub.rows("select is_read from notifications where id = $1", theirs)
    assert not row["is_read"]


@pytest.mark.parametrize("spelling", ["upper", "braces", "urn", "no hyphens", "encoded"])
async def test_no_spelling_of_anothers_id_opens_their_inbox(hub: Hub, spelling: str) -> None:
    victim, thief = new_user(), new_user()
    await notification(hub, victim)
    spelled = {
        "upper": victim.upper(),
        "braces": f"%7B{victim}%7D",
        "urn": f"urn:uuid:{victim}",
        "no hyphens": victim.replace("-", ""),
        "encoded": "".join(f"%{ord(c):02x}" for c in victim),
    }[spelling]
    async with hub.client(thief) as client:
        for path in (
            f"/notifications/users/{spelled}",
            f"/users/{spelled}/notifications",
            f"/notifications/users/{thief}%2f..%2f{spelled}",
            f"/notifications/users/{thief}/../{spelled}",
            f"/notifications/users/{thief}?user_id={spelled}",
        ):
            answer = await client.get(path)
            assert victim not in answer.text or answer.status_code != 200, path
            assert answer.status_code in (200, 400, 403, 404)
            assert answer.status_code != 200 or answer.json() == []


@pytest.mark.parametrize("header", IDENTITY)
async def test_a_header_that_claims_who_the_caller_is_counts_for_nothing(hub: Hub, header: str) -> None:
    victim, thief = new_user(), new_user()
    claim = {header: victim if header != "Cookie" else f"user_id={victim}; jwt={token(victim)}"}
    path = f"/notifications/users/{victim}"
    async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as anybody:
        assert (await anybody.get(path, headers=claim)).status_code == 401
        for scope in ("deliveries:read", "notifications:send"):
            claimed = {**claim, "X-Authenticated-Scope": scope}
            assert (await anybody.get("/deliveries", headers=claimed)).status_code == 401
    async with hub.client(thief, **claim) as client:
        assert (await client.get(path)).status_code == 403
        assert (await client.get(f"/notifications/users/{thief}")).status_code == 200
        assert (await client.get("/deliveries")).status_code == 403
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        socket = f"{hub.http}{WEBSOCKET}/notifications/users/{victim}"
        assert (await client.get(socket, headers=upgrade)).status_code == 403
