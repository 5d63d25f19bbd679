"""HTTP connections that can't be held open by sending slowly."""

from __future__ import annotations

from sanic.http.constants import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

LAST_WORD = 1.0  # seconds that an answer to a request which came too slowly may take to leave


class DeadlineProtocol(HttpProtocol):
    """Sanic's, but that a request's time runs from its first byte, whatever follows.

    The head is there within REQUEST_TIMEOUT, body and answer within RESPONSE_TIMEOUT, or the connection ends.
    Sanic begins anew with each byte, so that one byte every few seconds holds a connection for days
    (slowloris); it has no limit at all for whoever writes `Upgrade: websocket` over a body; and after
    answering that time is up it waits for the rest of the body, for ever.
    """

    def data_received(self, data: bytes) -> None:
        begun = self._time
        between = self.http is None or (self.http.stage is Stage.IDLE and not self._unread)
        super().data_received(data)
        if not between:
            self._time = begun

    def check_timeouts(self) -> None:
        """Upgrades too: one that was let in has left this protocol."""
        http, again = self.http, self._callback_check_timeouts
        upgrading = getattr(http, "upgrade_websocket", False)
        if upgrading:
            http.upgrade_websocket = False
        super().check_timeouts()  # type: ignore[no-untyped-call]
        if upgrading:
            http.upgrade_websocket = True
        if self._callback_check_timeouts is again:  # time is up, and nobody will look again
            self.loop.call_later(LAST_WORD, self.abort)

    @property
    def _unread(self) -> bool:
        """Whether the rest of a body is still to come. Before the first request Sanic has no such thing."""
        return bool(getattr(self.http, "request_body", None))
