"""How far a partition may be committed: never past a message that is not done."""

from __future__ import annotations

from app.sources.kafka.offsets import OffsetTracker


def test_what_was_passed_may_be_committed() -> None:
    progress: OffsetTracker[str] = OffsetTracker()
    progress.passed("a", 9)
    progress.passed("b", 5)
    assert progress.to_commit() == {"a": 10, "b": 6}


def test_a_position_is_committed_once_and_never_goes_back() -> None:
    progress: OffsetTracker[str] = OffsetTracker()
    progress.passed("a", 9)
    progress.committed(progress.to_commit())
    assert progress.to_commit() == {}
    progress.passed("a", 3)
    assert progress.to_commit() == {}
    progress.passed("a", 10)
    assert progress.to_commit() == {"a": 11}
