"""Addresses and their codes in Postgres: the limits hold, whoever asks at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.confirmations import (
    MAX_CODES_PER_HOUR,
    MAX_TRIES_COUNT,
    AddressStatus,
    CodeRequest,
    CodeResult,
    RequestedCode,
)
from app.store.addresses import AddressStore
from app.store.preferences import PreferenceStore, Profile
from tests.support.store import engine_on

RIGHT = b"right"


@pytest_asyncio.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_on(database)
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def store(engine: AsyncEngine) -> AddressStore:
    return AddressStore(engine)


def new_mailbox() -> str:
    return f"{uuid4().hex}@example.com"


async def ask(store: AddressStore, user: UUID, address: str, channel: str = "email") -> RequestedCode:
    return await store.request(CodeRequest(uuid4(), user, channel, address, RIGHT))


async def added(store: AddressStore, user: UUID, address: str, channel: str = "email") -> UUID:
    """The id of a pending address."""
    asked = await ask(store, user, address, channel)
    assert asked.address is not None
    assert asked.send
    return asked.address.id


def right(code_hash: bytes) -> bool:
    return code_hash == RIGHT


def wrong(_: bytes) -> bool:
    return False


async def shown(store: AddressStore, user: UUID) -> list[tuple[str, str, str]]:
    return [(each.channel, each.address, each.status.value) for each in await store.of_user(user)]


async def run(engine: AsyncEngine, statement: str, **values: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def test_an_address_counts_once_its_code_was_right(store: AddressStore, engine: AsyncEngine) -> None:
    user, people = uuid4(), PreferenceStore(engine)
    await people.set_profile(user, Profile(email="old@example.com", phone="+84912345678", locale="vi"))
    address = new_mailbox()
    pending = await added(store, user, address)
    assert await shown(store, user) == [("email", address, "pending")]
    assert (await people.get(user))[0].email == "old@example.com"
    assert await store.confirm(user, pending, wrong) is CodeResult.WRONG
    assert await store.confirm(uuid4(), pending, right) is CodeResult.NO_ADDRESS
    assert await store.confirm(user, pending, right) is CodeResult.RIGHT
    assert await store.confirm(user, pending, right) is CodeResult.NONE_VALID, "a code is good for once"
    profile, _ = await people.get(user)
    assert (profile.email, profile.phone, profile.locale) == (address, "+84912345678", "vi")
    again = await ask(store, user, address)
    assert again.address is not None
    assert (again.address.id, again.address.status, again.send) == (pending, AddressStatus.CONFIRMED, False)
    await people.change(user, {"email": "other@example.com"}, {})
    assert await shown(store, user) == [], "a profile that is set otherwise ends the confirmation"
    await people.set_profile(user, Profile(email=address))
    assert await shown(store, user) == [], "for good"


async def test_a_new_request_ends_the_one_before_it_and_a_new_address_replaces_the_old(
    store: AddressStore, engine: AsyncEngine
) -> None:
    user, people = uuid4(), PreferenceStore(engine)
    one, other = new_mailbox(), new_mailbox()
    first, phone = await added(store, user, one), await added(store, user, "+84912345670", "sms")
    second = await added(store, user, other)
    assert await store.confirm(user, first, right) is CodeResult.NONE_VALID
    assert await store.confirm(user, phone, right) is CodeResult.RIGHT, "another channel's is as it was"
    assert await store.confirm(user, second, right) is CodeResult.RIGHT
    third = await added(store, user, one)
    assert await store.confirm(user, third, right) is CodeResult.RIGHT
    assert await shown(store, user) == [("sms", "+84912345670", "confirmed"), ("email", one, "confirmed")]
    assert not await store.remove(uuid4(), third)
    assert not await store.remove(user, second), "it is gone"
    assert await store.remove(user, third)
    profile, _ = await people.get(user)
    assert (profile.email, profile.phone) == (None, "+84912345670")


async def test_tries_are_counted_however_many_come_at_once(store: AddressStore) -> None:
    user = uuid4()
    pending = await added(store, user, new_mailbox())
    results = await asyncio.gather(*(store.confirm(user, pending, wrong) for _ in range(4 * MAX_TRIES_COUNT)))
    assert results.count(CodeResult.WRONG) == MAX_TRIES_COUNT
    assert set(results) == {CodeResult.WRONG, CodeResult.NONE_VALID}
    assert await store.confirm(user, pending, right) is CodeResult.NONE_VALID
    assert await shown(store, user) == []


async def test_a_code_expires(store: AddressStore, engine: AsyncEngine) -> None:
    user = uuid4()
    pending = await added(store, user, new_mailbox())
    await run(engine, "update addresses set expires_at = now() where id = :id", id=pending)
    assert await store.confirm(user, pending, right) is CodeResult.NONE_VALID
    assert await shown(store, user) == []


async def test_nobody_gets_more_codes_in_an_hour_than_the_limits_allow(
    store: AddressStore, engine: AsyncEngine
) -> None:
    victim, users = new_mailbox(), [uuid4() for _ in range(3 * MAX_CODES_PER_HOUR)]
    asked = await asyncio.gather(*(ask(store, user, victim.upper()) for user in users))
    assert sum(each.send for each in asked) == MAX_CODES_PER_HOUR, "one address, many users"
    refused = next(each for each in asked if not each.send)
    assert 0 < refused.retry_after <= 3600
    user = uuid4()
    many = await asyncio.gather(*(ask(store, user, new_mailbox()) for _ in range(3 * MAX_CODES_PER_HOUR)))
    assert sum(each.send for each in many) == MAX_CODES_PER_HOUR, "many addresses, one user"
    for each in await store.of_user(user):
        assert await store.confirm(user, each.id, right) is CodeResult.RIGHT
        assert await store.remove(user, each.id)
    assert not (await ask(store, user, new_mailbox())).send, "what is confirmed or removed counts as well"
    await run(
        engine,
        "update addresses set created_at = created_at - interval '1 hour' where user_id = :user",
        user=user,
    )
    assert (await ask(store, user, new_mailbox())).send


async def test_calls_for_one_user_at_once_never_deadlock_and_leave_what_one_order_leaves(
    store: AddressStore, engine: AsyncEngine
) -> None:
    people = PreferenceStore(engine)
    for _ in range(20):
        user, address = uuid4(), new_mailbox()
        first = await added(store, user, address)
        assert await store.confirm(user, first, right) is CodeResult.RIGHT
        second = await added(store, user, new_mailbox())
        await asyncio.gather(
            store.confirm(user, second, right),
            people.set_profile(user, Profile(email="other@example.com")),
            store.remove(user, first),
            people.change(user, {"email": None}, {}),
            ask(store, user, new_mailbox()),
        )
        profile, _ = await people.get(user)
        confirmed = [each.address for each in await store.of_user(user) if each.status == "confirmed"]
        assert confirmed in ([], [profile.email])
