"""The position of one connection in its user's inbox: history first, then live, no gap, no duplicate.

Without I/O: a method says what happened, its result says what the caller has to do now.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Step(Enum):
    """What the caller has to do now."""

    SEND = "send"
    """Send the notification; the cursor has moved to it."""
    DROP = "drop"
    """Nothing: the client has it, or must not get it."""
    HOLD = "hold"
    """Nothing: the read under way brings it, or the next one."""
    FETCH = "fetch"
    """Start to read what is missing, from `InboxCursor.next_fetch`. Until that is done all is held."""


# An attribute of an Enum class costs a Python call each on Python 3.11, which is felt once a frame.
SEND: Final = Step.SEND
DROP: Final = Step.DROP
HOLD: Final = Step.HOLD
FETCH: Final = Step.FETCH


class Fetch(NamedTuple):
    """One page to read from the inbox, as `InboxCursor.next_fetch` gives it and `fetched` takes it back."""

    after: int
    """The page begins behind this `seq`."""
    target: int
    """How far notifications were known to go when the read began."""


class InboxCursor:
    """Decides for each notification whether it is sent, dropped, held or fetched.

    A cursor is either live or catching up, and begins with catching up: what is pushed between the
    registration of a connection and the answer of the inbox is held. `started`, `go_live` and `fetched` end
    that. Only one reader is at work for a cursor: whoever got FETCH or True, or had `request_resume` granted.

    Guarantees, if the reader sends what it reads: a client gets each `seq` behind its start, once and in
    ascending order. A client that can't resume never sees `seq` fall, nor one twice. What is from before the
    start comes in two cases: to a client that resumes from an earlier `seq`, and by redelivery to one that
    can't resume and has got nothing yet (see `pushed`).
    """

    __slots__ = ("_catching_up", "_last_seq", "_redelivered", "_resumes", "_start", "_target")

    def __init__(self, *, resumes: bool) -> None:
        """`resumes`: the client speaks the session protocol, and asks itself for what it missed before."""
        self._resumes = resumes
        self._catching_up = True
        self._start = 0
        self._last_seq = 0
        self._target = 0
        self._redelivered = 0

    @property
    def last_seq(self) -> int:
        """All up to here was sent, or was there before the client. What follows is still to be sent."""
        return self._last_seq

    @property
    def live(self) -> bool:
        """Whether what is pushed is sent at once."""
        return not self._catching_up

    @property
    def target(self) -> int:
        """While catching up: how far notifications are known to go."""
        return self._target

    # Notifications on their way

    def pushed(self, seq: int, redelivered: bool = False) -> Step:
        """A notification was pushed: SEND, DROP, HOLD or FETCH.

        `redelivered`: its event was handled before, by a node that may have died before it notified anybody.
        A client that resumes asks for what it missed. One that can't, and came after it was stored, gets it
        now, unless this connection has got it or anything newer: its `seq` must not fall.
        """
        if self._catching_up:
            if seq > self._target:
                self._target = seq
            return HOLD
        if seq == self._last_seq + 1:
            self._last_seq = seq
            return SEND
        if seq > self._last_seq:
            return self._catch_up(seq)
        return SEND if redelivered and self._replay(seq) else DROP

    def _replay(self, seq: int) -> bool:
        """Whether a redelivered notification from before the start is still to be sent."""
        if self._resumes or self._last_seq > self._start or seq <= self._redelivered:
            return False
        self._redelivered = seq
        return True

    def compared(self, inbox_seq: int) -> Step:
        """The inbox was found to go up to `inbox_seq`: DROP (nothing is missing), HOLD or FETCH."""
        if not self.lacks(inbox_seq):
            return DROP
        if self._catching_up:
            self._target = max(self._target, inbox_seq)
            return HOLD
        return self._catch_up(inbox_seq)

    def lacks(self, inbox_seq: int) -> bool:
        """Whether something up to `inbox_seq` is still to be sent."""
        return inbox_seq > self._last_seq

    def _catch_up(self, target: int) -> Step:
        self._catching_up = True
        self._target = target
        return FETCH

    # The beginning, and resuming

    def started(self, inbox_seq: int, after: int | None = None) -> bool:
        """A new client wants what follows `after`; None: what follows `inbox_seq`, where its inbox stood when
        it was read. Goes live; see `go_live` for the result. An `after` beyond the inbox is of one that was
        erased: the client gets what the inbox has from now on.
        """
        self._start = inbox_seq if after is None else min(after, inbox_seq)
        self._target = max(self._target, inbox_seq)
        self.sent(self._start)
        return self.go_live()

    def request_resume(self) -> bool:
        """A live client asks for notifications from some `seq` on. False: refuse, as a read is under way.
        True: the caller reads the inbox, then calls `resumed`, and `go_live` however that ends.
        """
        if self._catching_up:
            return False
        self._catch_up(self._last_seq)
        return True

    def resumed(self, after: int, inbox_seq: int, until: int) -> bool:
        """The inbox, read from `after` on, goes up to `inbox_seq`; the page that was read up to `until`.

        True: the page holds all the client misses, the caller sends it and says so by `sent`. False: it is
        too much, or the client knows an inbox that was erased; the cursor has skipped all of it, the client
        has to read it over REST.
        """
        if after <= inbox_seq <= until:
            return True
        self.sent(inbox_seq)
        return False

    def go_live(self) -> bool:
        """The first read, or a resume, is over. False: live. True: something was held meanwhile, the caller
        starts to fetch it.
        """
        self._catching_up = self._target > self._last_seq
        return self._catching_up

    # Reading what is missing

    def next_fetch(self) -> Fetch | None:
        """The page to read next while catching up; None when live."""
        return Fetch(self._last_seq, self._target) if self._catching_up else None

    def sent(self, until: int) -> None:
        """All up to and with `until` was sent to the client, or isn't to be sent."""
        self._last_seq = max(self._last_seq, until)

    def fetched(self, fetch: Fetch, inbox_seq: int) -> None:
        """A page was read and sent; the inbox went up to `inbox_seq` then. Goes live if that was all."""
        if self._target == fetch.target > inbox_seq:
            self._target = inbox_seq  # nothing beyond was ever committed, or Postgres lost it
        self._catching_up = max(inbox_seq, self._target) > self._last_seq
