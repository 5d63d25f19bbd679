"""A burst is processed in slices: other work runs in between, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio

from app.runtime.http1 import Head
from app.runtime.rate_limit import AdmissionQueue
from app.server import pending_connection, protocol
from app.server.protocol import MAX_CHUNKS_PER_TURN, AdmissionQueues, FairHttp, FairProtocol
from tests.support.hub import eventually
from tests.support.little_server import PATIENCE, little_server

BODY = b"POST /echo HTTP/1.1\r\nHost: hub\r\nContent-Length: 2\r\n\r\nok"
LAST = BODY.replace(b"Host", b"Connection: close\r\nHost")
UPGRADE = b"GET /nothing HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n"
GIVEN_UP = b"|"  # here the client goes away
MANY = 100
FEW = 4  # two at once, and what the time until then allows


class Turns:
    """Counts the turns of the loop in which others could have worked."""

    def __init__(self) -> None:
        self.count = 0
        self.at: list[int] = []

    def note(self) -> None:
        self.at.append(self.count)

    @property
    def most_in_one(self) -> int:
        return max(self.at.count(turn) for turn in set(self.at))

    async def go_on(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@pytest_asyncio.fixture
async def turns() -> AsyncIterator[Turns]:
    turns = Turns()
    counting = asyncio.create_task(turns.go_on())
    yield turns
    counting.cancel()


async def ask(port: int, what: bytes) -> bytes:
    """All that is said until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(what.removesuffix(GIVEN_UP))
        if what.endswith(GIVEN_UP):
            await asyncio.sleep(0.01)
            writer.transport.abort()
            return b""
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def test_requests_that_come_at_once_are_begun_one_after_the_other(turns: Turns) -> None:
    async with little_server(turns.note) as port:
        answers = await asyncio.gather(*(ask(port, LAST) for _ in range(MANY)))
    assert all(answer.endswith(b"ok") for answer in answers)
    assert len(turns.at) == MANY
    assert turns.most_in_one <= FEW


async def test_requests_in_one_packet_are_too(turns: Turns) -> None:
    async with little_server(turns.note) as port:
        answer = await ask(port, BODY * (MANY - 1) + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == MANY
    assert turns.most_in_one <= FEW


async def test_a_body_in_many_chunks_leaves_room_for_others(turns: Turns) -> None:
    chunks = 20 * MAX_CHUNKS_PER_TURN
    head = b"POST /echo HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    paced = queues(later_requests=AdmissionQueue(0.001, 1))
    async with little_server(turns.note, queues=paced, patience=20.0) as port:
        before = turns.count
        answer = await ask(port, head + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n")
    assert answer.endswith(b"x" * chunks)
    assert turns.at[0] - before >= chunks / MAX_CHUNKS_PER_TURN


def queues(**other: AdmissionQueue) -> AdmissionQueues:
    queues = AdmissionQueues()
    for name, pacer in other.items():
        setattr(queues, name, pacer)
    return queues


async def test_a_request_that_finds_the_queue_full_gets_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_connection, "MAX_QUEUED_REQUESTS", 3)
    standing = AdmissionQueue(1e9, 1)
    async with little_server(queues=queues(requests=standing)) as port:
        assert (await ask(port, LAST)).endswith(b"ok")
        waiting = [asyncio.create_task(ask(port, LAST)) for _ in range(3)]

        async def queued() -> bool:
            return len(standing) == 3

        await eventually(queued, "three wait")
        head, _, body = (await ask(port, LAST)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in head
        assert json.loads(body)["code"] == "overloaded"
        assert (await ask(port, UPGRADE)).startswith(b"HTTP/1.1 404 "), "sign-ins have a separate line"
        for task in waiting:
            task.cancel()


async def test_who_leaves_the_line_is_not_worked_for(turns: Turns) -> None:
    line = AdmissionQueue(1e9, 1)
    async with little_server(turns.note, queues=queues(requests=line)) as port:
        assert (await ask(port, LAST)).endswith(b"ok")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LAST)

        async def queued() -> bool:
            return len(line) == 1

        await eventually(queued, "it waits")
        writer.close()
        await asyncio.sleep(0.05)
        line._each = 1e-9
        line._go_on()
        await asyncio.sleep(0.05)
    assert len(turns.at) == 1


async def test_a_repeat_offender_is_answered_after_a_delay_and_costs_no_request(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_connection, "REFUSAL_DELAY_SECONDS", 0.3)
    async with little_server(turns.note, lambda head: 20 * ("eyJ" in str(head.fields))) as port:
        began = asyncio.get_running_loop().time()
        hostile = UPGRADE.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer eyJ.a.b\r\n\r\n")
        head, _, body = (await ask(port, hostile + b"\x89\x80\0\0\0\0" * 10_000)).partition(b"\r\n\r\n")
        assert asyncio.get_running_loop().time() - began >= 0.3
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: 20\r\n" in head
        assert json.loads(body)["code"] == "too_many"
        assert (await ask(port, LAST.replace(b"Host: hub", b"Host: eyJ"))).endswith(b"ok"), "REST isn't asked"


@pytest.mark.parametrize(
    "header",
    [
        b"Upgrade: websocket",
        b"upgrade:websocket",
        b"UPGRADE:\t WebSocket",
        b"Upgrade: x\r\nUpgrade: y,websocket",
    ],
)
async def test_a_sign_in_is_known_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, header: bytes
) -> None:
    monkeypatch.setattr(pending_connection, "REFUSAL_DELAY_SECONDS", 0.05)
    async with little_server(repeat_offenders=lambda _: 1) as port:
        assert (await ask(port, UPGRADE.replace(b"Upgrade: websocket", header))).startswith(b"HTTP/1.1 429 ")
        body = LAST.replace(b"2\r\n\r\nok", b"24\r\n\r\nx=\r\nUpgrade: websocket\r\n")
        assert (await ask(port, body)).startswith(b"HTTP/1.1 200 ")


async def test_a_sign_in_behind_another_request_waits_in_the_line_of_sign_ins(turns: Turns) -> None:
    line = AdmissionQueue(1e9, 1)
    async with little_server(turns.note, queues=queues(sanic_upgrades=line)) as port:
        assert (await ask(port, UPGRADE)).startswith(b"HTTP/1.1 404 ")
        waiting = asyncio.create_task(ask(port, BODY + UPGRADE))

        async def queued() -> bool:
            return len(line) == 1

        await eventually(queued, "it waits")
        assert len(turns.at) == 1
        waiting.cancel()


async def test_a_head_that_is_too_long_is_not_searched() -> None:
    asked: list[Head] = []

    def repeat_offenders(head: Head) -> int:
        asked.append(head)
        return 1

    async with little_server(repeat_offenders=repeat_offenders) as port:
        end = b"\r\nX: " + b"x" * FairHttp.HEADER_MAX_SIZE + b"\r\n\r\n"  # Sanic sets it for its first app
        long = UPGRADE.replace(b"\r\n\r\n", end)
        assert (await ask(port, long)).startswith(b"HTTP/1.1 4")
    assert not asked


async def test_requests_on_kept_connections_are_refused_by_a_long_line_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "MAX_QUEUED_REQUESTS", 1)
    standing = AdmissionQueue(1e9, 1)
    async with little_server(queues=queues(later_requests=standing)) as port:
        assert (await ask(port, BODY + LAST)).count(b"HTTP/1.1 200 ") == 2
        waiting = asyncio.create_task(ask(port, BODY + LAST))

        async def queued() -> bool:
            return len(standing) == 1

        await eventually(queued, "one waits")
        assert (await ask(port, BODY + LAST)).count(b"HTTP/1.1 503 ") == 1
        waiting.cancel()


async def test_the_wait_for_a_turn_is_not_the_clients_delay() -> None:
    line = AdmissionQueue(1e9, 1)
    async with little_server(queues=queues(later_requests=line)) as port:
        assert (await ask(port, BODY + LAST)).count(b"HTTP/1.1 200 ") == 2
        waiting = asyncio.create_task(ask(port, BODY + LAST))
        await asyncio.sleep(4 * PATIENCE)
        line._each = 1e-9
        line._go_on()
        assert (await waiting).count(b"HTTP/1.1 200 ") == 2


async def test_only_so_many_are_kept_waiting_for_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_connection, "REFUSAL_DELAY_SECONDS", 0.5)
    monkeypatch.setattr(pending_connection, "MAX_DELAYED_CONNECTIONS", 2)
    async with little_server(repeat_offenders=lambda _: 1) as port:
        answers = await asyncio.gather(*(ask(port, UPGRADE) for _ in range(5)))
        assert sorted(answer[:12] for answer in answers) == [b""] * 3 + [b"HTTP/1.1 429"] * 2
        assert (await ask(port, UPGRADE)).startswith(b"HTTP/1.1 429"), "those before are forgotten"


async def test_connections_that_end_at_once_are_cleared_away_in_turns(turns: Turns) -> None:
    ends = AdmissionQueue(1e9, 1)
    async with little_server(turns.note, queues=queues(ends=ends)) as port:
        kept = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(BODY)
            await reader.readuntil(b"ok")
            kept.append(writer)
        for writer in kept:
            writer.transport.abort()

        async def waiting() -> bool:
            return len(ends) == 19

        await eventually(waiting, "all but one wait")


async def test_a_queued_request_is_checked_again_when_its_turn_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending_connection, "REFUSAL_DELAY_SECONDS", 0.1)
    away: list[bytes] = []
    line = AdmissionQueue(1e9, 1)
    async with little_server(
        repeat_offenders=lambda _: len(away), queues=queues(sanic_upgrades=line)
    ) as port:
        assert (await ask(port, UPGRADE)).startswith(b"HTTP/1.1 404 ")
        waiting = asyncio.create_task(ask(port, UPGRADE))

        async def queued() -> bool:
            return len(line) == 1

        await eventually(queued, "it waits")
        away.append(b"")
        line._each = 1e-9
        line._go_on()
        assert (await waiting).startswith(b"HTTP/1.1 429 ")


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def connections() -> set[object]:
    return {each for each in gc.get_objects() if isinstance(each, FairHttp | FairProtocol)}


HALF = b"POST /echo HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: 100\r\n\r\nhalf"
ENDED = {
    "answered": BODY + LAST,
    "not found": UPGRADE,
    "half a body, timed out": HALF,
    "half a body, given up": HALF + GIVEN_UP,
}


@pytest.mark.parametrize("name", ENDED)
async def test_a_connection_that_ended_leaves_nothing_to_the_garbage_collector(name: str) -> None:
    """Of many clients it would have to find thousands of cycles at a time: a stop of 70 ms."""
    async with little_server() as port:
        await ask(port, LAST)
        with no_garbage_collection():
            before = connections()
            for _ in range(3):
                await ask(port, ENDED[name])

            async def all_gone() -> bool:
                return not connections() - before

            await eventually(all_gone, "nothing is left", within=5)
