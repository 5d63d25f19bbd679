"""How far a partition may be committed: never past a message that is not done."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from app.sources.kafka.offsets import OffsetTracker


def test_what_was_passed_may_be_committed() -> None:
    progress: OffsetTracker[str] = OffsetTracker()
    progress.passed("a", 9)
    assert progress.to_commit() == {"a": 10}


def test_a_parked_message_holds_its_partition_and_no_other() -> None:
    progress: OffsetTracker[str] = OffsetTracker()
    progress.park("a", 4)
    progress.passed("a", 9)
    progress.passed("b", 5)
    assert progress.to_commit() == {"a": 4, "b": 6}
    progress.done("a", 4)
    assert progress.to_commit() == {"a": 10, "b": 6}


def test_the_earliest_of_several_parked_messages_holds() -> None:
    progress: OffsetTracker[str] = OffsetTracker()
    for offset in (7, 3, 5):
        progress.park("a", offset)
    progress.passed("a", 9)
    positions = []
    for offset in (5, 3, 7):
        progress.done("a", offset)
        positions.append(progress.to_commit()["a"])
    assert positions == [3, 7, 10]


def test_a_position_is_committed_once_and_never_goes_back() -> None:
    progress: OffsetTracker[str] = OffsetTracker()
    progress.passed("a", 9)
    progress.committed(progress.to_commit())
    assert progress.to_commit() == {}
    progress.passed("a", 3)
    assert progress.to_commit() == {}
    progress.passed("a", 10)
    assert progress.to_commit() == {"a": 11}


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), max_size=8), st.randoms())
def test_the_position_never_passes_a_message_that_is_not_done_and_reaches_the_end(
    batches: list[list[bool]], random: random.Random
) -> None:
    """`batches`: for each message, whether it is parked; those finish in any order, between batches."""
    progress: OffsetTracker[int] = OffsetTracker()
    undone: list[int] = []
    end = position = 0

    def commit() -> None:
        nonlocal position
        for committed in progress.to_commit().values():
            assert committed > position or committed == position == 0
            position = committed
        progress.committed({0: position})
        assert position <= min([*undone, end])

    for batch in batches:
        offsets = range(end, end + len(batch))
        parked = [offset for offset, waits in zip(offsets, batch, strict=True) if waits]
        for offset in parked:
            progress.park(0, offset)
        undone += parked
        progress.passed(0, offsets[-1])
        end += len(batch)
        commit()
        while undone and random.random() < 0.5:
            progress.done(0, undone.pop(random.randrange(len(undone))))
            commit()
    while undone:
        progress.done(0, undone.pop(random.randrange(len(undone))))
        commit()
    assert position == end


def test_a_message_parked_by_a_batch_that_is_not_done_moves_nothing() -> None:
    progress: OffsetTracker[str] = OffsetTracker()
    progress.passed("a", 9)
    progress.park("a", 15)  # the next batch, 10 to 19, has only begun
    assert progress.to_commit() == {"a": 10}
