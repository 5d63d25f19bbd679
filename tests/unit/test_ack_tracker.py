"""Tags: all that is settled is acknowledged once, and nothing else ever is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.sources.rabbitmq.acks import Ack, AckTracker


def tags(count: int) -> AckTracker:
    delivered = AckTracker()
    for tag in range(1, count + 1):
        delivered.delivered(tag)
    return delivered


def settle(known: AckTracker, *settled: int) -> list[Ack]:
    for tag in settled:
        known.settled(tag)
    return known.pop()


def test_a_whole_run_is_acknowledged_in_one() -> None:
    known = tags(5)
    assert settle(known, 3, 1, 2) == [Ack(3, multiple=True)]
    assert settle(known) == []
    assert settle(known, 4, 5) == [Ack(5, multiple=True)]


def test_a_parked_message_is_not_acknowledged_by_those_behind_it() -> None:
    known = tags(5)
    assert settle(known, 1, 3, 5) == [
        Ack(1, multiple=True),
        Ack(3, multiple=False),
        Ack(5, multiple=False),
    ]
    assert settle(known, 4) == [Ack(4, multiple=False)]
    assert len(known) == 1
    assert settle(known, 2) == [Ack(2, multiple=True)]


@given(st.permutations(range(1, 21)), st.sets(st.integers(0, 20)))
def test_in_any_order_the_broker_hears_of_each_once_and_of_none_too_early(
    order: list[int], looked_at: set[int]
) -> None:
    known, settled = tags(20), set[int]()
    outstanding = set(range(1, 21))  # what the broker still has
    for step, tag in enumerate([*order, None]):
        if step in looked_at or tag is None:
            for ack in known.pop():
                covered = {each for each in outstanding if ack.multiple and each < ack.tag} | {ack.tag}
                assert covered <= settled & outstanding
                outstanding -= covered
            assert outstanding == set(range(1, 21)) - settled
        if tag is not None:
            known.settled(tag)
            settled.add(tag)
    assert not outstanding
