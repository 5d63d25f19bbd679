"""The watchdog of a Kafka consumer: what counts as a stall, and what never does."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from hypothesis import given
from hypothesis import strategies as st

from app.sources.kafka import watchdog as kafka_watch
from app.sources.kafka.stall import StallDetector
from app.sources.kafka.watchdog import ConsumerStalled, ConsumerWatchdog

PATIENCE = 30.0
P, Q = TopicPartition("events", 0), TopicPartition("events", 1)

looks = st.lists(
    st.tuples(st.sampled_from([1.0, 10.0, 29.0]), st.integers(0, 2), st.integers(0, 2)), max_size=12
)


@given(looks)
def test_only_who_had_more_to_read_for_so_long_and_never_moved_stands_still(
    seen: list[tuple[float, int, int]],
) -> None:
    """`seen`: at each look the seconds since the last, the position, and the end."""
    standstill: StallDetector[str] = StallDetector(PATIENCE)
    now, history = 0.0, []
    for seconds, position, end in seen:
        now += seconds
        history.append((now, position, end))
        unmoved = []
        for then, was, had in reversed(history):
            if was != position or was >= had:
                break
            unmoved.append(then)
        expected = bool(unmoved) and now - unmoved[-1] >= PATIENCE
        assert standstill.look(now, {"p": position}, {"p": end}) == (["p"] if expected else [])


def test_a_partition_stands_still_beside_others_that_move() -> None:
    standstill: StallDetector[str] = StallDetector(PATIENCE)
    assert standstill.look(0.0, {"p": 5, "q": 0}, {"p": 9, "q": 99}) == []
    assert standstill.look(PATIENCE, {"p": 5, "q": 7}, {"p": 9, "q": 99}) == ["p"]
    standstill.forget()
    assert standstill.look(PATIENCE, {"p": 5, "q": 7}, {"p": 9, "q": 99}) == []


class Scene:
    """A consumer, a broker, and a clock that goes on by a look at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.position_of = {P: 3}
        self.end_of = {P: 9}
        self.away = False
        self.watch = ConsumerWatchdog(PATIENCE, self.ends)
        monkeypatch.setattr(kafka_watch, "_now", lambda: self.now)

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        if self.away:
            raise KafkaConnectionError
        return {p: self.end_of[p] for p in partitions}

    def assignment(self) -> set[TopicPartition]:
        return set(self.position_of)

    async def position(self, partition: TopicPartition) -> int:
        if (found := self.position_of[partition]) < 0:
            await asyncio.sleep(3600)
        return found

    async def look(self, *, emptied: bool = True) -> None:
        self.now += PATIENCE / 3
        if emptied:
            self.watch.emptied()
        await self.watch._look(self)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


async def test_who_has_more_to_read_and_brings_nothing_has_stalled(scene: Scene) -> None:
    for _ in range(3):
        await scene.look()
    with pytest.raises(ConsumerStalled, match="events/0 at 3 of 9"):
        await scene.look()


async def test_so_has_who_never_found_where_to_begin(scene: Scene) -> None:
    scene.position_of[P] = -1
    for _ in range(3):
        await scene.look()
    with pytest.raises(ConsumerStalled):
        await scene.look()


async def test_so_has_who_lets_a_poll_hang_also_without_a_partition(scene: Scene) -> None:
    scene.position_of.clear()
    with scene.watch.poll():
        for _ in range(2):
            await scene.look(emptied=False)
        with pytest.raises(ConsumerStalled, match="a poll doesn't return"):
            await scene.look(emptied=False)


@pytest.mark.parametrize(
    "excuse", ["nothing to read", "it moves", "intake is stalled", "no broker", "no partition"]
)
async def test_with_an_excuse_it_may_stall_indefinitely(scene: Scene, excuse: str) -> None:
    for number in range(20):
        match excuse:
            case "nothing to read":
                scene.position_of[P] = scene.end_of[P]
            case "it moves":
                scene.position_of[P] += 1
                scene.end_of[P] += 1
            case "no broker":
                scene.away = number % 3 == 0
            case "no partition":
                scene.position_of.clear()
        await scene.look(emptied=number % 3 != 0 or excuse != "intake is stalled")


async def test_a_rebalance_that_comes_to_its_end_is_no_poll_that_hangs(scene: Scene) -> None:
    with scene.watch.poll():
        for _ in range(10):
            await scene.look(emptied=False)
            scene.watch.assigned()


async def test_while_no_broker_answers_a_poll_may_hang(scene: Scene) -> None:
    scene.away = True
    with scene.watch.poll():
        for _ in range(10):
            await scene.look(emptied=False)
        scene.away = False
        await scene.look(emptied=False)
