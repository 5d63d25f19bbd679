"""Nodes whose clocks are wrong: one ahead, one behind, one right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

import asyncpg
import httpx
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus, WebSocketException

from faults.disturb import WRONG, wrong_clocks
from faults.experiment import Run, experiment
from faults.world import Node, World
from tests.support.hub import close_code, eventually, new_user, token
from tests.support.mailbox import new_address, text_of

RATE = 100.0
TOKENS_LIVE = 200  # seconds; less than the clocks are wrong
SOON = 10.0  # seconds
TOLERANCE = 3.0  # seconds
PATIENCE = 30.0  # seconds for an answer: how fast it is isn't asked here


@experiment(
    "clock",
    "of 3 nodes one is 5 minutes ahead and one 5 minutes behind: load, tokens, schedules, codes, logouts",
    promises="1, 2, 3, 4, 7",
)
async def clock(run: Run) -> None:
    seconds = run.sized(120, least=15)
    begun = time.monotonic()
    async with run.world(own_settings=wrong_clocks(), settings={"OTP_COOLDOWN": "0"}) as world:
        first = datetime.now(UTC)
        async with world.load.publishing(RATE):
            await asyncio.gather(*(_noted(run, check) for check in _checks(run, world)))
            await asyncio.sleep(max(0.0, begun + seconds - time.monotonic()))
        await world.caught_up()
        await _noted(run, _rows_have_the_right_time(world, first))


def _checks(run: Run, world: World) -> list[Coroutine[Any, Any, None]]:
    each = [
        check(run, node, name)
        for node, name in zip(
            world.nodes, ("the node ahead", "the node behind", "the right node"), strict=True
        )
        for check in (_takes_good_tokens_only, _ends_with_the_token)
    ]
    return [
        *each,
        *(_sends_in_time(run, node) for node in world.nodes),
        _newest_code_counts(world),
        _logs_out(run, world),
    ]


async def _noted(run: Run, check: Coroutine[Any, Any, None]) -> None:
    """What fails is a problem; the other checks go on."""
    try:
        await check
    except (AssertionError, OSError, TimeoutError, WebSocketException, httpx.HTTPError) as error:
        run.problems.append(str(error).partition("\n")[0] or type(error).__name__)


async def _takes_good_tokens_only(_: Run, node: Node, name: str) -> None:
    user = new_user()
    for lifetime, expected in ((TOKENS_LIVE, 200), (-60, 401)):
        async with node.client(user) as client:
            client.timeout = PATIENCE
            client.headers["Authorization"] = f"Bearer {token(user, lifetime=lifetime)}"
            path = f"/notifications/users/{user}"
            status = (await _answered(partial(client.get, path))).status_code
        assert status == expected, f"{name} says {status} to a token that has {lifetime} s to go"


async def _ends_with_the_token(run: Run, node: Node, name: str) -> None:
    user = new_user()
    try:
        begun, socket = await _let_in(node, user, round(SOON))
    except InvalidStatus as error:
        raise AssertionError(f"{name} refuses a token that has {SOON:.0f} s to go: {error}") from None
    async with socket:
        code = await close_code(socket)
    took = time.monotonic() - begun
    assert code == 4401, f"{name} closes with {code}"
    run.figure(f"delay of the token's end on {name}", took - SOON, "s", at_most=2)  # promise 7
    assert SOON - 2 < took < WRONG / 4, f"{name} ends a token of {SOON:.0f} s after {took:.0f} s"


async def _answered(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """What it says once it isn't too busy (503) to say anything."""

    async def answer() -> httpx.Response | None:
        found = await ask()
        return found if found.status_code != HTTPStatus.SERVICE_UNAVAILABLE else None

    return await eventually(answer, "an answer other than 503", PATIENCE)


async def _let_in(node: Node, user: str, lifetime: int) -> tuple[float, ClientConnection]:
    """A connection by a token that lives so long, and when that was signed; again while it gets a 503."""

    async def opened() -> tuple[float, ClientConnection] | None:
        signed_at = time.monotonic()
        bearer = {"Authorization": f"Bearer {token(user, lifetime=lifetime)}"}
        try:
            return signed_at, await node.socket(user, additional_headers=bearer)
        except InvalidStatus as error:
            if error.response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return None

    return await eventually(opened, "an answer other than 503", PATIENCE)


async def _sends_in_time(run: Run, node: Node) -> None:
    user, service = new_user(), token("clock", scope="notifications:send")
    due = datetime.now(UTC) + timedelta(seconds=SOON)
    body = {"type": "inapp", "user_id": user, "message": "Dinner", "send_at": due.isoformat()}
    async with node.client(user) as client:
        client.timeout = PATIENCE
        headers = {"Authorization": f"Bearer {service}"}
        answer = await _answered(partial(client.post, "/notifications", json=body, headers=headers))
    assert answer.is_success, f"a schedule was refused with {answer.status_code}"
    await node.stored(user, 1)
    off = abs((datetime.now(UTC) - due).total_seconds())
    assert off < WRONG / 4, f"deviation of a scheduled event {off:.0f} s"
    run.figure("deviation of a scheduled event", off, "s", at_most=TOLERANCE)


async def _newest_code_counts(world: World) -> None:
    """Whichever node handles the older one and the newer one."""
    hub = world.nodes[2]
    topic = hub.environment["REGISTRATION_EVENTS_TOPIC"]
    for first, second in ((0, 1), (1, 0)):
        address = new_address()
        for number, partition in enumerate((first, second)):
            event = {"email": address, "otp_code": f"10000{number}", "action": "register"}
            await hub.publish(event, topic=topic, partition=partition)
            found = world.mails.others[address]
            await eventually(partial(_longer, found, number), f"code {number + 1} of an address", PATIENCE)
            assert f"10000{number}" in text_of(found[-1].message), "an older code took a newer one's place"


async def _longer(found: Sequence[object], number: int) -> bool:
    return len(found) > number


async def _logs_out(run: Run, world: World) -> None:
    user = new_user()
    opened = [(await _let_in(node, user, TOKENS_LIVE))[1] for node in world.nodes]
    try:
        await asyncio.sleep(1)
        begun = time.monotonic()
        event = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
        await world.nodes[2].publish(event, topic=world.nodes[2].logout_topic)
        codes = await asyncio.gather(*map(close_code, opened))
    finally:
        await asyncio.gather(*(socket.close() for socket in opened))
    assert codes == [4500] * 3, f"a logout ended connections with {codes}"
    run.figure("a logout took", time.monotonic() - begun, "s", at_most=2)


async def _rows_have_the_right_time(world: World, first: datetime) -> None:
    connection: asyncpg.Connection = await world.site.postgres.connect(world.database)
    try:
        oldest = await connection.fetchval("select min(created_at) from notifications")
        newest = await connection.fetchval("select max(created_at) from notifications")
    finally:
        await connection.close()
    slack = timedelta(seconds=TOLERANCE)
    assert first - slack < oldest, f"a notification says that it was made {first - oldest} too early"
    assert newest < datetime.now(UTC) + slack, (
        f"a notification says that it was made {newest - first} after the first"
    )
