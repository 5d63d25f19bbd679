"""`run.py dlq`, without brokers: which dead letters are chosen, how fast, and what is printed of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.cli import dead_letters as command
from app.cli.dead_letters import DeadLetterFilter, RateLimiter, printable
from app.cli.main import main
from app.sources.dlq import DeadLetter

DEAD_LETTER = DeadLetter(
    id="redis:s.dlq:1-0",
    source="redis",
    target="s",
    why={
        "dlq.reason": "bad_field",
        "dlq.time": "2026-11-21T08:00:00Z",
        "dlq.channel": "c",
        "dlq.position": "redis:abc",
        "dlq.attempts": "1",
    },
    headers=(),
    key=None,
    body=b"{}",
    handle=b"1-0",
)
AT_EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (DeadLetterFilter(), True),
        (DeadLetterFilter(ids=("redis:s.dlq:1-0", "redis:s.dlq:2-0")), True),
        (DeadLetterFilter(ids=("redis:s.dlq:2-0",)), False),
        (DeadLetterFilter(reason="bad_field"), True),
        (DeadLetterFilter(reason="not_json"), False),
        (DeadLetterFilter(ids=("redis:s.dlq:1-0",), reason="not_json"), False),
        (DeadLetterFilter(since=AT_EIGHT), True),
        (DeadLetterFilter(since=AT_EIGHT + timedelta(seconds=1)), False),
    ],
    ids=str,
)
def test_a_dead_letter_is_selected_that_no_filter_excludes(choice: DeadLetterFilter, taken: bool) -> None:
    assert choice.selects(DEAD_LETTER) == taken


@pytest.mark.parametrize("time", ["", "yesterday", "2026-11-21T08:00:00"])
def test_a_dead_letter_without_a_time_is_in_no_time_range(time: str) -> None:
    assert not DeadLetterFilter(since=AT_EIGHT).selects(replace(DEAD_LETTER, why={"dlq.time": time}))


def test_a_dead_letter_names_its_origin_and_is_replayed_to_a_durable_place() -> None:
    assert (DEAD_LETTER.place, DEAD_LETTER.target) == ("c", "s")
    assert replace(DEAD_LETTER, why={}).place == "s"


@pytest.mark.parametrize("header", ["dlq.redacted", "dlq.cut_from", "dlq.null_value"])
def test_a_truncated_dead_letter_cannot_be_replayed(header: str) -> None:
    assert DEAD_LETTER.hindrance is None
    assert replace(DEAD_LETTER, why={**DEAD_LETTER.why, header: "true"}).hindrance


def test_what_the_hub_did_not_write_can_not_be_replayed() -> None:
    assert replace(DEAD_LETTER, why={}).hindrance


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("rate", "in_ten_seconds"), [(2.0, 20), (0.5, 5), (25.0, 250)])
async def test_no_more_go_in_a_time_than_the_rate_says(rate: float, in_ten_seconds: int) -> None:
    time = Time()
    pace, gone = RateLimiter(rate, time, time.sleep), 0
    while True:
        await pace.wait()
        if time.now >= 109.999:
            break
        gone += 1
    assert gone == in_ten_seconds


async def test_time_that_a_slow_broker_took_is_not_made_up_for() -> None:
    time = Time()
    pace = RateLimiter(1.0, time, time.sleep)
    await pace.wait()
    time.now += 60
    for _ in range(3):
        await pace.wait()
    assert time.now == 162.0


@pytest.mark.parametrize(("dry_run", "expected"), [(False, ["wait", "replay"] * 3), (True, [])])
async def test_each_that_is_replayed_waits_for_its_turn(
    monkeypatch: pytest.MonkeyPatch, dry_run: bool, expected: list[str]
) -> None:
    done: list[str] = []

    class Shelf:
        async def replay(self, _: DeadLetter) -> None:
            done.append("replay")

    class Traversal:
        seen, failed = 3, False

        def __init__(self, _: DeadLetterFilter) -> None:
            pass

        async def each(self, act: Callable[[Shelf, DeadLetter], Awaitable[None]]) -> None:
            for _ in range(self.seen):
                await act(Shelf(), DEAD_LETTER)

    async def wait(_: RateLimiter) -> None:
        done.append("wait")

    monkeypatch.setattr(command, "_Traversal", Traversal)
    monkeypatch.setattr(RateLimiter, "wait", wait)
    assert await command.replay(DeadLetterFilter(), dry_run, 1.0) == 0
    assert done == expected


async def test_without_a_rate_nobody_waits() -> None:
    time = Time()
    pace = RateLimiter(None, time, time.sleep)
    for _ in range(1000):
        await pace.wait()
    assert time.now == 100.0


@pytest.fixture
def dlq(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, DeadLetterFilter | None]]:
    """Call `run.py dlq`: its exit status, and the filter that it passes to what does the work."""
    passed: list[DeadLetterFilter] = []

    async def work(chosen: DeadLetterFilter, *_: object) -> int:
        passed.append(chosen)
        return 0

    for name in ("show_list", "show", "replay", "drop"):
        monkeypatch.setattr(command, name, work)

    def call(*arguments: str) -> tuple[int, DeadLetterFilter | None]:
        monkeypatch.setattr(sys, "argv", ["run.py", "dlq", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, passed[0] if passed else None

    return call


Dlq = Callable[..., tuple[int, DeadLetterFilter | None]]


@pytest.mark.parametrize(
    ("text", "ago"), [("30s", timedelta(seconds=30)), ("2h", timedelta(hours=2)), ("7d", timedelta(days=7))]
)
def test_since_is_an_age(dlq: Dlq, text: str, ago: timedelta) -> None:
    _, chosen = dlq("list", "--since", text)
    assert chosen
    assert chosen.since
    assert abs(datetime.now(UTC) - ago - chosen.since) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["2026-11-21T08:00:00Z", "2026-11-21T08:00:00", "2026-11-21T09:00:00+01:00"])
def test_or_a_timestamp_in_utc_unless_it_has_an_offset(dlq: Dlq, text: str) -> None:
    assert dlq("drop", "--all", "--since", text) == (0, DeadLetterFilter(frozenset(), since=AT_EIGHT))


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["list"], DeadLetterFilter(limit=100)),
        (["list", "--all", "--json", "--limit", "7"], DeadLetterFilter(limit=7)),
        (["list", "--source", "redis", "--reason", "x"], DeadLetterFilter((), "redis", "x", None, 100)),
        (["show", "--raw", "an-id"], DeadLetterFilter(("an-id",))),
        (["replay", "one", "--rate", "0.5", "two"], DeadLetterFilter(frozenset({"one", "two"}))),
        (["replay", "--all", "--dry-run", "--limit", "3"], DeadLetterFilter(frozenset(), limit=3)),
        (["drop", "--dry-run", "one"], DeadLetterFilter(frozenset({"one"}))),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",  # a set's text varies
)
def test_the_arguments_choose(dlq: Dlq, arguments: list[str], chosen: DeadLetterFilter) -> None:
    assert dlq(*arguments) == (0, chosen)


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["drop"],
        ["replay", "--all", "an-id"],
        ["replay", "--all", "--rate", "0"],
        ["replay", "--all", "--rate", "nan"],
        ["list", "--limit", "0"],
        ["list", "--since", "yesterday"],
        ["list", "--source", "http"],
        ["show"],
        [],
        ["fetch"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(
    dlq: Dlq, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dlq(*arguments) == (2, None)
    printed, complaint = capsys.readouterr()
    assert not printed
    assert complaint.startswith("Usage: run.py dlq")
    assert "Error: " in complaint


def test_nothing_printed_moves_the_cursor_or_forges_a_line() -> None:
    assert printable("Sữa\x1b[2J\n\x00\u202e") == "Sữa\\x1b[2J\\n\\x00\\u202e"
