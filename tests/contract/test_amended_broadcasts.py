"""What its publisher changes of a broadcast while it runs, on Postgres and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import product
from random import Random
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.amendments import Amendment, Texts, Update, noted, updated
from app.domain.audiences import BroadcastState
from app.domain.details import Action, Details
from app.domain.errors import InboxesLocked
from app.domain.identity import EventIdentity
from app.domain.notifications import Notification
from app.store.preferences import Profile
from app.store.records import EventRecord
from tests.contract.test_broadcasts import PAGE, Crash, Scene, crash, scene

__all__ = ["scene"]  # a fixture

NEWER = Update(
    texts={"": Texts("newer", "text"), "vi": Texts("mới", None)}, details=Details(severity="success")
)


async def amend(scene: Scene, update: Update | None, *receivers: UUID, **more: Any) -> int:
    """How many notifications that changes at once."""
    target: dict[str, Any] = {"original": scene.event_id} | more
    change = Amendment(receivers=receivers, update=update, **target)
    event = EventRecord(str(uuid4()), identity=EventIdentity(1, None), amendment=change)
    return len((await scene.store.writer.write([event])).amended)


async def first_page(scene: Scene) -> None:
    """Write it, on a node that then dies."""
    scene.writer.after = crash
    with pytest.raises(Crash):
        await scene.worker().work_due()
    scene.writer.after = None


async def rest(scene: Scene) -> None:
    await scene.leases_end()
    await scene.worker().work_due()


async def inboxes(scene: Scene, users: Sequence[UUID]) -> list[Notification]:
    """Everybody's only notification, none of them twice."""
    pages = [await scene.store.inboxes.page(user, 10) for user in users]
    assert [[each.seq for each in page] for page in pages] == [[1]] * len(users)
    return [page[0] for page in pages]


def shown(notifications: Sequence[Notification]) -> list[tuple[str, str]]:
    return [(each.title, each.content) for each in notifications]


USERS = [UUID(int=1), UUID(int=2)]
BEFORE = Notification(
    *(
        1,
        None,
        None,
        UUID(int=1),
        datetime(2030, 1, 1, tzinfo=UTC),
        "MESSAGE",
        msgspec.Raw(b'{"a": 1}'),
        False,
    ),
    *("T", "M", 1, Details(severity="info", actions=(Action("a", "A"),))),
)


async def test_an_update_is_in_pages_before_and_after_it(scene: Scene) -> None:
    users = await scene.follow(3 * PAGE)
    for user in users[::2]:
        await scene.people.set_profile(user, Profile(locale="vi"))
    await scene.accept()
    await first_page(scene)
    before = await inboxes(scene, users[:PAGE])
    assert await amend(scene, NEWER) == PAGE
    await rest(scene)
    after = await inboxes(scene, users)
    assert [each.id for each in after[:PAGE]] == [each.id for each in before], "in their place"
    assert shown(after[::2]) == [("mới", "M")] * len(after[::2])
    assert shown(after[1::2]) == [("newer", "text")] * len(after[1::2])
    assert {each.details for each in after} == {Details(severity="success")}
    assert await scene.state() is BroadcastState.DONE


async def test_a_page_that_was_planned_before_the_update_is_planned_again(scene: Scene) -> None:
    users = await scene.follow(3 * PAGE)
    await scene.accept()

    async def update(_: Sequence[EventRecord]) -> None:
        scene.writer.before = None
        assert await amend(scene, NEWER) == 0

    scene.writer.before = update
    await scene.worker().work_due()
    assert shown(await inboxes(scene, users)) == [("newer", "text")] * len(users)
    assert await scene.state() is BroadcastState.DONE


async def test_later_updates_are_over_earlier_ones(scene: Scene) -> None:
    users = await scene.follow(2 * PAGE)
    await scene.accept()
    await first_page(scene)
    for title, content in (("one", None), ("two", "second"), ("three", None)):
        await amend(scene, Update(texts={"": Texts(title, content)}))
    await rest(scene)
    assert shown(await inboxes(scene, users)) == [("three", "second")] * len(users)


async def test_an_update_for_some_changes_theirs_only(scene: Scene) -> None:
    users = await scene.follow(3 * PAGE)
    await scene.accept()
    await first_page(scene)
    theirs = [users[0], users[PAGE], users[-1]]
    assert await amend(scene, NEWER, *theirs) == 1
    assert await amend(scene, Update(texts={"": Texts("all", None)})) == PAGE
    assert await amend(scene, Update(texts={"": Texts(None, "one")}), users[-1]) == 0
    await rest(scene)
    found = dict(zip(users, shown(await inboxes(scene, users)), strict=True))
    expected = dict.fromkeys(users, ("all", "M")) | dict.fromkeys(theirs, ("all", "text"))
    assert found == expected | {users[-1]: ("all", "one")}
    done = await scene.store.broadcasts.get(scene.event_id)
    assert done is not None
    assert (done.state, done.passed, done.notified) == (BroadcastState.DONE, len(users), len(users))


async def test_who_is_named_in_an_update_does_not_wait_for_another_with_a_locked_inbox(scene: Scene) -> None:
    users = await scene.follow(2 * PAGE)
    await scene.accept()
    await first_page(scene)
    locked, other = {users[-2]}, users[-1]
    await amend(scene, NEWER, users[-2])
    await amend(scene, NEWER, other)

    async def lock(entries: Sequence[EventRecord]) -> None:
        receivers = {user for entry in entries for draft in entry.drafts for user in draft.receivers}
        if found := receivers & locked:
            raise InboxesLocked(found)

    scene.writer.before = lock
    await rest(scene)
    assert await scene.told(users) == dict.fromkeys({*users} - locked, 1)
    locked.clear()
    await rest(scene)
    found = shown(await inboxes(scene, users))
    assert found == [("T", "M")] * (len(users) - 2) + [("newer", "text")] * 2


async def test_a_retraction_for_some_is_for_later_pages_too(scene: Scene) -> None:
    users = await scene.follow(2 * PAGE)
    await scene.accept()
    await first_page(scene)
    gone = [users[0], users[-1]]
    assert await amend(scene, None, *gone) == 1
    await rest(scene)
    assert await scene.told(users) == dict.fromkeys(users[1:-1], 1)
    done = await scene.store.broadcasts.get(scene.event_id)
    assert done is not None
    assert (done.state, done.passed) == (BroadcastState.DONE, len(users))


async def test_a_thread_is_updated_for_who_is_not_reached_yet(scene: Scene) -> None:
    users = await scene.follow(2 * PAGE)
    thread = f"thread-{uuid4()}"
    await scene.accept(thread_key=thread)
    await first_page(scene)
    target = {"original": None, "thread_key": thread}
    assert await amend(scene, NEWER, users[0], users[-1], **target) == 1
    assert await amend(scene, None, users[-2], **target) == 0
    assert await amend(scene, NEWER, users[-3], original=None, thread_key="another") == 0
    await rest(scene)
    found = await inboxes(scene, [*users[:-2], users[-1]])
    assert [each.title for each in found] == ["newer", *["T"] * (len(users) - 3), "newer"]
    assert await scene.told(users[-2:-1]) == {}


async def test_a_paused_broadcast_is_updated_and_a_done_one_keeps_no_updates(scene: Scene) -> None:
    users = await scene.follow(2 * PAGE)
    await scene.accept()
    await first_page(scene)
    await scene.store.broadcasts.pause(scene.event_id)
    await amend(scene, NEWER)
    await scene.store.broadcasts.resume(scene.event_id)
    claimed = await scene.store.broadcasts.claim(0.0)
    assert claimed is not None
    assert [each.update for each in claimed.amendments] == [NEWER]
    await rest(scene)
    assert shown(await inboxes(scene, users)) == [("newer", "text")] * len(users)
    assert await amend(scene, Update(texts={"": Texts("last", None)})) == len(users)
    assert await scene.state() is BroadcastState.DONE


some_texts = st.builds(Texts, st.none() | st.sampled_from("ab"), st.none() | st.sampled_from("cd"))
some_details = st.builds(
    Details,
    severity=st.sampled_from([None, "info", "critical"]),
    category=st.sampled_from([None, "food"]),
    actions=st.sampled_from([(), (Action("go", "Go"),)]),
)
updates = st.builds(
    Update,
    texts=st.dictionaries(st.sampled_from(["", "vi", "en"]), some_texts, max_size=3),
    template_code=st.sampled_from([None, "MESSAGE", "FOOD_EXPIRED"]),
    raw_data=st.sampled_from([None, '{"a": 1}']),
    group_name=st.sampled_from([None, "Us"]),
    details=st.none() | some_details,
    without_actions=st.booleans(),
)
amendments = st.builds(
    Amendment,
    st.just("event"),
    receivers=st.sampled_from([(), *([each] for each in USERS), USERS]),
    update=updates,
)


def _of_type(code: str) -> Amendment:
    return Amendment("event", update=Update(template_code=code))


@example(changes=[_of_type("FOOD_EXPIRED"), _of_type("MESSAGE")])  # leaves the category of before
@given(changes=st.lists(amendments, max_size=4))
def test_what_is_noted_of_updates_does_as_much_as_all_of_them(changes: Sequence[Amendment]) -> None:
    kept: Sequence[Amendment] = ()
    for each in changes:
        kept = noted(kept, each)
    for user, locale in product(USERS, ("", "vi", "en")):
        results = []
        for these in (changes, kept):
            one = BEFORE
            for each in these:
                if each.update is not None and (not each.receivers or user in each.receivers):
                    one = updated(each.update, one, locale, "messages")
            results.append(one)
        assert results[0] == results[1]


def test_an_update_that_says_all_that_an_earlier_one_said_replaces_it() -> None:
    first, second = (
        Amendment("event", update=Update(texts={"": Texts(text, text)}, template_code="MESSAGE"))
        for text in "ab"
    )
    assert noted([first], second) == [second]
    title_only = Amendment("event", update=Update(texts={"": Texts("c", None)}, template_code="MESSAGE"))
    assert noted([second], title_only) == [second, title_only]
    assert noted([second, title_only], second) == [second], "it came again, and changed all once more"


@pytest.mark.parametrize("seed", range(6))
async def test_whenever_nodes_die_and_updates_come_all_have_the_last_one(scene: Scene, seed: int) -> None:
    chance, said = Random(seed), ["T"]
    users = await scene.follow(5 * PAGE)
    await scene.accept()

    async def something(_: Sequence[EventRecord]) -> None:
        match chance.choice(("nothing", "crash", "update", "update for all but one", "update, crash")):
            case "crash":
                raise Crash
            case "update":
                said.append(f"update {len(said)}")
                await amend(scene, Update(texts={"": Texts(said[-1], None)}))
            case "update for all but one":
                await amend(scene, Update(texts={"": Texts(None, "theirs")}), *users[1:])
            case "update, crash":
                said.append(f"update {len(said)}")
                await amend(scene, Update(texts={"": Texts(said[-1], None)}))
                raise Crash

    scene.writer.before = scene.writer.after = something
    for _ in range(40):
        with suppress(Crash):
            await rest(scene)
    scene.writer.before = scene.writer.after = None
    await amend(scene, Update(texts={"": Texts(None, "theirs")}), *users[1:])
    await rest(scene)
    assert await scene.state() is BroadcastState.DONE
    found = shown(await inboxes(scene, users))
    assert found == [(said[-1], "M"), *[(said[-1], "theirs")] * (len(users) - 1)]
