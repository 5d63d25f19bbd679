"""The pipeline's promises, on fakes that keep what they were given."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace

from app.dev import samples
from app.domain.deliveries import DeliveryDraft
from app.domain.effects import TokenBound
from app.domain.errors import InvalidEvent, StoreFailed, StoreRejected, Unavailable
from app.domain.identity import UNKNOWN, EventIdentity
from app.domain.notifications import Group, Notification
from app.domain.planning import Assumed, Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.repeats import PUSH_AGAIN_WITHIN_SECONDS
from app.realtime.logout import EVERY_TOKEN
from app.realtime.protocol import CloseCode
from app.runtime.backoff import Backoff
from app.store.records import EventRecord, WriteResult
from app.testing import MemoryBus, MemoryPeople
from handlers.registry import HANDLERS

USER = uuid4()
GROUP = uuid4()
QUICK = Backoff(1e-6, 1e-6)


class Groups:
    """Answers one group, after raising what `errors` holds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def remembered(self, group_id: UUID) -> Group | None:
        return None

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        if self.errors:
            raise self.errors.pop(0)
        return Group("Nhà mình", (USER,), ())

    def pause(self) -> float | None:
        return None


class Bus(MemoryBus):
    """Keeps how old each logout was; `broken` has a bug."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[tuple[UUID, float]] = []
        self.broken = False

    def publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        if self.broken:
            raise RuntimeError("a bug in the push")
        super().publish(notifications, redelivered=redelivered)

    def disconnect(self, user_id: UUID, seconds_ago: float = 0.0, bound: TokenBound = EVERY_TOKEN) -> None:
        super().disconnect(user_id, seconds_ago, bound)
        self.gone.append((user_id, seconds_ago))

    @property
    def seqs(self) -> list[int]:
        """Of what was pushed, in its order."""
        return [each.seq for each in self.published]


class Writer:
    """Keeps what is written; refuses ids in `poison`, raises `errors` first, knows ids in `known` already."""

    def __init__(self, *errors: Exception, poison: str = "", known: Iterable[str] = ()) -> None:
        self.errors = list(errors)
        self.poison = set(poison)
        self.known = set(known)
        self.batches: list[list[str]] = []
        self.deliveries: list[DeliveryDraft] = []
        self.later: list[str] = []
        self.seq = 100

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        ids = [entry.event_id for entry in entries]
        if self.poison & set(ids):
            raise StoreRejected("not this one")
        if self.errors:
            self.known |= set(ids)
            raise self.errors.pop(0)
        self.batches.append(ids)
        self.later += [entry.event_id for entry in entries if entry.later]
        self.deliveries += [each.draft for entry in entries for each in entry.deliveries]
        new = set(ids) - self.known
        made = [self._next(entry) for entry in entries if entry.drafts and entry.event_id in new]
        return WriteResult(new, made, repeated=dict.fromkeys(self.known & set(ids), UNKNOWN))

    def _next(self, entry: EventRecord) -> Notification:
        self.seq += 1
        return notification(self.seq)


class Store:
    """All events were processed a minute ago; "old" longer ago than anything is pushed again."""

    async def find(self, events: Mapping[str, Sequence[UUID]]) -> list[Notification]:
        return [notification(seq) for seq, _ in enumerate(events, 1)]

    async def processed(self, event_ids: Collection[str]) -> list[tuple[str, float]]:
        return [(each, 2 * PUSH_AGAIN_WITHIN_SECONDS if each == "old" else 60.0) for each in event_ids]

    async def identities(self, event_ids: Collection[str]) -> Mapping[str, EventIdentity]:
        return {}


def notification(seq: int) -> Notification:
    raw = msgspec.Raw(b"{}")
    made = datetime.now(UTC)
    return Notification(seq, None, None, USER, made, "X", raw, False, "", "", seq)


def message(event_id: str, **changes: Any) -> SourceMessage:
    body = {
        "event_id": event_id,
        "event_type": "group_user_left",
        "group_id": str(GROUP),
        "receivers": [str(USER)],
        "data": {"group_name": "Nhà mình", "user_id": str(USER)},
        **changes,
    }
    return SourceMessage("kafka", event_id, json.dumps(body).encode(), None, position=event_id)


def logout(event_id: str) -> SourceMessage:
    return message(event_id, event_type="account_logged_out", user_id=str(USER))


def make(
    writer: Writer, bus: Bus, groups: Groups | None = None, now: Callable[[], float] = time.time
) -> Pipeline:
    planner = Planner(MemoryPeople(), Evaluator(()), "en")
    ports = PipelinePorts(groups or Groups(), planner, writer, Store(), bus)
    return Pipeline(HANDLERS, ports, "en", msgspec.json.encode, now, QUICK)


async def test_events_are_written_in_their_order() -> None:
    writer = Writer()
    pipeline = make(writer, Bus())
    await pipeline.write(pipeline.prepare([message(event_id) for event_id in "abcd"]).ready)
    assert writer.batches == [["a", "b", "c", "d"]]


async def test_an_event_that_comes_twice_in_a_batch_is_written_once() -> None:
    writer, bus = Writer(), Bus()
    pipeline = make(writer, bus)
    await pipeline.write(pipeline.prepare([message("a"), message("b"), message("a")]).ready)
    assert writer.batches == [["a", "b"]]
    assert len(bus.seqs) == 2


@pytest.mark.parametrize(("year", "refused"), [(2999, ["too_large"]), (2001, [])])
async def test_what_is_for_later_and_would_be_too_large_then_is_refused_now(
    year: int, refused: list[str]
) -> None:
    numbers = b",".join([b"1e9"] * 215_000)  # re-encoded: 1E+9
    told = b'"user_id": "%s", "message": "m", "send_at": "%d-01-01T00:00:00Z"' % (str(USER).encode(), year)
    body = b'{"type": "inapp", %s, "x": [%s]}' % (told, numbers)
    batch = make(Writer(), Bus()).prepare([SourceMessage("http", "a", body, None)])
    assert [item.error.reason for item in batch.rejected] == refused


async def test_what_a_dead_node_may_not_have_pushed_is_pushed_before_what_is_new() -> None:
    bus = Bus()
    pipeline = make(Writer(known="a"), bus)
    await pipeline.write(pipeline.prepare([message("a"), message("b")]).ready)
    assert bus.seqs == [1, 101]


async def test_what_was_processed_long_ago_is_not_pushed_again() -> None:
    bus, ids = Bus(), ("a", "old", "b")
    pipeline = make(Writer(known=ids), bus)
    await pipeline.write(pipeline.prepare([message(event_id) for event_id in ids]).ready)
    assert bus.seqs == [1, 2]


async def test_one_event_that_postgres_refuses_takes_no_other_with_it() -> None:
    writer = Writer(poison="c")
    pipeline = make(writer, Bus())
    rejected = await pipeline.write(pipeline.prepare([message(event_id) for event_id in "abcdefg"]).ready)
    assert [item.message.dedup_key for item in rejected] == ["c"]
    assert [item.error.reason for item in rejected] == ["store_rejected"]
    assert [event_id for batch in writer.batches for event_id in batch] == list("abdefg")


async def test_while_postgres_is_away_it_tries_again() -> None:
    writer, bus = Writer(Unavailable("postgres", "gone"), Unavailable("postgres", "gone")), Bus()
    pipeline = make(writer, bus)
    assert await pipeline.write(pipeline.prepare([message("a")]).ready) == []
    assert writer.batches == [["a"]]
    assert bus.seqs


async def test_without_a_migration_events_wait_and_the_log_has_the_trace_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = [StoreFailed("postgres", "no such table. Run: alembic upgrade head") for _ in range(3)]
    writer, bus = Writer(*failed), Bus()
    pipeline = make(writer, bus)
    assert await pipeline.write(pipeline.prepare([message("a"), message("b")]).ready) == []
    assert writer.batches == [["a", "b"]]
    lines = [each for each in caplog.records if each.msg == "store_failed"]
    assert [bool(line.exc_info) for line in lines] == [True, False, False]
    assert all("alembic upgrade head" in line.__dict__["why"] for line in lines)
    assert pipeline.failure is None


async def test_a_logout_that_comes_again_ends_only_what_was_open_when_it_first_came() -> None:
    for writer, ago in (
        (Writer(), 0.0),
        (Writer(known="a"), 60.0),
        (Writer(Unavailable("postgres", "x")), 60.0),
    ):
        bus = Bus()
        pipeline = make(writer, bus)
        await pipeline.write(pipeline.prepare([logout("a")]).ready)
        assert bus.gone == [(USER, ago)]


async def test_what_has_no_address_is_in_the_inbox_but_not_delivered() -> None:
    writer, bus = Writer(), Bus()
    pipeline = make(writer, bus)
    stock = {"product_name": "Tea", "current_stock": 1, "threshold": 2}
    messages = [
        message("a", event_type="low_stock", **stock),
        message("b", **samples.load("booking.confirmed").message),
    ]
    await pipeline.write(pipeline.prepare(messages).ready)
    assert bus.seqs == [101]
    assert [draft.address for draft in writer.deliveries] == ["user@example.com"]


async def test_a_push_that_fails_does_not_stop_the_source() -> None:
    bus = Bus()
    bus.broken = True
    pipeline = make(Writer(), bus)
    assert await pipeline.write(pipeline.prepare([message("a")]).ready) == []


async def test_no_transaction_has_many_more_rows_than_allowed() -> None:
    writer = Writer()
    pipeline = make(writer, Bus())
    crowd = [str(uuid4()) for _ in range(20)]
    await pipeline.write(pipeline.prepare([message(i, receivers=crowd) for i in "abcde"]).ready, max_rows=40)
    assert writer.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_an_event_without_receivers_waits_and_the_others_dont() -> None:
    pipeline = make(Writer(), Bus())
    whole_group = message(
        "a", event_type="food_expired", receivers=None, data={"unit_name": "x", "storage_name": "y"}
    )
    batch = pipeline.prepare([whole_group, message("b")])
    assert [item.message.dedup_key for item in batch.parked] == ["a"]
    assert [item.message.dedup_key for item in batch.ready] == ["b"]


async def test_what_waits_is_handled_when_the_user_service_answers_again() -> None:
    pipeline = make(Writer(), Bus(), Groups(Unavailable("user service", "away")))
    parked = pipeline.prepare([message("a", data={})]).parked
    with pytest.raises(Unavailable):
        await pipeline.resolve(parked)
    batch = await pipeline.resolve(parked)
    draft = batch.ready[0].effects.notification
    assert draft is not None
    assert draft.group_name == "Nhà mình"


async def test_a_group_that_does_not_exist_is_no_reason_to_wait() -> None:
    pipeline = make(Writer(), Bus(), Groups(InvalidEvent("unknown_group", "no such group")))
    batch = await pipeline.resolve(pipeline.prepare([message("a", data={})]).parked)
    assert [item.error.reason for item in batch.rejected] == ["unknown_group"]


async def test_a_handler_that_fails_rejects_its_event_alone_and_the_log_names_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a bug in the handler")

    monkeypatch.setattr(HANDLERS["plan_expired"], "handle", fail)
    pipeline = make(Writer(), Bus())
    plan = message("a", event_type="plan_expired", data={"group_name": "g", "plan_id": 1, "deadline": "x"})
    batch = pipeline.prepare([plan, message("b")])
    assert [item.error.reason for item in batch.rejected] == ["handler_failed"]
    assert len(batch.ready) == 1
    fields = vars(caplog.records[0])
    assert (fields["event_id"], fields["dedup_key"]) == ("a", plan.dedup_key)


@pytest.mark.parametrize(("ahead", "later"), [(0, ["a"]), (300, []), (-300, ["a"])])
async def test_whether_an_event_is_for_later_is_judged_by_the_given_clock(
    ahead: float, later: list[str]
) -> None:
    writer = Writer()
    pipeline = make(writer, Bus(), now=lambda: time.time() + ahead)
    due = datetime.now(UTC) + timedelta(seconds=60)
    body = {
        "event_id": "a",
        "type": "inapp",
        "user_id": str(USER),
        "message": "x",
        "send_at": due.isoformat(),
    }
    batch = pipeline.prepare([SourceMessage("http", "a", json.dumps(body).encode(), None)])
    assert await pipeline.write(batch.ready) == []
    assert writer.later == later


ISSUED = 1_795_000_000


async def test_a_late_logout_ends_the_sessions_it_is_about_and_no_newer_one() -> None:
    bus = Bus()
    pipeline = make(Writer(), bus, now=lambda: ISSUED + 300)
    old, new = bus.connect(USER, issued_at=ISSUED), bus.connect(USER, issued_at=ISSUED + 60)
    late = replace(
        logout("late"),
        value=json.dumps(
            {"event_type": "account_logged_out", "user_id": str(USER), "timestamp": ISSUED + 30.5}
        ).encode(),
    )
    for _ in range(2):  # a redelivered one ends no more
        await pipeline.write(pipeline.prepare([late]).ready)
        assert (old.close_code, new.close_code) == (CloseCode.LOGGED_OUT, None)
    await pipeline.write(pipeline.prepare([logout("now")]).ready)
    assert new.close_code is CloseCode.LOGGED_OUT


async def test_a_logout_from_the_future_ends_no_token_issued_after_it_was_handled() -> None:
    bus = Bus()
    pipeline = make(Writer(), bus, now=lambda: ISSUED)
    new = bus.connect(USER, issued_at=ISSUED + 60)
    body = {"event_type": "account_logged_out", "user_id": str(USER), "timestamp": ISSUED + 3600}
    ahead = replace(logout("ahead"), value=json.dumps(body).encode())
    await pipeline.write(pipeline.prepare([ahead]).ready)
    assert new.close_code is None
