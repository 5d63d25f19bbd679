"""Upgrades over the limit wait for a place, in their order, and not without end."""

from __future__ import annotations

import asyncio

import pytest

from app.api import admission as under_test
from app.api.admission import Admission
from app.api.errors import Problem
from tests.support.settings import settings_on


@pytest.fixture
def admission() -> Admission:
    settings = settings_on("redis://redis", ws_max_upgrades=2)
    return Admission(settings.websocket, manager=None)  # type: ignore[arg-type]  # nobody is connected


async def test_who_comes_first_goes_first_and_no_more_than_allowed_at_a_time(admission: Admission) -> None:
    order: list[int] = []
    under_way = most = 0

    async def come(number: int) -> None:
        nonlocal under_way, most
        async with admission.upgrade():
            under_way += 1
            most = max(most, under_way)
            order.append(number)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*map(come, range(50)))
    assert order == [*range(50)]
    assert most == 2


async def test_who_waits_too_long_gets_overloaded_and_its_place_is_not_lost(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_WAIT_SECONDS", 0.01)
    async with admission.upgrade(), admission.upgrade():
        with pytest.raises(Problem) as refused:
            async with admission.upgrade():
                pass
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        assert "Retry-After" in refused.value.headers
    async with admission.upgrade(), admission.upgrade():
        pass


async def test_who_leaves_while_waiting_takes_no_place(admission: Admission) -> None:
    async def come() -> None:
        async with admission.upgrade():
            pass

    async with admission.upgrade(), admission.upgrade():
        waiting = asyncio.create_task(come())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with admission.upgrade(), admission.upgrade():
        assert waiting.cancelled()
