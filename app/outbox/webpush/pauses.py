"""Pauses of push services: none is called while it wants no calls, or doesn't answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from cachetools import LRUCache

from app.outbox.failures import Deferred
from app.runtime.backoff import Backoff

MAX_SERVICES = 1000
MAX_FAILURES_IN_A_ROW = 3
"""Of any kind but a 429, which is about the sender and counts at once."""
PAUSES = Backoff(first=10.0, cap=300.0)
PROBE_SECONDS = 30.0
"""How long others wait for the first call after a pause."""


class _State:
    def __init__(self) -> None:
        self.failures = 0
        self.pauses = 0
        self.until: float | None = None
        """The end of the pause; after it one call may try. None: all may."""


class ServicePauses:
    """One for each push service, by origin: a service that fails delays no message to another one.

    After a pause one call is made; the others follow if that succeeds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, pauses: Backoff = PAUSES) -> None:
        self._now = now
        self._pauses = pauses
        self._states: LRUCache[str, _State] = LRUCache(MAX_SERVICES)

    def check(self, service: str) -> None:
        """Raises `Deferred` while the service has a pause."""
        state = self._states.get(service)
        if state is None or state.until is None:
            return
        now = self._now()
        if now < state.until:
            raise Deferred("deferred because the push service refuses messages for now", state.until - now)
        state.until = now + PROBE_SECONDS

    def answered(self, service: str) -> None:
        """Record that the service works, whatever it said of the message."""
        self._states.pop(service, None)

    def failed(self, service: str, *, refused: bool = False, wanted: float | None = None) -> None:
        """Record a failure. `refused`: the service takes nothing from us for now (429). `wanted`: for so many
        seconds, as it said.
        """
        state = self._states.get(service)
        if state is None:
            state = self._states[service] = _State()
        state.failures += 1
        if refused or state.until is not None or state.failures >= MAX_FAILURES_IN_A_ROW:
            pause = max(self._pauses.delay(state.pauses), wanted or 0.0)
            state.pauses += 1
            state.until = max(state.until or 0.0, self._now() + pause)
