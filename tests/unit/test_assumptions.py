"""How often batches are planned by assumption."""

from __future__ import annotations

from app.ingest.assumptions import MAX_SKIPPED_BATCHES, Assumptions


def skipped(assumptions: Assumptions) -> int:
    """How many batches are planned by what is read, before the next one that isn't."""
    count = 0
    while not assumptions.worthwhile():
        count += 1
    return count


def test_the_more_assumptions_in_a_row_are_outdated_the_fewer_are_made() -> None:
    assumptions = Assumptions()
    assert skipped(assumptions) == 0
    found = []
    for _ in range(8):
        assumptions.outdated()
        found.append(skipped(assumptions))
    assert found == [1, 3, 7, 15, 31, MAX_SKIPPED_BATCHES, MAX_SKIPPED_BATCHES, MAX_SKIPPED_BATCHES]
    assumptions.held()
    assumptions.outdated()
    assert skipped(assumptions) == 1
