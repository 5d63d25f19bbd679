"""The clocks that a node compares its own with, as they really answer."""

from __future__ import annotations

import time

import pytest

from app.domain.errors import Unavailable
from app.realtime.presence import Presence
from app.runtime.redis import REDIS_ERRORS, connect
from app.store.engine import clock, make_engine
from tests.support.hub import free_port
from tests.support.settings import settings_on

MACHINE_BUSY = 5.0  # seconds


async def test_postgres_and_redis_say_what_time_it_is(database: str, redis_url: str) -> None:
    settings = settings_on(redis_url, database_url=database)
    engine, redis = make_engine(settings.postgres), connect(settings.redis)
    try:
        for told in (await clock(engine), await Presence(redis, "clocks").time()):
            assert told == pytest.approx(time.time(), abs=MACHINE_BUSY)
    finally:
        await engine.dispose()
        await redis.aclose()


async def test_those_that_are_away_say_so() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    settings = settings_on(f"redis://{nobody}", database_url=f"postgresql://postgres@{nobody}/hub")
    engine, redis = make_engine(settings.postgres), connect(settings.redis)
    try:
        with pytest.raises(Unavailable):
            await clock(engine)
        with pytest.raises(REDIS_ERRORS):
            await Presence(redis, "clocks").time()
    finally:
        await engine.dispose()
        await redis.aclose()
