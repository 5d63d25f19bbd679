"""What the endpoints of live connections share: WebSockets and event streams."""

from __future__ import annotations

from app.api.admission import Admission
from app.api.handshake import Handshake
from app.api.sign_in import SignIn
from app.realtime.catch_up import CatchUp
from app.realtime.connection import ConnectionContext
from app.realtime.session import Sessions


class ConnectionEndpoint:
    """Makes requests connections, all with the same limits."""

    def __init__(
        self,
        admission: Admission,
        handshake: Handshake,
        sign_in: SignIn,
        sessions: Sessions,
        catch_up: CatchUp,
        context: ConnectionContext,
    ) -> None:
        self._admission = admission
        self._handshake = handshake
        self._sign_in = sign_in
        self._sessions = sessions
        self._catch_up = catch_up
        self._context = context
