"""Parked events, on Postgres and in memory: whoever claims them, each lane keeps its order."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text

from app.domain.errors import Unavailable
from app.domain.notifications import NotificationDraft
from app.store.parked import ParkedDraft, ParkedState, ParkedStatus
from app.store.ports import PreferencesPort
from app.store.records import EventRecord
from tests.contract.conftest import POSTGRES, Store

SECONDS = 600.0


def draft(
    event_id: str,
    group: UUID | None,
    *,
    key: bytes | None = None,
    needs_answer: bool = True,
    retry_for: float = SECONDS,
) -> ParkedDraft:
    return ParkedDraft(
        group, key, "kafka", event_id, 0, "x", None, None, b"{}", lambda: b"labels", needs_answer, retry_for
    )


class Scene:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.parked = store.parked

    async def write(
        self, *entries: tuple[str, ParkedDraft | None], resolved: tuple[int, ...] = ()
    ) -> set[str]:
        """Those that are parked; each of the others gets its notification."""
        records = [
            EventRecord(
                event_id, (NotificationDraft(None, None, (uuid4(),), "X", "{}", "", ""),), parked=parked
            )
            for event_id, parked in entries
        ]
        result = await self.store.writer.write(records, dict.fromkeys(resolved, "among them"))
        assert {event_id for event_id, _ in entries} == {*result.new, *result.parked}
        assert len(result.notifications) == len(result.new)
        return set(result.parked)

    async def claim(
        self, most: int = 1000, lanes: int = 1000, lease: float = 60.0, *, asking: bool = True
    ) -> str:
        """The ids of what was claimed, joined."""
        claimed = await self.parked.claim(most, lanes, lease, asking=asking)
        self.ids = [event.id for event in claimed]
        return "".join(event.event_id[0] for event in claimed)


@pytest_asyncio.fixture
async def scene(store: Store, where: str, request: pytest.FixtureRequest) -> Scene:
    if where == POSTGRES:
        async with request.getfixturevalue("engines")[0].begin() as connection:
            await connection.execute(text("truncate parked_events"))
    return Scene(store)


def named(letter: str) -> str:
    return f"{letter}-{uuid4()}"


def need(group: UUID, letters: str, **options: object) -> list[tuple[str, ParkedDraft]]:
    ids = [named(letter) for letter in letters]
    return [(event_id, draft(event_id, group, **options)) for event_id in ids]  # type: ignore[arg-type]


async def test_what_needs_an_answer_is_parked_and_the_rest_of_the_batch_is_not(scene: Scene) -> None:
    [a], [b] = need(uuid4(), "a"), [(named("b"), None)]
    assert await scene.write(a, b) == {a[0]}
    assert await scene.store.processed.processed([a[0]]) == []
    assert (await scene.parked.state()).events == 1
    assert await scene.claim() == "a"


async def test_an_event_follows_older_ones_of_its_group_though_its_own_answer_is_known(scene: Scene) -> None:
    group = uuid4()
    [a], [b, c] = need(group, "a"), need(group, "bc", needs_answer=False)
    [other] = need(uuid4(), "o", needs_answer=False)
    assert await scene.write(a, other, b) == {a[0], b[0]}, "in one batch"
    assert await scene.write(c) == {c[0]}, "and in the next"
    assert await scene.claim() == "abc"
    await scene.write(*((event_id, None) for event_id, _ in (a, b, c)), resolved=tuple(scene.ids))
    assert await scene.parked.state() == ParkedState(0, 0.0)
    [d] = need(group, "d", needs_answer=False)
    assert await scene.write(d) == set(), "nothing older is parked any more"


async def test_an_event_follows_older_ones_with_its_key_whatever_their_group(scene: Scene) -> None:
    [a] = need(uuid4(), "a", key=b"k")
    [b] = need(uuid4(), "b", key=b"k", needs_answer=False)
    c = (named("c"), draft("c", None, key=b"k", needs_answer=False))
    other = (named("o"), draft("o", None, key=b"other", needs_answer=False))
    assert await scene.write(a) == {a[0]}
    assert await scene.write(b, other, c) == {b[0], c[0]}
    assert await scene.claim() == "abc"


async def test_an_event_that_follows_two_lanes_joins_them(scene: Scene) -> None:
    one, two = uuid4(), uuid4()
    [a], [b] = need(one, "a", key=b"1"), need(two, "b", key=b"2")
    [c], [d] = need(two, "c", key=b"1"), need(uuid4(), "d")
    await scene.write(a, b)
    await scene.write(d, c)
    assert await scene.claim(lanes=1) == "abc"
    assert await scene.claim() == "d"


async def test_a_lane_is_claimed_by_one_node_at_a_time_and_from_its_oldest_on(scene: Scene) -> None:
    groups = [uuid4() for _ in range(5)]
    for letter in "abcdef":
        await scene.write(*(need(group, letter)[0] for group in groups))
    found = await asyncio.gather(*(scene.parked.claim(1000, 2, 60.0, asking=True) for _ in range(4)))
    owners: dict[UUID, set[int]] = {}
    for node, claimed in enumerate(found):
        for event in claimed:
            owners.setdefault(event.lane, set()).add(node)
    assert sorted(map(len, found)) == [0, 6, 12, 12]
    assert all(len(nodes) == 1 for nodes in owners.values())


async def test_a_part_of_a_lane_is_its_oldest_events_and_the_rest_waits(scene: Scene) -> None:
    await scene.write(*need(uuid4(), "abcde"))
    assert await scene.claim(most=2) == "ab"
    await scene.write(("w", None), resolved=tuple(scene.ids))
    assert await scene.claim() == "cde"


@pytest.mark.parametrize(("most", "lanes"), [(1, 10), (10, 1), (1, 1)], ids=["rows", "lanes", "both"])
async def test_what_needs_no_answer_is_claimed_before_a_backlog_that_does(
    scene: Scene, most: int, lanes: int
) -> None:
    """An event for an inbox that was locked for a moment doesn't wait for thousands of calls."""
    await scene.write(*need(uuid4(), "ab"), *need(uuid4(), "c"), (named("z"), draft(named("z"), None)))
    assert await scene.claim(most=most, lanes=lanes) == "z"


async def test_after_the_lease_another_node_claims_a_lane(scene: Scene) -> None:
    await scene.write(*need(uuid4(), "ab"))
    assert await scene.claim(lease=0.2) == "ab"
    assert await scene.claim() == ""
    await asyncio.sleep(0.3)
    assert await scene.claim(lease=60.0) == "ab"
    await scene.parked.release(scene.ids)
    assert await scene.claim() == "ab", "and at once what was released"


async def test_a_lease_that_is_renewed_goes_on_and_one_that_was_released_does_not(scene: Scene) -> None:
    await scene.write(*need(uuid4(), "ab"))
    assert await scene.claim(lease=0.2) == "ab"
    claimed = scene.ids
    await scene.parked.renew(claimed, 60.0)
    await asyncio.sleep(0.3)
    assert await scene.claim() == ""
    await scene.parked.release(claimed)
    await scene.parked.renew(claimed, 60.0)
    assert await scene.claim() == "ab"


async def test_a_lane_that_is_to_wait_delays_no_other(scene: Scene) -> None:
    await scene.write(*need(uuid4(), "ab"), *need(uuid4(), "c"))
    assert await scene.claim(lanes=1) == "ab"
    await scene.parked.retry(scene.ids[0], "no answer", 0.3)
    await scene.parked.release(scene.ids)
    assert await scene.claim() == "c"
    assert await scene.claim() == ""
    due = await scene.parked.next_due()
    assert due is not None
    assert 0 < due <= 0.3
    await asyncio.sleep(due + 0.05)
    [a, b] = await scene.parked.claim(10, 10, 60.0, asking=True)
    assert (a.attempts, b.attempts) == (1, 0)


async def test_while_nobody_may_be_asked_only_what_needs_no_answer_or_is_overdue_is_claimed(
    scene: Scene,
) -> None:
    late, lane = need(uuid4(), "l", retry_for=0.0), need(uuid4(), "a", key=b"k")
    follows = (named("f"), draft("f", None, key=b"k", needs_answer=False))
    await scene.write(*late)
    await scene.write(*lane, follows)
    assert await scene.claim(asking=False) == "l"
    assert await scene.claim() == "af"
    await scene.parked.release(scene.ids)
    await scene.parked.finish(scene.ids[:1], "too late")
    assert await scene.claim(asking=False) == "f"
    assert (await scene.parked.claim(1, 1, 1.0, asking=True)) == []


async def test_a_redelivered_event_is_parked_once_even_when_it_was_dead_lettered(scene: Scene) -> None:
    [a] = need(uuid4(), "a")
    assert await scene.write(a) == await scene.write(a) == {a[0]}
    assert await scene.claim() == "a"
    assert await scene.parked.find(a[0]) == ParkedStatus(None, None)
    await scene.parked.finish(scene.ids, "unknown_group")
    assert await scene.parked.find(a[0]) == ParkedStatus("unknown_group", None)
    assert await scene.parked.find("another") is None
    assert await scene.write(a) == {a[0]}
    assert await scene.claim() == ""
    replayed = a[1]._replace(attempts=1)
    assert await scene.write((a[0], replayed)) == {a[0]}
    assert await scene.claim() == "a", "a replay is a separate event"


async def test_nothing_is_due_where_nothing_is_parked(scene: Scene) -> None:
    assert await scene.parked.next_due() is None
    assert await scene.claim() == ""


async def test_a_store_that_does_not_answer_says_so(away: tuple[Store, PreferencesPort]) -> None:
    parked = away[0].parked
    for call in (
        parked.claim(1, 1, 1.0, asking=True),
        parked.retry(1, "", 1.0),
        parked.release([1]),
        parked.renew([1], 1.0),
        parked.finish([1], ""),
        parked.state(),
        parked.find("a"),
        parked.next_due(),
    ):
        with pytest.raises(Unavailable):
            await call
