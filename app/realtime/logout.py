"""A logout: when it was, and which tokens it ends."""

from __future__ import annotations

from typing import NamedTuple

from app.domain.effects import TokenBound

EVERY_TOKEN = TokenBound()


class Logout(NamedTuple):
    """Ends the connections that were asked for until `moment` (loop time) with a token within `bound`."""

    moment: float
    bound: TokenBound = EVERY_TOKEN

    def joined(self, other: Logout | None) -> Logout:
        """Both of one user: the newer moment and the wider bound.

        That ends no connection that should stay: one that was opened between the two, with a token issued
        before either, is logged out as well.
        """
        if other is None:
            return self
        return Logout(max(self.moment, other.moment), other.bound.joined(self.bound))
