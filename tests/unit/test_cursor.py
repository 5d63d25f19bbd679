"""The position of a connection in its inbox: whatever happens in whatever order, no gap and no duplicate."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.realtime.cursor import Fetch, InboxCursor, Step

PAGE_ROWS = 3


class World:
    """One inbox and one client of it, with all that may go wrong between them.

    What the client has is kept as the set of every `seq` it was sent: the naive model, from which each
    decision of the cursor is worked out a second time.
    """

    def __init__(self, stored: int, *, session: bool, after: int | None) -> None:
        """The client comes when the inbox goes up to `stored`. Only a session may resume, `after` a `seq`."""
        self.stored = stored
        self.session = session
        self.after = after
        self.cursor = InboxCursor(resumes=session)
        self.wire: list[int] = []
        """What was pushed and has not arrived; any of it may arrive, twice, late, or never."""
        self.known: set[int] = set()
        """What the client was sent, and what was there before its start."""
        self.heard: list[int] = []
        """All that was sent on this connection, in its order."""
        self.start: int | None = None
        self.reading: str | None = "first"
        """What the only reader is about: "first", "resume", "fetch"; None while nobody reads."""
        self.answer: tuple[Fetch | None, int, int, int] | None = None
        """What the reader asked and was answered: fetch, after, until, how far the inbox went."""
        self.comparison: int | None = None

    # What happens. `number` chooses among what there is.

    def commit(self, number: int) -> None:
        """Some notifications are stored and pushed."""
        count = number % 4 + 1
        self.wire += range(self.stored + 1, self.stored + count + 1)
        self.stored += count

    def arrive(self, number: int) -> None:
        """A push arrives, mostly the oldest."""
        if self.wire:
            self._push(self.wire.pop(number % len(self.wire) if number > 5 else 0))

    def lose(self, number: int) -> None:
        """A push is lost."""
        if self.wire:
            self.wire.pop(number % len(self.wire))

    def redeliver(self, number: int) -> None:
        """An event is handled a second time, by another node, and pushed once more."""
        if self.stored:
            self._push(self.stored - number % self.stored, redelivered=True)

    def repeat(self, number: int) -> None:
        """The same push arrives twice."""
        if self.stored:
            self._push(self.stored - number % self.stored)

    def read(self, number: int) -> None:
        """The reader gets its answer; the next time it has sent that, and says so."""
        if self.reading is None:
            return
        if self.answer is None:
            self._answer()
        else:
            self._send_answer()

    def compare(self, number: int) -> None:
        """The inbox is compared with the cursor; the result is used the next time."""
        if self.comparison is None:
            self.comparison = self.stored
            return
        inbox_seq, self.comparison = self.comparison, None
        step = self.cursor.compared(inbox_seq)
        missing = set(range(1, inbox_seq + 1)) - self.known
        if self.start is not None or self.reading is None:
            assert (step is Step.DROP) == (not missing)
        if step is Step.FETCH:
            self._begin("fetch")

    def resume(self, number: int) -> None:
        """The client asks for all after a `seq` that it has; mostly after the last."""
        if not self.session:
            return
        granted = self.cursor.request_resume()
        assert granted == (self.reading is None)
        if granted:
            self.after = max(0, max(self.known, default=0) - number // 3)
            self._begin("resume")

    # What follows

    def _push(self, seq: int, *, redelivered: bool = False) -> None:
        live = self.reading is None
        step = self.cursor.pushed(seq, redelivered)
        missing = set(range(1, seq + 1)) - self.known
        if not live:
            assert step is Step.HOLD
        elif missing == {seq}:
            assert step is Step.SEND
            self._receive(seq)
        elif missing:
            assert step is Step.FETCH
            self._begin("fetch")
        else:
            assert self.start is not None
            wanted = redelivered and not self.session and seq > max(self.heard, default=0)
            assert step is (Step.SEND if wanted else Step.DROP)
            if wanted:
                self.heard.append(seq)

    def _begin(self, what: str) -> None:
        assert self.reading is None, "two readers"
        self.reading = what

    def _answer(self) -> None:
        fetch = self.cursor.next_fetch() if self.reading == "fetch" else None
        after = fetch.after if fetch else self.after
        until = self.stored if after is None else min(self.stored, after + PAGE_ROWS)
        self.answer = fetch, self.stored if after is None else after, until, self.stored

    def _send_answer(self) -> None:
        assert self.answer is not None
        (fetch, after, until, inbox_seq), self.answer = self.answer, None
        what, self.reading = self.reading, None
        if fetch is not None:
            self._receive(*range(after + 1, until + 1))
            self.cursor.sent(until)
            self.cursor.fetched(fetch, inbox_seq)
            more = not self.cursor.live
            assert more or not self.cursor.lacks(inbox_seq), "it goes live before all is read"
        elif what == "first" and self.after is None:
            self._start_at(inbox_seq)
            more = self.cursor.started(inbox_seq)
        else:
            self._start_at(after)  # for whatever follows that it has asked, be it once more
            if self.cursor.resumed(after, inbox_seq, until):
                assert until == inbox_seq, "a page that isn't all is taken for all"
                self._receive(*range(after + 1, until + 1))
                self.cursor.sent(until)
            else:
                self.known = set(range(1, inbox_seq + 1))  # it reads the rest over REST
            more = self.cursor.go_live()
        if more:
            self._begin("fetch")

    def _start_at(self, seq: int) -> None:
        self.start = seq
        self.known = set(range(1, seq + 1))

    def _receive(self, *seqs: int) -> None:
        for seq in seqs:
            assert seq not in self.known, f"{seq} comes twice"
            assert not self.known or seq > max(self.known), f"{seq} comes after a later one"
            assert seq == len(self.known) + 1, f"something is missing before {seq}"
            self.known.add(seq)
            self.heard.append(seq)

    def check(self) -> None:
        """Holds at any time."""
        assert self.cursor.live == (self.reading is None)
        assert self.session or self.heard == sorted(set(self.heard)), "`seq` fell, or came twice"
        if self.cursor.live:
            assert self.known == set(range(1, self.cursor.last_seq + 1))

    def settle(self) -> None:
        """Nothing new happens: the client gets the rest of what is stored, in few reads."""
        for _ in range(2 * (self.stored // PAGE_ROWS + 4)):
            self.read(0)
        self.check()
        assert self.cursor.live, "the reader doesn't come to an end"
        self.comparison = None
        self.compare(0)
        self.compare(0)
        for _ in range(2 * (self.stored // PAGE_ROWS + 4)):
            self.read(0)
        self.check()
        assert self.known == set(range(1, self.stored + 1))
        assert self.cursor.compared(self.stored) is Step.DROP


HAPPENINGS = (
    "commit",
    "arrive",
    "arrive",
    "arrive",
    "lose",
    "redeliver",
    "repeat",
    "read",
    "read",
    "compare",
)
SOME = st.lists(st.tuples(st.sampled_from((*HAPPENINGS, "resume")), st.integers(0, 9)), max_size=60)


def live_through(world: World, happenings: list[tuple[str, int]]) -> None:
    for what, number in happenings:
        getattr(world, what)(number)
        world.check()
    world.settle()


@settings(max_examples=4 * settings().max_examples)
@given(st.integers(0, 8), SOME)
def test_a_plain_client_gets_all_that_follows_its_start_once_and_in_order(
    stored: int, happenings: list[tuple[str, int]]
) -> None:
    """And never sees `seq` fall, nor one twice, whatever is redelivered from before its start."""
    live_through(World(stored, session=False, after=None), happenings)


@settings(max_examples=4 * settings().max_examples)
@given(st.integers(0, 8), SOME)
def test_a_session_that_begins_now_gets_all_that_follows_once_and_in_order(
    stored: int, happenings: list[tuple[str, int]]
) -> None:
    live_through(World(stored, session=True, after=None), happenings)


@settings(max_examples=4 * settings().max_examples)
@given(st.integers(0, 8), st.integers(0, 10), SOME)
def test_a_session_that_resumes_gets_all_that_follows_once_and_in_order(
    stored: int, after: int, happenings: list[tuple[str, int]]
) -> None:
    """`after` may be beyond the inbox, which was erased meanwhile."""
    live_through(World(stored, session=True, after=after), happenings)


def test_what_postgres_does_not_have_is_not_waited_for() -> None:
    """A gap up to a notification that is lost: the rest is sent, and the connection goes live again."""
    cursor = InboxCursor(resumes=True)
    assert not cursor.started(2)
    assert cursor.pushed(9) is Step.FETCH
    fetch = cursor.next_fetch()
    assert fetch == Fetch(after=2, target=9)
    cursor.sent(4)
    cursor.fetched(fetch, 4)
    assert (cursor.live, cursor.last_seq) == (True, 4)
    assert cursor.pushed(5) is Step.SEND


def test_what_is_pushed_during_a_read_is_waited_for_even_if_that_read_did_not_see_it() -> None:
    cursor = InboxCursor(resumes=True)
    assert not cursor.started(2)
    assert cursor.pushed(4) is Step.FETCH
    fetch = cursor.next_fetch()
    assert fetch is not None
    assert cursor.pushed(5) is Step.HOLD
    cursor.sent(4)
    cursor.fetched(fetch, 4)
    assert cursor.next_fetch() == Fetch(after=4, target=5)


def test_a_resume_that_failed_leaves_the_client_where_it_was() -> None:
    cursor = InboxCursor(resumes=True)
    assert not cursor.started(2)
    assert cursor.request_resume()
    assert not cursor.request_resume()
    assert cursor.pushed(3) is Step.HOLD
    assert cursor.go_live()
    assert cursor.next_fetch() == Fetch(after=2, target=3)


def test_a_comparison_during_a_read_says_how_far_the_next_one_has_to_go() -> None:
    cursor = InboxCursor(resumes=True)
    assert not cursor.started(2)
    assert cursor.pushed(4) is Step.FETCH
    fetch = cursor.next_fetch()
    assert fetch is not None
    assert cursor.compared(6) is Step.HOLD
    cursor.sent(4)
    cursor.fetched(fetch, 4)
    assert cursor.next_fetch() == Fetch(after=4, target=6)


def test_a_page_that_was_sent_before_does_not_move_the_cursor_back() -> None:
    """As when a client resumes in an inbox that was erased, and now goes less far."""
    cursor = InboxCursor(resumes=True)
    assert not cursor.started(5)
    assert cursor.request_resume()
    assert cursor.resumed(after=0, inbox_seq=3, until=3)
    cursor.sent(3)
    assert not cursor.go_live()
    assert cursor.last_seq == 5


def test_what_is_redelivered_from_before_the_start_comes_before_anything_newer_or_not_at_all() -> None:
    cursor = InboxCursor(resumes=False)
    assert not cursor.started(5)
    pushed = [(3, True), (3, True), (5, True), (4, True), (5, False), (6, False), (5, True)]
    assert [cursor.pushed(*each).name for each in pushed] == [
        *("SEND", "DROP", "SEND", "DROP", "DROP", "SEND", "DROP")
    ]
