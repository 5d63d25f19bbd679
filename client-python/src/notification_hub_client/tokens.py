"""Access tokens: a fixed one, or a function that gives a new one when the hub refuses the last."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

Token = str | Callable[[], str]
AsyncToken = str | Callable[[], str] | Callable[[], Awaitable[str]]


class TokenCache:
    """Keeps the token of a function until it is refused."""

    def __init__(self, source: Token) -> None:
        self._source = source
        self._current: str | None = None

    def get(self) -> str:
        """The current token."""
        if self._current is None:
            self._current = self._source if isinstance(self._source, str) else self._source()
        return self._current

    def refuse(self, token: str) -> bool:
        """The hub refused the token. Returns whether `get` can give another one."""
        if self._current == token:
            self._current = None
        return not isinstance(self._source, str)


class AsyncTokenCache:
    """The same for functions that may be coroutines."""

    def __init__(self, source: AsyncToken) -> None:
        self._source = source
        self._current: str | None = None

    async def get(self) -> str:
        """The current token."""
        if self._current is None:
            found = self._source if isinstance(self._source, str) else self._source()
            self._current = await found if inspect.isawaitable(found) else found
        return self._current

    def refuse(self, token: str) -> bool:
        """The hub refused the token. Returns whether `get` can give another one."""
        if self._current == token:
            self._current = None
        return not isinstance(self._source, str)
