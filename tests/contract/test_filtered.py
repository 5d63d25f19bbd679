"""Lists and counts of some categories and severities, on Postgres and in memory."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from app.domain.details import Details, Severity
from app.domain.notifications import ArchivePlace, FilteredCount, ListWindow
from app.store import filtered
from handlers.registry import filter_of
from tests.contract.conftest import Store
from tests.support.store import entry

NOTIFICATIONS: tuple[tuple[str, Details | None], ...] = (
    ("FOOD_EXPIRED", None),
    ("PLAN_REPORTED", Details(severity="critical")),
    ("PAYMENT.FAILED", Details(category="food")),
    ("PAYMENT.FAILED", Details(url="/pay")),
    ("A_TYPE_OF_BEFORE", None),
    ("FOOD_EXPIRING_SOON", Details(category="plans", severity="info")),
    ("MESSAGE", Details(thread_key="a")),
)
"""Their `seq`s are 1, 2, 3 …"""
CASES: tuple[tuple[tuple[str, ...], tuple[Severity, ...], list[int]], ...] = (
    (("food",), (), [3, 1]),
    (("food", "plans"), (), [6, 3, 2, 1]),
    ((), ("critical",), [4, 3, 2]),
    ((), ("info",), [7, 6, 5]),
    ((), ("warning", "info"), [7, 6, 5, 1]),
    (("plans", "messages"), ("critical", "info"), [7, 6, 2]),
    (("security",), (), []),
)


@pytest.fixture(autouse=True)
def few_rows_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtered, "MAX_ROWS_SCANNED", 3)


async def written(store: Store, user: UUID) -> list[int]:
    entries = [entry(user, template_code=code, details=details) for code, details in NOTIFICATIONS]
    return [each.id for each in (await store.writer.write(entries)).notifications]


async def listed(
    store: Store,
    user: UUID,
    case: tuple[tuple[str, ...], tuple[Severity, ...]],
    *,
    limit: int = 1,
    unread: bool = False,
    place: ArchivePlace | None = None,
) -> list[int]:
    """All pages, of which each has `limit` at most."""
    found: list[int] = []
    before: int | None = None
    for _ in range(20):
        window = ListWindow(limit, before, unread, place)
        page = await store.inboxes.filtered_page(user, filter_of(*case), window, 2**20)
        assert len(page.notifications) <= limit
        found += [each.seq for each in page.notifications]
        before = page.before
        if before is None:
            return found
    raise AssertionError("the list does not end")


@pytest.mark.parametrize(("categories", "severities", "wanted"), CASES)
async def test_a_list_has_what_is_asked_for_by_the_event_type_or_as_its_publisher_said(
    store: Store, categories: tuple[str, ...], severities: tuple[Severity, ...], wanted: list[int]
) -> None:
    user = uuid4()
    ids = await written(store, user)
    case = (categories, severities)
    for limit in (1, 2, 9):
        assert await listed(store, user, case, limit=limit) == wanted
    await store.inboxes.mark_all_read(user, 6)
    await store.inboxes.mark_unread(ids[1], user)
    assert await listed(store, user, case, unread=True) == [seq for seq in wanted if seq in (7, 2)]
    for each in ids[:4]:
        await store.triage.archive(each, user)
    assert await listed(store, user, case) == [seq for seq in wanted if seq > 4]
    assert await listed(store, user, case, place="archived") == [seq for seq in wanted if seq <= 4]
    assert await listed(store, user, case, place="snoozed") == []


async def test_unread_and_unseen_ones_are_counted_as_far_as_they_are_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtered, "MAX_ROWS_SCANNED", 100)
    user = uuid4()
    ids = await written(store, user)
    wanted = filter_of(("food", "plans"), ())
    assert await store.inboxes.filtered_count(user, wanted) == FilteredCount(4, 4, exact=True)
    await store.inboxes.mark_all_seen(user, 5)
    await store.inboxes.mark_read(ids[0], user)
    assert await store.inboxes.filtered_count(user, wanted) == FilteredCount(3, 1, exact=True)
    assert await store.inboxes.filtered_count(uuid4(), wanted) == FilteredCount(0, 0, exact=True)
    await store.inboxes.mark_all_read(user, None)
    await store.inboxes.mark_unread(ids[0], user)
    assert await store.inboxes.filtered_count(user, wanted) == FilteredCount(1, 0, exact=True)
